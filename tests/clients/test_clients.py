"""Clients that were written for Triton, KServe and MLServer work here as they are, over every kind of model."""

from __future__ import annotations

import math
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from predictor.api.protobuf import messages
from tests.api.test_open_inference import ROWS, TABLES, alone
from tests.support import model_repository
from tests.support.grpc_client import ON, port_said
from tests.support.inference_protocol import datatype, tensor
from tests.support.protocol_clients import (
    KSERVE,
    KSERVE_GRPC,
    KSERVE_V1,
    OPEN_INFERENCE,
    OPEN_INFERENCE_ASYNCIO,
    TRITON,
    TRITON_ASYNCIO,
    TRITON_GRPC,
    TRITON_GRPC_ASYNCIO,
    python_of,
)
from tests.support.server import ROOT, Server, predictions
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.protocol_clients import Client

CONTROL = {"Authorization": "Bearer control-of-sixteen-characters"}
CLIENTS = [
    pytest.param(TRITON, True, id="tritonclient-binary"),
    pytest.param(TRITON, False, id="tritonclient-json"),
    pytest.param(TRITON_ASYNCIO, True, id="tritonclient-asyncio-binary"),
    pytest.param(TRITON_ASYNCIO, False, id="tritonclient-asyncio-json"),
    pytest.param(KSERVE, True, id="kserve-binary"),
    pytest.param(KSERVE, False, id="kserve-json"),
    pytest.param(TRITON_GRPC, True, id="tritonclient-grpc"),
    pytest.param(TRITON_GRPC_ASYNCIO, True, id="tritonclient-grpc-asyncio"),
    pytest.param(KSERVE_GRPC, True, id="kserve-grpc-raw"),
    pytest.param(KSERVE_GRPC, False, id="kserve-grpc-typed"),
    pytest.param(OPEN_INFERENCE, False, id="open-inference"),
    pytest.param(OPEN_INFERENCE_ASYNCIO, False, id="open-inference-asyncio"),
]
INPUTS = {
    **{name: request(2) for name, (_, request, _, _) in KINDS.items()},
    **{name: inputs for name, (_, inputs) in TABLES.items()},
}
_CANNOT = {
    ("open-inference", "missing"): "its messages have no form for a missing value",
    ("kserve-json", "half"): "it refuses to send FP16 in JSON, or to read it",
    ("kserve-json", "several"): "it refuses to send FP16 in JSON, or to read it",
    ("kserve-grpc-typed", "half"): "messages have no values of FP16",
    ("kserve-grpc-typed", "several"): "messages have no values of FP16",
}
"""What a client itself cannot do, whatever server it speaks to."""


