"""The Open Inference Protocol by gRPC: what it tells, what it infers from bytes and from values, what it records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor import __version__
from predictor.api.protobuf import messages
from scripts import grpc_schema
from tests.api.test_open_inference import ROWS, TABLES, alone, assert_same
from tests.support import bare_models, model_repository
from tests.support.grpc_client import ON, calling, outputs, request
from tests.support.inference_protocol import infer, tensor
from tests.support.server import predictions, records, serve, serve_models
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = {"features": ROWS}
KINDS_OF_MODELS = {
    **{name: (kind.make, kind.request(2)) for name, kind in KINDS.items()},
    **{name: (make, inputs) for name, (make, inputs) in TABLES.items()},
}


@pytest.mark.parametrize("kind", KINDS_OF_MODELS)
async def test_every_kind_of_model(outbox: Path, tmp_path: Path, kind: str) -> None:
    """A model gives the runtime's own bits from bytes and from values, and the answer has the form of the request."""
    make, inputs = KINDS_OF_MODELS[kind]
    path = make(tmp_path / "m.onnx")
    wanted = alone(path, inputs)
    half = any(array.dtype == np.float16 for array in (*inputs.values(), *wanted.values()))
    async with serve(outbox, path, **ON) as here, calling(here) as client:
        raw = (await client.infer(request("m", inputs))).message
        assert len(raw.raw_output_contents) == len(raw.outputs)
        assert_same(outputs(raw), wanted)
        if half:
            return  # which the protocol has no values of
        typed = (await client.infer(request("m", inputs, raw=False))).message
        assert not typed.raw_output_contents
        assert_same(outputs(typed), wanted)


async def test_half_precision_is_bytes(outbox: Path, tmp_path: Path) -> None:
    """FP16 has no values in the protocol: an input without bytes is refused with a sentence that says so."""
    path = bare_models.matrix(tmp_path / "m.onnx", bare_models.HALF)
    inputs = TABLES["half"][1]
    message = request("m", inputs)
    del message.raw_input_contents[:]
    async with serve(outbox, path, **ON) as here, calling(here) as client:
        refusal = await client.refused(message)
    said = "the input 'x' has no raw_input_contents, the only form of its datatype; wanted 6 values of FP16"
    assert refusal[:2] == ("INVALID_ARGUMENT", f"{said} for the shape [2, 3]")


async def test_what_is_told(outbox: Path) -> None:
    """Server, models and their readiness are told with the protocol's fields, as HTTP tells them."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        assert (await client.ask("ServerLive", messages.ModelReadyRequest())).message.live
        assert (await client.ask("ServerReady", messages.ModelReadyRequest())).message.ready
        server = (await client.ask("ServerMetadata", messages.ModelReadyRequest())).message
        iris = messages.ModelMetadataRequest(name="iris")
        told = (await client.ask("ModelMetadata", iris)).message
        assert (await client.ask("ModelReady", iris)).message.ready
        unknown = await client.refused(messages.ModelReadyRequest(name="nothing"), "ModelReady")
        no_version = await client.refused(messages.ModelMetadataRequest(name="iris", version="9"), "ModelMetadata")
    assert (server.name, server.version) == ("prediction-log-server", __version__)
    assert [*server.extensions] == ["binary_tensor_data", "model_repository"]
    assert (told.name, [*told.versions], told.platform) == ("iris", ["2026-11-23"], "onnxruntime_onnx")
    assert [(each.name, each.datatype, [*each.shape]) for each in (*told.inputs, *told.outputs)] == [
        ("features", "FP32", [-1, 4]),
        ("probabilities", "FP32", [-1, 3]),
    ]
    assert unknown[:2] == ("NOT_FOUND", "there is no model 'nothing', only iris")
    assert no_version[:2] == ("NOT_FOUND", "iris has no version '9', only 2026-11-23")


async def test_an_answer_has_its_ids(outbox: Path) -> None:
    """The caller's id is echoed and recorded; job, trace and request ids are beside the answer and in each record."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    said = (("traceparent", f"00-{trace}-b7ad6b7169203331-00"), ("x-request-id", "call-7"), ("ignored-bin", b"\xff"))
    async with serve(outbox, **ON) as here, calling(here) as client:
        answer = await client.infer(request("iris", FEATURES, id="order 7"), metadata=said)
        bare = await client.infer(request("iris", FEATURES))
    job_id = answer.message.parameters["job_id"].string_param
    assert (answer.message.id, answer.message.model_name, answer.message.model_version) == (
        "order 7",
        "iris",
        "2026-11-23",
    )
    assert answer.metadata == {"x-job-id": job_id, "x-trace-id": trace, "x-request-id": "call-7"}
    assert not bare.message.id
    rows = [record for record in records(outbox) if record["eventName"] == "prediction"]
    assert [row["attributes"].get("prediction.id") for row in rows] == ["order 7", "order 7", None, None]
    assert [row["attributes"]["prediction.job_id"] for row in rows[:2]] == [job_id, job_id]
    assert [row["attributes"].get("prediction.request_id") for row in rows] == ["call-7", "call-7", None, None]
    assert rows[0]["traceId"] == trace


