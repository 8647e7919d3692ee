"""Models of tensors: alone and together, by JSON and by the data plane; their records; what is refused."""

from __future__ import annotations

import asyncio
import html
import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from predictor.api.dataplane import DataPlane, Pending
from predictor.api.tensor_requests import TensorRequests
from predictor.core.problems import Problem
from predictor.inference.manifest_template import init
from predictor.inference.model import ModelError, load
from predictor.outbox.layout import streams
from predictor.server import app
from predictor.server.otel_resource import resource
from predictor.tracing.tracer import Tracer
from tests.support import bare_models, tensor_models
from tests.support.server import predictions, problem, run, serve
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from predictor.api.dataplane import InferRequest, Reply
    from tests.support.server import Here

_DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "UINT8": "u1", "BOOL": "?"}


def alone(path: Path, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return all outputs as the runtime gives them for one request."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


def body(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return a request as JSON."""
    return {"inputs": {name: each.tolist() for name, each in inputs.items()}}


def logged(text: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a record that are wholly there."""
    found = {}
    for each in json.loads(text):
        if each["datatype"] == "BYTES":
            values = np.array(each["data"], object)
        elif "data" in each:
            values = np.array(each["data"], _DTYPES[each["datatype"]])
        else:
            values = np.frombuffer(b64decode(each["base64"]), _DTYPES[each["datatype"]])
        found[each["name"]] = values.reshape(each["shape"])
    return found


def equal(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether tensors have the same names, types, shapes and bits."""
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype
        and ours[name].shape == theirs[name].shape
        and ours[name].tolist() == theirs[name].tolist()
        for name in ours
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind(outbox: Path, tmp_path: Path, kind: str) -> None:
    """Whoever else asks at once, each request gets the runtime's own numbers, and its record holds both ends of it."""
    make, request, together, row_axis = KINDS[kind]
    path = make(tmp_path / "m.onnx")
    requests = [request(1 + at % 3) for at in range(24)]
    wanted = [alone(path, each) for each in requests]
    async with serve(outbox, path, PREDICTOR_RECORD_BYTES="1MiB") as here:
        metadata = (await here.get("/metadata")).json
        first = await here.post("/predict", json=body(requests[0]))
        answers = await asyncio.gather(*[here.post("/predict", json=body(each)) for each in requests])
        sample = await here.get("/predict/test")
    assert (metadata["task"], metadata["batch"]) == ("tensors", together)
    assert sample.status == 200
    assert first.json["outputs"] == {name: each.tolist() for name, each in wanted[0].items()}
    records = {each["prediction.job_id"]: each for each in predictions(outbox)}
    for given, answer, outputs in zip(requests, answers, wanted, strict=True):
        assert answer.status == 200, answer
        assert answer.json["outputs"] == {name: each.tolist() for name, each in outputs.items()}
        record = records.pop(answer.json["job_id"])
        assert equal(logged(record["prediction.inputs"]), given)
        assert equal(logged(record["prediction.outputs"]), outputs)
        rows = len(next(iter(given.values()))) if row_axis else 1
        assert (record["prediction.index"], record["prediction.rows"]) == (0, rows)
    assert len(records) == 2
    assert any(each["prediction.batch.size"] > 3 for each in predictions(outbox)) == together


async def ask(here: Here, request: InferRequest) -> Reply:
    """Send a request through the data plane of a server, as a door does."""
    plane = DataPlane(Tracer(resource(), None, "http"), deadline=10)
    context = plane.open({}, "POST", "/v2/models/m/infer", served=here.app[app.MODELS].catalog.meant())
    pending = plane.begin(request, context)
    if not isinstance(pending, Pending):
        return pending
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    pending.callback = future.set_result
    return await future


async def test_tables_by_tensors(outbox: Path, tmp_path: Path) -> None:
    """A model of rows takes arrays too, beside rows: it gives the file's own outputs, and its record is the task's."""
    path = bare_models.zipmap(tmp_path / "m.onnx", ["no", "maybe", "yes"])
    model = load(path)
    requests = TensorRequests(model, 256)
    rows = np.array([[1.0, 2.5, -3.0], [0.5, 0.0, 8.0]], np.float32)
    labels, maps = alone(path, {"x": rows}).values()
    async with serve(outbox, path) as here:
        one, _, other = await asyncio.gather(
            ask(here, requests.request({"x": rows}, request_id='a "name"')),
            here.post("/predict/batch", json={"data": rows.tolist()}),
            ask(here, requests.request({"x": rows[:1]}, own_outputs=False)),
        )
    assert one.job
    assert other.job
    assert one.job.outputs
    assert other.job.outputs is None
    assert one.job.outputs["output_label"].tolist() == labels.tolist()
    names = model.description.labels
    assert one.job.outputs["output_probability"].tolist() == [[each[name] for name in names] for each in maps]
    assert [str(spec) for spec in model.own_outputs] == [
        "'output_label': BYTES (-1,)",
        "'output_probability': FP32 (-1, 3)",
    ]
    records = [each for each in predictions(outbox) if each.get("prediction.id") == 'a "name"']
    assert [each["prediction.index"] for each in records] == [0, 1]
    assert [each["prediction.label"] for each in records] == labels.tolist()
    assert [[each[f"prediction.input.x_{at}"] for at in range(3)] for each in records] == rows.tolist()
    assert sum("prediction.id" not in each for each in predictions(outbox)) == 3


async def test_columns_by_tensors(outbox: Path, tmp_path: Path) -> None:
    """A model of an input for each column takes them as arrays of their types, beside rows."""
    path = bare_models.churn(tmp_path / "m.onnx")
    inputs: dict[str, NDArray[Any]] = {
        "city": np.array([["Bern"], ["Oslo"]], object),
        "plan": np.array(["a", ""], object),
        "age": np.array([[40], [7]]),
        "net income (€)": np.array([[1.5], [-2.0]], np.float32),
    }
    async with serve(outbox, path) as here:
        reply, rows = await asyncio.gather(
            ask(here, TensorRequests(load(path), 256).request(inputs)),
            here.post("/predict", json={"data": [["Bern", "a", 40, 1.5]]}),
        )
    assert reply.job
    assert equal(dict(reply.job.outputs or {}), alone(path, inputs))
    assert rows.json["prediction"] == alone(path, inputs)["probabilities"][0].tolist()
    assert {each["prediction.input.city"] for each in predictions(outbox)} == {"Bern", "Oslo"}


async def test_missing_by_tensors(outbox: Path, tmp_path: Path) -> None:
    """NaN is a missing value where the model takes one, and is refused elsewhere."""
    path = bare_models.missing(tmp_path / "m.onnx")
    inputs = {"x": np.array([[1, np.nan, 2]], np.float32)}
    async with serve(outbox, path) as here:
        reply = await ask(here, TensorRequests(load(path), 256).request(inputs))
    assert reply.job
    assert equal(dict(reply.job.outputs or {}), alone(path, inputs))
    (record,) = predictions(outbox)
    assert record["prediction.missing"] == '["x_1"]'
    with pytest.raises(Problem, match=r"input 'x' has nan at \[0, 1\]"):
        TensorRequests(load(bare_models.price(tmp_path / "p.onnx")), 256).request(inputs)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "the input 'half' is missing"),
        ({"x": 1}, "unknown field `x`"),
        ({"half": [[[1], ["a"]]]}, "Expected `float`, got `str` - at `$.inputs.half[0][1][0]`"),
        ({"half": [[[1], [70000]]]}, "the input 'half' holds 70000, which is not finite as float16"),
        ({"half": [[[1], []]]}, "the input 'half' has arrays of different lengths"),
        ({"half": [[[1]]]}, "the input 'half' has the shape [1, 1, 1], wanted [-1, 2, 1]"),
        ({"flags": [[True, 1]]}, "Expected `bool`, got `int`"),
        ({"words": [["a", None]]}, "Expected `str`, got `null`"),
        ({"words": [["a", "b"], ["c", "d"]]}, "the input 'words' has 2 rows, but 'half' has 1"),
        ({"half": [], "flags": [], "words": []}, "the input 'half' has the shape [0], wanted [-1, 2, 1]"),
    ],
)
async def test_refused(outbox: Path, tmp_path: Path, inputs: dict[str, Any], words: str) -> None:
    """A request that does not fit is refused by naming the input, what came and what was wanted."""
    whole = {"half": [[[1], [2]]], "flags": [[True, False]], "words": [["a", "b"]]}
    async with serve(outbox, tensor_models.several(tmp_path / "m.onnx")) as here:
        answer = await here.post("/predict", json={"inputs": whole | inputs if inputs else {}})
        detail = problem(answer, 422, "invalid-data")
    assert words.replace("the input 'half' is missing", "Object missing required field `half`") in detail