class Repository:
    """A server over a repository of every kind of model, in Triton's layout."""

    def __init__(self, root: Path) -> None:
        """Write the models, and the file of a token."""
        self.outbox = root / "outbox"
        self.models = root / "models"
        tokens = root / "control"
        tokens.write_text(CONTROL["Authorization"].removeprefix("Bearer ") + "\n")
        made = {name: kind.make for name, kind in KINDS.items()} | {name: make for name, (make, _) in TABLES.items()}
        for name, make in made.items():
            make(self.file(name))
        for number in (1, 2):
            model_repository.version(self.models, "sum", number, float(number))
        settings = {"PREDICTOR_MODEL": str(self.models), "PREDICTOR_CONTROL_TOKEN_FILE": str(tokens)}
        self.server = Server(self.outbox, **settings, **ON)

    def file(self, model: str) -> Path:
        """Return where the file of a model lies."""
        folder = self.models / model / "1"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "model.onnx"

    def run(self, client: Client, *cases: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what came of the cases."""
        place = f"127.0.0.1:{port_said(self.server)}" if client.calls_grpc else self.server.url
        return client.run(place, cases)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A server over a repository of every kind of model."""
    found = Repository(tmp_path_factory.mktemp("clients"))
    with found.server:
        yield found


def case(model: str, inputs: Mapping[str, NDArray[Any]], *, binary: bool, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an inference as the clients' scripts take it."""
    described = [tensor(*each) for each in inputs.items()]
    return {"do": "infer", "model": model, "inputs": described, "binary": binary, **more}


def assert_equal(found: dict[str, Any], wanted: NDArray[Any]) -> None:
    """Check what a client made of an output against the runtime's own."""
    assert (found["datatype"], tuple(found["shape"])) == (datatype(wanted), wanted.shape)
    for ours, theirs in zip(found["data"], wanted.reshape(-1).tolist(), strict=True):
        assert ours == theirs or (isinstance(theirs, float) and math.isnan(theirs)), (ours, theirs)


@pytest.mark.parametrize(("client", "binary"), CLIENTS)
def test_every_model(repository: Repository, client: Client, request: pytest.FixtureRequest, *, binary: bool) -> None:
    """Each client gets ONNX Runtime's own numbers from every kind of model, with the types and shapes of its file."""
    called = request.node.callspec.id
    able = {
        name: inputs
        for name, inputs in INPUTS.items()
        if not any(called.startswith(who) and name == model for who, model in _CANNOT)
    }
    assert len(able) >= len(INPUTS) - 2
    cases = [case(name, inputs, binary=binary, id=f"{name} {called}") for name, inputs in able.items()]
    for (name, inputs), result in zip(able.items(), repository.run(client, *cases), strict=True):
        assert "raised" not in result, (name, result)
        wanted = alone(repository.file(name), inputs)
        assert [*result["outputs"]] == [*wanted]
        for output, values in wanted.items():
            assert_equal(result["outputs"][output], values)
        assert result["id"] == f"{name} {called}"
        jobs = {
            row["prediction.job_id"]
            for row in predictions(repository.outbox)
            if row.get("prediction.id") == result["id"]
        }
        assert jobs == {result["parameters"]["job_id"]}


_OWN = {
    "tritonclient": {
        400: "tritonclient.utils.InferenceServerException",
        404: "tritonclient.utils.InferenceServerException",
    },
    "kserve": {400: "httpx.HTTPStatusError", 404: "httpx.HTTPStatusError"},
    "open-inference": {
        400: "open_inference.openapi.errors.bad_request_error.BadRequestError",
        404: "open_inference.openapi.core.api_error.ApiError",
    },
}
_OWN_GRPC = {
    "tritonclient": "tritonclient.utils.InferenceServerException",
    "kserve": "grpc.aio._call.AioRpcError",
}
_STATUSES = {400: "StatusCode.INVALID_ARGUMENT", 404: "StatusCode.NOT_FOUND"}
_X = np.zeros((2, 3), np.float32)
_WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "model": (case("nothing", {"x": _X}, binary=False), 404, "there is no model 'nothing'"),
    "input": (case("sum", {"y": _X}, binary=False), 400, "there is no input 'y'; wanted x (FP32 [-1, 3])"),
    "missing input": (case("tokens", {"input_ids": np.array([[1]])}, binary=False), 400, "'attention_mask' is missing"),
    "output": (case("sum", {"x": _X}, binary=False, outputs=["z"]), 400, "there is no output 'z'; wanted one of 'y'"),
    "shape": (case("sum", {"x": np.zeros((2, 4), np.float32)}, binary=False), 400, "has the shape [2, 4], wanted"),
    "axes": (case("sum", {"x": np.zeros(3, np.float32)}, binary=False), 400, "has the shape [3], wanted [-1, 3]"),
    "type": (case("sum", {"x": np.zeros((2, 3))}, binary=False), 400, "is FP64, wanted FP32"),
}


@pytest.mark.parametrize(("client", "binary"), CLIENTS)
def test_errors(repository: Repository, client: Client, *, binary: bool) -> None:
    """Wrong names, shapes, types and versions raise each client's own exception, with our sentence in it."""
    wrong = dict(_WRONG)
    if client.name != "kserve":  # that one names no versions
        version = case("sum", {"x": _X}, binary=False, version="9")
        wrong["version"] = (version, 404, "sum has no version '9', only 2, 1")
    results = repository.run(client, *({**each, "binary": binary} for each, _, _ in wrong.values()))
    for (name, (_, status, said)), result in zip(wrong.items(), results, strict=True):
        assert "raised" in result, (name, result)
        own: Any = (_OWN[client.name][status], str(status))
        if client.calls_grpc:
            own = _OWN_GRPC[client.name], _STATUSES[status]
        assert (result["raised"], str(result["status"])) == own, name
        assert said in result["message"], (name, result)


@pytest.mark.parametrize("client", [TRITON, TRITON_ASYNCIO], ids=["plain", "asyncio"])
def test_tritonclient(repository: Repository, client: Client) -> None:
    """Triton's client learns of server and models, picks versions and outputs; what is not served raises."""
    x = {"x": np.array([model_repository.ROW], np.float32)}
    calls: list[dict[str, Any]] = [
        {"do": "is_server_live"},
        {"do": "is_server_ready"},
        {"do": "is_model_ready", "arguments": ["sum"]},
        {"do": "is_model_ready", "arguments": ["sum", "1"]},
        {"do": "is_model_ready", "arguments": ["nothing"]},
        {"do": "get_server_metadata"},
        {"do": "get_model_metadata", "arguments": ["sum", "1"]},
        case("sum", x, binary=True, version="1"),
        case("sum", x, binary=True),
        case("quantiles", TABLES["quantiles"][1], binary=True, outputs=["p90", "p10"], compressed="gzip"),
        case("sum", x, binary=False, outputs=["y"], compressed="deflate"),
    ]
    *ready, server, model, first, newest, two, deflated = repository.run(client, *calls)
    assert [each["returned"] for each in ready] == [True, True, True, True, False]
    assert server["returned"]["extensions"] == ["binary_tensor_data", "model_repository"]
    assert model["returned"] == {
        "name": "sum",
        "versions": ["2", "1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert [each["outputs"]["y"]["data"][0] - sum(model_repository.ROW) for each in (first, newest, deflated)] == [
        1,
        2,
        2,
    ]
    assert [*two["outputs"]] == ["p90", "p10"]
    assert all(each["binary"] for each in two["outputs"].values())
    refused: list[dict[str, Any]] = [
        case("sum", x, binary=True, outputs=["y"], classes=2),
        case("sum", x, binary=True, sequence=3),
        {"do": "get_inference_statistics"},
        {"do": "get_model_config", "arguments": ["sum"]},
        {"do": "get_trace_settings"},
        {"do": "get_log_settings"},
        {"do": "register_system_shared_memory", "arguments": ["a", "/a", 8]},
        {"do": "load_model", "arguments": ["sum"]},
        {"do": "load_model", "arguments": ["nothing"], "more": {"headers": CONTROL}},
    ]
    statuses = [400, 400, 404, 404, 404, 404, 404, 401, 404]
    for result, status in zip(repository.run(client, *refused), statuses, strict=True):
        assert (result["raised"], result["status"]) == ("tritonclient.utils.InferenceServerException", str(status))
        assert "decoding" not in result["message"], result


@pytest.mark.parametrize("client", [TRITON, TRITON_ASYNCIO], ids=["plain", "asyncio"])
def test_tritonclient_changes_models(repository: Repository, client: Client) -> None:
    """Triton's client lists, unloads and loads models, with the token in its headers."""
    control = {"headers": CONTROL}
    index, unloaded, gone, after, loaded, back = repository.run(
        client,
        {"do": "get_model_repository_index", "more": control},
        {"do": "unload_model", "arguments": ["price"], "more": control},
        {"do": "is_model_ready", "arguments": ["price"]},
        {"do": "get_model_repository_index", "more": control},
        {"do": "load_model", "arguments": ["price"], "more": control},
        {"do": "is_model_ready", "arguments": ["price"]},
    )
    assert {each["name"] for each in index["returned"]} == {*INPUTS, "sum"}
    assert (unloaded["returned"], gone["returned"], loaded["returned"], back["returned"]) == (None, False, None, True)
    states = {each["name"]: each["state"] for each in after["returned"] if each["name"] in {"price", "tokens"}}
    assert states == {"price": "UNAVAILABLE", "tokens": "READY"}


def test_kserve(repository: Repository) -> None:
    """KServe's client learns what is live and ready, by either version, and predicts by V1."""
    calls: list[dict[str, Any]] = [
        {"do": "is_server_live"},
        {"do": "is_server_ready"},
        {"do": "is_model_ready", "arguments": ["sum"]},
        {"do": "is_model_ready", "arguments": ["nothing"]},
    ]
    assert [each["returned"] for each in repository.run(KSERVE, *calls)] == [True, True, True, False]
    row = model_repository.ROW
    ready, sums, quantiles, missing, wrong = repository.run(
        KSERVE_V1,
        {"do": "is_model_ready", "arguments": ["sum"]},
        {"do": "infer", "model": "sum", "instances": [row, row]},
        {"do": "infer", "model": "quantiles", "instances": [row]},
        {"do": "is_model_ready", "arguments": ["nothing"]},
        {"do": "infer", "model": "sum", "instances": [[1, 2]]},
    )
    assert ready["returned"] is True
    assert sums["returned"] == {"predictions": [[model_repository.answer(2.0)]] * 2}
    assert quantiles["returned"] == {"predictions": [{"p10": [1.0], "p50": 2.0, "p90": [3.0]}]}
    for result, status, said in ((missing, 404, "there is no model"), (wrong, 400, "instances[0] has 2 numbers")):
        assert (result["raised"], result["status"]) == ("httpx.HTTPStatusError", status)
        assert said in result["message"]


@pytest.mark.parametrize("client", [TRITON_GRPC, TRITON_GRPC_ASYNCIO], ids=["plain", "asyncio"])
def test_tritonclient_grpc(repository: Repository, client: Client) -> None:
    """By gRPC Triton's client learns the same, has versions, outputs and compression, and raises for the rest."""
    x = {"x": np.array([model_repository.ROW], np.float32)}
    calls: list[dict[str, Any]] = [
        {"do": "is_server_live"},
        {"do": "is_server_ready"},
        {"do": "is_model_ready", "arguments": ["sum"]},
        {"do": "is_model_ready", "arguments": ["sum", "1"]},
        {"do": "get_server_metadata"},
        {"do": "get_model_metadata", "arguments": ["sum", "1"]},
        case("sum", x, binary=True, version="1"),
        case("sum", x, binary=True, compressed="gzip"),
        case("quantiles", TABLES["quantiles"][1], binary=True, outputs=["p90", "p10"], compressed="deflate"),
    ]
    *ready, server, model, first, newest, two = repository.run(client, *calls)
    assert [each["returned"] for each in ready] == [True] * 4
    assert server["returned"]["extensions"] == ["binary_tensor_data", "model_repository"]
    assert model["returned"] == {
        "name": "sum",
        "versions": ["2", "1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "3"]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "1"]}],
    }
    assert [each["outputs"]["y"]["data"][0] - sum(model_repository.ROW) for each in (first, newest)] == [1, 2]
    assert [*two["outputs"]] == ["p90", "p10"]
    refused: dict[str, dict[str, Any]] = {
        "INVALID_ARGUMENT": case("sum", x, binary=True, outputs=["y"], classes=2),
        "NOT_FOUND": {"do": "is_model_ready", "arguments": ["nothing"]},
        "UNAUTHENTICATED": {"do": "load_model", "arguments": ["sum"]},
    }
    for status, result in zip(refused, repository.run(client, *refused.values()), strict=True):
        raised = ("tritonclient.utils.InferenceServerException", f"StatusCode.{status}")
        assert (result["raised"], result["status"]) == raised, result
    for asked in ("get_inference_statistics", "get_trace_settings", "get_log_settings"):
        (result,) = repository.run(client, {"do": asked})
        assert result["status"] == "StatusCode.UNIMPLEMENTED", result
    control = {"headers": {name.lower(): value for name, value in CONTROL.items()}}
    index, unloaded, loaded, back = repository.run(
        client,
        {"do": "get_model_repository_index", "more": control},
        {"do": "unload_model", "arguments": ["price"], "more": control},
        {"do": "load_model", "arguments": ["price"], "more": control},
        {"do": "is_model_ready", "arguments": ["price"]},
    )
    assert {each["name"] for each in index["returned"]["models"]} == {*INPUTS, "sum"}
    assert (unloaded["returned"], loaded["returned"], back["returned"]) == (None, None, True)


def test_kserve_grpc(repository: Repository) -> None:
    """By gRPC KServe's client learns what is live and ready, and raises for a model that is not there."""
    *ready, nothing = repository.run(
        KSERVE_GRPC,
        {"do": "is_server_live"},
        {"do": "is_server_ready"},
        {"do": "is_model_ready", "arguments": ["sum"]},
        {"do": "is_model_ready", "arguments": ["nothing"]},
    )
    assert [each["returned"] for each in ready] == [True] * 3
    assert (nothing["raised"], nothing["status"]) == (_OWN_GRPC["kserve"], "StatusCode.NOT_FOUND")


@pytest.mark.parametrize("client", [TRITON_GRPC, KSERVE_GRPC], ids=["tritonclient", "kserve"])
def test_the_messages_are_the_clients_own(repository: Repository, client: Client) -> None:
    """Of each message that both have, every field of the client's is ours by name, number and type."""
    (theirs,) = repository.run(client, {"do": "messages"})
    compared = 0
    for message in theirs["returned"]["messageType"]:
        name = message["name"]
        if name not in messages.MESSAGES or (name, client.name) in _OTHER_MESSAGES:
            continue
        compared += 1
        ours = messages.POOL.FindMessageTypeByName(f"{messages.PACKAGE}.{name}").fields_by_name
        for field in message.get("field", []):
            found = ours[field["name"]]
            assert (found.number, f"TYPE_{_TYPES[found.type]}") == (field["number"], field["type"]), (name, field)
    assert compared >= 13
    methods = {each["name"] for each in theirs["returned"]["service"][0]["method"]}
    assert set(messages.METHODS) - methods <= {"RepositoryIndex"}


_OTHER_MESSAGES = {("RepositoryModelLoadRequest", "kserve"), ("RepositoryModelUnloadRequest", "kserve")}
"""Those two have Triton's fields here, and are understood as KServe's too: tests/grpc/test_calls.py."""
_TYPES = {
    1: "DOUBLE",
    2: "FLOAT",
    3: "INT64",
    4: "UINT64",
    5: "INT32",
    8: "BOOL",
    9: "STRING",
    11: "MESSAGE",
    12: "BYTES",
    13: "UINT32",
}


def test_the_published_messages_compile(tmp_path: Path) -> None:
    """docs/schema/open_inference.proto is a file that protoc takes, and describes what the server describes."""
    compiled = tmp_path / "compiled"
    folder = ROOT / "docs" / "schema"
    command = [str(python_of("kserve")), "-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={compiled}"]
    subprocess.run([*command, str(folder / messages.FILE)], check=True, capture_output=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    assert described(pool) == described(messages.POOL)


def described(pool: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - protobuf ships no types
    """Return the fields of every message of a pool, and the methods of the service."""
    file = pool.FindFileByName(messages.FILE)
    found: dict[str, list[Any]] = {}

    def look(message: Any) -> None:  # noqa: ANN401 - protobuf's
        found[message.full_name] = [
            (
                field.name,
                field.number,
                field.type,
                field.is_repeated,
                field.message_type and field.message_type.full_name,
            )
            for field in message.fields
        ]
        found[message.full_name].append([each.name for each in message.oneofs])
        for each in message.nested_types:
            look(each)

    for message in file.message_types_by_name.values():
        look(message)
    (service,) = file.services_by_name.values()
    found[service.full_name] = [
        (each.name, each.input_type.full_name, each.output_type.full_name) for each in service.methods
    ]
    return found


@pytest.mark.parametrize("client", [OPEN_INFERENCE, OPEN_INFERENCE_ASYNCIO], ids=["plain", "asyncio"])
def test_open_inference(repository: Repository, client: Client) -> None:
    """open-inference-openapi's client reads every document, and raises its own errors for what is not there."""
    live, ready, model, version, server, metadata, nothing, unknown = repository.run(
        client,
        {"do": "check_server_liveness"},
        {"do": "check_server_readiness"},
        {"do": "check_model_readiness", "arguments": ["sum"]},
        {"do": "check_model_version_readiness", "arguments": ["sum", "1"]},
        {"do": "read_server_metadata"},
        {"do": "read_model_version_metadata", "arguments": ["sum", "1"]},
        {"do": "check_model_readiness", "arguments": ["nothing"]},
        {"do": "read_model_metadata", "arguments": ["nothing"]},
    )
    assert [each["returned"] for each in (live, ready, model, version)] == [None] * 4
    assert server["returned"]["name"] == "prediction-log-server"
    assert metadata["returned"]["versions"] == ["2", "1"]
    assert nothing["raised"] == "open_inference.openapi.errors.not_found_error.NotFoundError"
    assert (unknown["raised"], unknown["status"]) == ("open_inference.openapi.core.api_error.ApiError", 404)


def test_iris_and_its_log(repository: Repository) -> None:
    """The numbers of the rows that a client sent in binary are in the log, one record a row."""
    inputs = {"x": ROWS[:, :3].copy()}
    (result,) = repository.run(TRITON, case("sum", inputs, binary=True, id="by binary"))
    rows = [row for row in predictions(repository.outbox) if row.get("prediction.id") == "by binary"]
    assert [[row[f"prediction.input.x_{at}"] for at in range(3)] for row in rows] == inputs["x"].tolist()
    assert [row["prediction.value"] for row in rows] == result["outputs"]["y"]["data"]


def test_many_at_once(repository: Repository) -> None:
    """Hundreds of requests that one client has under way together get each its own numbers, and a record each."""
    draw = np.random.default_rng(5)
    rows = [draw.standard_normal((1 + at % 3, 3)).astype(np.float32) for at in range(300)]
    cases = [case("price", {"x": each}, binary=at % 2 == 0, id=f"many {at}") for at, each in enumerate(rows)]
    (result,) = repository.run(TRITON_ASYNCIO, {"do": "many", "cases": cases})
    file = repository.file("price")
    for at, (sent, came) in enumerate(zip(rows, result["returned"], strict=True)):
        assert came["id"] == f"many {at}"
        assert_equal(came["outputs"]["variable"], alone(file, {"x": sent})["variable"])
    logged = Counter(row.get("prediction.id") for row in predictions(repository.outbox))
    assert [logged[f"many {at}"] for at in range(300)] == [len(each) for each in rows]