async def test_the_record_does_not_depend_on_the_door(outbox: Path) -> None:
    """The same rows leave the same records by gRPC, from bytes or values, as by HTTP; but for the route."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        await infer(here, "iris", [tensor("features", ROWS)])
        await client.infer(request("iris", FEATURES))
        await client.infer(request("iris", FEATURES, raw=False))
    own = {"prediction.job_id", "prediction.stream.sequence", "http.route"}
    found = predictions(outbox)
    assert {row["http.route"] for row in found[2:]} == {"/inference.GRPCInferenceService/ModelInfer"}
    rows = [
        {name: value for name, value in row.items() if name not in own and ".duration" not in name} for row in found
    ]
    assert len(rows) == 6
    assert rows[2:4] == rows[4:6] == rows[:2]


async def test_outputs_that_are_wanted(outbox: Path, tmp_path: Path) -> None:
    """The answer has the outputs that are asked for, in that order."""
    path, inputs = bare_models.quantiles(tmp_path / "m.onnx"), TABLES["quantiles"][1]
    async with serve(outbox, path, **ON) as here, calling(here) as client:
        answer = await client.infer(request("m", inputs, outputs=[{"name": "p90"}, {"name": "p10"}]))
    raw = alone(path, inputs)
    assert_same(outputs(answer.message), {name: raw[name] for name in ("p90", "p10")})


async def test_versions(outbox: Path, tmp_path: Path) -> None:
    """A request may name a version; without one the highest answers, and says so."""
    for number in (1, 2):
        model_repository.version(tmp_path / "models", "price", number, float(number))
    x = {"x": np.array([model_repository.ROW], np.float32)}
    async with serve_models(outbox, tmp_path / "models", **ON) as here, calling(here) as client:
        for asked, version, value in (("", "2", 2.0), ("1", "1", 1.0), ("2", "2", 2.0)):
            answer = (await client.infer(request("price", x, model_version=asked))).message
            assert answer.model_version == version
            assert outputs(answer)["y"].tolist() == [[model_repository.answer(value)]]
        missing = await client.refused(request("price", x, model_version="3"))
    assert missing[:2] == ("NOT_FOUND", "price has no version '3', only 2, 1")
    rows = [record for record in records(outbox) if record["eventName"] == "prediction"]
    assert [row["scope"]["attributes"]["prediction.model.version"] for row in rows] == ["2", "1", "2"]


async def test_a_default_version(outbox: Path, tmp_path: Path) -> None:
    """A request without a version is answered by the one that PREDICTOR_DEFAULT_VERSIONS names."""
    for number in (1, 2):
        model_repository.version(tmp_path / "models", "price", number, float(number))
    x = {"x": np.array([model_repository.ROW], np.float32)}
    settings = {"PREDICTOR_DEFAULT_VERSIONS": "price@1", **ON}
    async with serve_models(outbox, tmp_path / "models", **settings) as here, calling(here) as client:
        for asked, version in (("", "1"), ("2", "2")):
            assert (await client.infer(request("price", x, model_version=asked))).message.model_version == version


def _changed(**fields: Any) -> Any:  # noqa: ANN401 - protobuf ships no types
    message = request("iris", FEATURES)
    for name, value in fields.items():
        if name == "raw":
            del message.raw_input_contents[:]
            message.raw_input_contents.extend(value)
        elif name == "shape":
            del message.inputs[0].shape[:]
            message.inputs[0].shape.extend(value)
        elif name == "values":
            del message.raw_input_contents[:]
            for field, numbers in value.items():
                getattr(message.inputs[0].contents, field).extend(numbers)
        elif name == "parameters":
            for key, number in value.items():
                message.parameters[key].int64_param = number
        else:
            setattr(message.inputs[0], name, value)
    return message


_BYTES = ROWS.tobytes()
_TWICE = _changed(raw=[_BYTES, _BYTES])
_TWICE.inputs.append(_TWICE.inputs[0])
_BOTH = _changed()
_BOTH.inputs[0].contents.fp32_contents.extend([0.0] * 8)
_SHARED = _changed()
_SHARED.inputs[0].parameters["shared_memory_region"].string_param = "a"
_CLASSES = request("iris", FEATURES, outputs=[{"name": "probabilities"}])
_CLASSES.outputs[0].parameters["classification"].int64_param = 2
_REFUSED: dict[str, tuple[Any, str]] = {
    "no input": (request("iris", {}), "the input 'features' is missing"),
    "another name": (_changed(name="x"), "there is no input 'x'; wanted features (FP32 [-1, 4])"),
    "twice": (_TWICE, "the input 'features' is there twice"),
    "another type": (_changed(datatype="FP64"), "the input 'features' is FP64, wanted FP32"),
    "no type": (_changed(datatype="FLOAT"), "the input 'features' is FLOAT, wanted FP32"),
    "too narrow": (_changed(shape=[2, 3]), "the input 'features' has the shape [2, 3], wanted [-1, 4]"),
    "negative": (_changed(shape=[-1, 4]), "the input 'features' has the shape [-1, 4]; wanted at most 32 sizes from 0"),
    "many axes": (_changed(shape=[1] * 40), "wanted at most 32 sizes from 0"),
    "too few bytes": (_changed(raw=[_BYTES[:-4]]), "has 28 bytes, wanted 32; wanted 8 values of FP32"),
    "two for one": (_changed(raw=[_BYTES, b""]), "there are 2 raw_input_contents for 1 inputs; wanted one for each"),
    "both": (_BOTH, "has both contents and raw_input_contents"),
    "neither": (_changed(raw=[]), "has 0 values; wanted 8 values of FP32 for the shape [2, 4]"),
    "too few": (_changed(values={"fp32_contents": [0.0] * 7}), "has 7 values; wanted 8 values of FP32"),
    "elsewhere": (_changed(values={"int_contents": [0] * 8}), "has its values in int_contents, not in fp32_contents"),
    "missing value": (_changed(raw=[b"\x00\x00\xc0\x7f" * 8]), "which is not finite as FP32"),
    "no such output": (
        request("iris", FEATURES, outputs=[{"name": "y"}]),
        "there is no output 'y'; wanted one of 'prob",
    ),
    "an output twice": (
        request("iris", FEATURES, outputs=[{"name": "probabilities"}] * 2),
        "the output 'probabilities' is there twice",
    ),
    "classification": (_CLASSES, "the classification extension is not served"),
    "shared memory": (_SHARED, "shared memory is not served"),
    "sequences": (_changed(parameters={"sequence_id": 3}), "sequences of requests are not kept here"),
    "long id": (request("iris", FEATURES, id="x" * 257), "the id has more than 256 characters"),
}


@pytest.mark.parametrize("case", _REFUSED)
async def test_refusals(outbox: Path, case: str) -> None:
    """What the model does not take, and what is not served, is an invalid argument, with a sentence; it is recorded."""
    message, said = _REFUSED[case]
    async with serve(outbox, **ON) as here, calling(here) as client:
        refusal = await client.refused(message)
    assert refusal.status == "INVALID_ARGUMENT"
    assert said in refusal.text
    assert refusal.metadata["problem-type"] == "urn:predictor:problem:invalid-data"
    assert refusal.metadata["x-trace-id"]
    (row,) = predictions(outbox)
    assert (row["error.type"], row["http.route"]) == ("invalid-data", "/inference.GRPCInferenceService/ModelInfer")


@pytest.mark.parametrize(
    ("datatype", "field", "values", "said"),
    [
        ("UINT8", "uint_contents", [256], "has a number that does not fit UINT8"),
        ("BYTES", "bytes_contents", [b"\xff"], "has a text 0 that is not UTF-8"),
    ],
)
async def test_values_that_do_not_fit(
    outbox: Path, tmp_path: Path, datatype: str, field: str, values: list[Any], said: str
) -> None:
    """A value that its field can hold and its datatype cannot is refused, and never cut to size."""
    nodes: list[Any] = [("Identity", ["x"], ["y"], {})]
    kind = {"UINT8": 2, "BYTES": bare_models.STRING}[datatype]
    path = bare_models.save(tmp_path / "m.onnx", nodes, {"x": (kind, ["N", 1])}, {"y": (kind, ["N", 1])})
    message = messages.ModelInferRequest(model_name="m")
    getattr(message.inputs.add(name="x", datatype=datatype, shape=[1, 1]).contents, field).extend(values)
    async with serve(outbox, path, **ON) as here, calling(here) as client:
        refusal = await client.refused(message)
    assert refusal.status == "INVALID_ARGUMENT"
    assert said in refusal.text


async def test_what_is_not_there(outbox: Path) -> None:
    """Unknown models and methods are refused by the status that clients expect, and leave no record."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        unknown = await client.refused(request("nö", FEATURES))
        nameless = await client.refused(request("", FEATURES))
        broken = await client.channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"\x1f\x8b")
        for method in ("ModelStatistics", "ModelStreamInfer", "SystemSharedMemoryStatus"):
            call = client.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(Exception, match="UNIMPLEMENTED"):
                await call(b"")
        with pytest.raises(Exception, match=r"wanted inference\.ModelInferRequest"):
            await client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"\x1f\x8b")
    assert broken == b"\x08\x01"
    assert unknown[:2] == ("NOT_FOUND", "there is no model 'nö', only iris")
    assert nameless.status == "NOT_FOUND"
    assert predictions(outbox) == []


async def test_numbers_on_the_wire(outbox: Path) -> None:
    """A request whose bytes are written by hand, field by field of the protocol, is answered with such bytes."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    row = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32).tobytes()
    features = field(1, b"features") + field(2, b"FP32") + field(3, b"\x01\x04")
    asked = field(1, b"iris") + field(3, b"7") + field(5, features) + field(7, row)
    async with serve(outbox, **ON) as here, calling(here) as client:
        found = await client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(asked)
    job = predictions(outbox)[0]["prediction.job_id"].encode()
    parameter = field(1, b"job_id") + field(2, field(3, job))
    numbers = np.array([0.014315632171928883, 0.010427430272102356, 0.9752569198608398], np.float32).tobytes()
    described = field(1, b"probabilities") + field(2, b"FP32") + field(3, b"\x01\x03")
    wanted = [field(1, b"iris"), field(2, b"2026-11-23"), field(3, b"7"), field(4, parameter), field(5, described)]
    assert found == b"".join(wanted) + field(6, numbers)


def test_the_published_messages() -> None:
    """docs/schema/open_inference.proto is what `python -m scripts.grpc_schema` writes of the code's own table."""
    assert grpc_schema.FILE.read_text(encoding="utf-8") == grpc_schema.text()