async def test_limits(outbox: Path, tmp_path: Path) -> None:
    """A request of more rows than a request may have is refused, and so is one beyond the rate."""
    path = tensor_models.influence(tmp_path / "m.onnx")
    rows = [[[1.0, 2.0], [3.0, 4.0]]]
    async with serve(outbox, path, PREDICTOR_BATCH_ROWS="3", PREDICTOR_ROWS_PER_SECOND="1") as here:
        problem(await here.post("/predict", json={"inputs": {"x": rows * 4}}), 413, "content-too-large")
        assert (await here.post("/predict", json={"inputs": {"x": rows * 3}})).status == 200
        problem(await here.post("/predict", json={"inputs": {"x": rows}}), 429, "rate-limited")


async def test_a_failure_keeps_its_inputs(outbox: Path, tmp_path: Path) -> None:
    """Tokens that the model has no place for fail their request only, which is recorded with its inputs."""
    path = tensor_models.tokens(tmp_path / "m.onnx")
    good = {"input_ids": [[1, 2]], "attention_mask": [[1, 1]]}
    async with serve(outbox, path) as here:
        bad, *others = await asyncio.gather(
            here.post("/predict", json={"inputs": good | {"input_ids": [[1, 99]]}}),
            *[here.post("/predict", json={"inputs": good}) for _ in range(8)],
        )
    problem(bad, 500, "model-failed")
    assert {each.status for each in others} == {200}
    (record,) = [each for each in predictions(outbox) if "error.type" in each]
    assert json.loads(record["prediction.inputs"])[0] == {
        "name": "input_ids",
        "datatype": "INT64",
        "shape": [1, 2],
        "data": [1, 99],
    }
    assert "prediction.outputs" not in record


def test_scalars_as_many_clients_have_them(tmp_path: Path) -> None:
    """A scalar may come as one element, since many clients have no form for it; two do not fit."""
    requests = TensorRequests(load(tensor_models.scalars(tmp_path / "m.onnx")), 256)
    one: dict[str, NDArray[Any]] = {
        "price": np.ones(1, np.float32),
        "rate": np.array(1, np.float32),
        "years": np.ones(1, np.int64),
    }
    assert {each.shape for each in (requests.request(one).tensors or {}).values()} == {()}
    with pytest.raises(Problem, match=r"input 'rate' has the shape \[2\], wanted \[\]"):
        requests.request(one | {"rate": np.ones(2, np.float32)})
    with pytest.raises(Problem, match="input 'rate' is FP64, wanted FP32"):
        requests.request(one | {"rate": np.ones(1)})


def test_sequences_are_refused(tmp_path: Path) -> None:
    """What is no tensor has no form in requests and records, and one sentence says so."""
    with pytest.raises(ModelError, match=r"output 's' is a seq\(tensor\(float\)\); wanted tensors"):
        load(tensor_models.sequence(tmp_path / "m.onnx"))


async def test_the_page_of_a_model_of_tensors(outbox: Path, tmp_path: Path) -> None:
    """The page says what the model takes and gives, and its form begins with a request that runs."""
    async with serve(outbox, tensor_models.scalars(tmp_path / "m.onnx")) as here:
        page = (await here.get("/")).body.decode()
        text = html.unescape(page[page.index("<textarea") :].partition(">")[2].partition("<")[0])
        assert (await here.post("/predict", json=json.loads(text))).status == 200
    assert "price FP32 [], rate FP32 [], years INT64 []" in html.unescape(page)
    assert "total FP32 []" in html.unescape(page)


@pytest.mark.parametrize("outputs", ["keep", "drop"])
async def test_what_stays_out_of_the_log(outbox: Path, tmp_path: Path, outputs: str) -> None:
    """`model.toml` drops or hashes single inputs and outputs, or all outputs; answers stay as they are."""
    folder = tmp_path / "model"
    tensor_models.several(folder / "m.onnx")
    key = tmp_path / "key"
    key.write_text("a secret of some length")
    (folder / "model.toml").write_text(
        'name = "m"\nversion = "1"\ntask = "tensors"\n[[inputs]]\nname = "words"\nlog = "hash"\n'
        '[[inputs]]\nname = "flags"\nlog = "drop"\n[[outputs]]\nname = "said"\nlog = "drop"\n'
        f'[log]\noutputs = "{outputs}"\n'
    )
    inputs = {"half": [[[1], [2]]], "flags": [[True, False]], "words": [["a", "b"]]}
    async with serve(outbox, folder, PREDICTOR_HASH_KEY_FILE=str(key)) as here:
        answer = (await here.post("/predict", json={"inputs": inputs})).json["outputs"]
    assert answer == {"negative": [[[-1.0], [-2.0]]], "others": [[False, True]], "said": [["a", "b"]]}
    (record,) = predictions(outbox)
    kinds = [
        {each["name"]: {*each} - {"name", "datatype", "shape"} for each in json.loads(record[f"prediction.{side}"])}
        for side in ("inputs", "outputs")
    ]
    shown = {"data"} if outputs == "keep" else set()
    assert kinds == [
        {"half": {"data"}, "flags": set(), "words": {"hash"}},
        {"negative": shown, "others": shown, "said": set()},
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[[inputs]]\nname = "w"', "[[inputs]] names 'w'; wanted one of half, flags, words"),
        ('[log]\noutputs = "round"\ndecimals = 2', '"round" is for labels and numbers'),
        ('[[features]]\nname = "x"\nunit = "1"\nsample = 1', 'task = "tensors" has no features'),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path: Path, lines: str, words: str) -> None:
    """What `model.toml` says of a model of tensors is held to the file."""
    tensor_models.several(tmp_path / "m.onnx")
    (tmp_path / "model.toml").write_text(f'name = "m"\nversion = "1"\ntask = "tensors"\n{lines}\n')
    with pytest.raises(ModelError) as raised:
        load(tmp_path)
    assert words in str(raised.value)


def test_check_and_init(tmp_path: Path, outbox: Path) -> None:
    """`check` says how many inputs and outputs a model has, `init` writes a description of them that loads."""
    path = tensor_models.several(tmp_path / "m.onnx")
    checked = run("check", outbox=outbox, PREDICTOR_MODEL=str(path))
    assert "m@" in checked.stderr
    assert "with 3 inputs and 3 outputs of tensors runs" in checked.stderr
    folder = tmp_path / "described"
    init(path, folder)
    assert load(folder).description.task == "tensors"
    assert '[[inputs]]\nname = "words"  # BYTES [-1, 2]' in (folder / "model.toml").read_text()


async def test_lines_of_large_records(outbox: Path, tmp_path: Path) -> None:
    """Records of one batch that are large together are several lines, so that nobody has to hold all of them."""
    path = tensor_models.shapeless(tmp_path / "m.onnx")
    big = {"inputs": {"x": [0.5] * 90_000}}
    async with serve(outbox, path, PREDICTOR_RECORD_BYTES="1MiB", PREDICTOR_THREADS="1") as here:
        answers = await asyncio.gather(*[here.post("/predict", json=big) for _ in range(24)])
    assert {each.status for each in answers} == {200}
    assert len(predictions(outbox)) == 24
    lines = [line for stream in streams(outbox) for line in stream.signal("logs").lines()]
    assert max(map(len, lines)) < 9 << 20
    assert len(lines) < 24


def test_why_requests_run_alone(tmp_path: Path) -> None:
    """The start says why rows do not run together, and a model whose rows are large is not tried for long."""
    kinds = {"state": "first axis is not that of rows", "influence": "numbers change with its neighbours"}
    for kind, words in kinds.items():
        (*_, note) = load(KINDS[kind].make(tmp_path / f"{kind}.onnx")).notes
        assert words in note
    (*_, note) = load(tensor_models.large(tmp_path / "large.onnx")).notes
    assert "two rows take more than a quarter of a second, or have more than two million values" in note
    (*_, note) = load(tensor_models.picky(tmp_path / "picky.onnx")).notes
    assert "could not be tried" in note


async def test_a_model_that_could_not_be_tried(outbox: Path, tmp_path: Path) -> None:
    """A model is served although no request was found that it takes: callers know one."""
    async with serve(outbox, tensor_models.picky(tmp_path / "m.onnx")) as here:
        problem(await here.get("/predict/test"), 404, "not-found")
        answer = await here.post(
            "/predict", json={"inputs": {"x": [[1.0] * 5], "y": [[1.0], [2.0], [3.0], [4.0], [5.0]]}}
        )
    assert answer.json["outputs"] == {"z": [[15.0]]}
