"""The Open Inference Protocol over HTTP: what it tells, what it infers in JSON and in binary, what it records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from predictor import __version__
from tests.support import bare_models, model_repository, tensor_models
from tests.support.inference_protocol import LENGTH, binary_body, infer, outputs, tensor
from tests.support.server import predictions, records, serve, serve_models
from tests.support.tensor_models import KINDS
from tests.support.traced_server import SERVER, spans, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.server import Answer, Here

ROWS = np.array([[5.5, 3.5, 1.5, 0.25], [6.75, 3.0, 5.25, 2.25]], np.float32)
DRAW = np.random.default_rng(11)
TABLES: dict[str, tuple[Callable[[Path], Path], dict[str, NDArray[Any]]]] = {
    "price": (bare_models.price, {"x": DRAW.standard_normal((3, 3)).astype(np.float32)}),
    "quantiles": (bare_models.quantiles, {"x": DRAW.standard_normal((2, 3)).astype(np.float32)}),
    "missing": (bare_models.missing, {"x": np.array([[1, np.nan, 3], [4, 5, np.nan]], np.float32)}),
    "half": (
        lambda path: bare_models.matrix(path, bare_models.HALF),
        {"x": DRAW.standard_normal((2, 3)).astype(np.float16)},
    ),
    "integers": (lambda path: bare_models.matrix(path, bare_models.INT64), {"x": DRAW.integers(-9, 9, (2, 3))}),
    "double": (lambda path: bare_models.matrix(path, bare_models.DOUBLE), {"x": DRAW.standard_normal((2, 3))}),
    "clusters": (bare_models.clusters, {"x": DRAW.standard_normal((3, 3)).astype(np.float32)}),
    "label_only": (bare_models.label_only, {"x": DRAW.standard_normal((3, 3)).astype(np.float32)}),
    "columns": (bare_models.columns, {"x": DRAW.standard_normal((3, 3)).astype(np.float32)}),
    "churn": (
        bare_models.churn,
        {
            "city": np.array([["Bern"], ["Oslo"]], object),
            "plan": np.array(["a", "b"], object),
            "age": np.array([[30], [60]]),
            "net income (€)": np.array([[1.5], [7.25]], np.float32),
        },
    ),
}


def alone(path: Path, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return all outputs as the runtime gives them."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


def assert_same(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]) -> None:
    """Check that outputs have the same names in their order, types, shapes and bits."""
    assert [*found] == [*wanted]
    for name, part in wanted.items():
        assert (found[name].dtype, found[name].shape) == (part.dtype, part.shape), name
        assert found[name].tobytes() == part.tobytes() or found[name].tolist() == part.tolist(), name


def error(answer: Answer, status: int) -> str:
    """Return the text of an answer that must be an error of the protocol."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json) == {"error"}
    assert answer.headers["X-Trace-Id"]
    return str(answer.json["error"])


async def in_every_form(here: Here, name: str, inputs: Mapping[str, NDArray[Any]]) -> list[Answer]:
    """Ask for one inference with flat and with nested data, and with all data behind the JSON, there and back."""
    body, headers = binary_body(inputs, parameters={"binary_data_output": True})
    path = f"/v2/models/{name}/infer"
    return [
        await infer(here, name, [tensor(*each) for each in inputs.items()]),
        await infer(here, name, [tensor(*each, nested=True) for each in inputs.items()]),
        await here.post(path, data=body, headers=headers),
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_tensors_in_every_form(outbox: Path, tmp_path: Path, kind: str) -> None:
    """A model of tensors gives the runtime's own bits, whether they come and go in JSON or behind it."""
    make, request, _, _ = KINDS[kind]
    path, inputs = make(tmp_path / "m.onnx"), request(2)
    async with serve(outbox, path) as here:
        for answer in await in_every_form(here, "m", inputs):
            assert_same(outputs(answer), alone(path, inputs))
        assert here.server.answered_by_lane in {0, 3}


@pytest.mark.parametrize("kind", TABLES)
async def test_tables_by_their_own_inputs(outbox: Path, tmp_path: Path, kind: str) -> None:
    """A model of rows is called by its file's own inputs, and answers its file's own outputs."""
    make, inputs = TABLES[kind]
    path = make(tmp_path / "m.onnx")
    async with serve(outbox, path) as here:
        for answer in await in_every_form(here, "m", inputs):
            assert_same(outputs(answer), alone(path, inputs))
    rows = [each for each in predictions(outbox) if "error.type" not in each]
    assert len(rows) == 3 * len(next(iter(inputs.values())))


async def test_maps_are_numbers(outbox: Path, tmp_path: Path) -> None:
    """Probabilities that are maps in the file, for which the protocol has no word, stand in the labels' order."""
    path = bare_models.zipmap(tmp_path / "m.onnx", [3, 7, 11])
    inputs = {"x": np.array([[0.5, 2.0, -1.0]], np.float32)}
    raw = alone(path, inputs)
    async with serve(outbox, path) as here:
        listed = (await here.get("/v2/models/m")).json["outputs"]
        found = outputs(await infer(here, "m", [tensor("x", inputs["x"])]))
    assert listed[1] == {"name": "output_probability", "datatype": "FP32", "shape": [-1, 3]}
    assert found["output_probability"].tolist() == [[raw["output_probability"][0][key] for key in (3, 7, 11)]]
    assert found["output_label"].tolist() == raw["output_label"].tolist()


async def test_what_is_told(here: Here) -> None:
    """Server, models and their readiness are told with the protocol's fields, and nothing more."""
    told = {
        "/v2": {
            "name": "prediction-log-server",
            "version": __version__,
            "extensions": ["binary_tensor_data", "model_repository"],
        },
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/v2/models": {"models": ["iris"]},
        "/v2/models/iris/ready": {"name": "iris", "ready": True},
        "/v2/models/iris": {
            "name": "iris",
            "versions": ["2026-11-23"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        },
    }
    for path, fields in told.items():
        answer = await here.get(path)
        assert (answer.status, answer.json) == (200, fields), path
    assert (await here.get("/v2/models/iris/versions/2026-11-23")).json == told["/v2/models/iris"]
    assert (await here.get("/v2/models/iris/versions/2026-11-23/ready")).json == told["/v2/models/iris/ready"]


async def test_an_answer_has_its_ids(here: Here) -> None:
    """The caller's id is echoed and recorded; the job's id is in `parameters`, in X-Job-Id and in each record."""
    answer = await infer(here, "iris", [tensor("features", ROWS)], id="order 7")
    job_id = answer.json["parameters"]["job_id"]
    assert [*answer.json] == ["model_name", "model_version", "id", "parameters", "outputs"]
    assert (answer.json["id"], answer.json["model_name"], answer.json["model_version"]) == (
        "order 7",
        "iris",
        "2026-11-23",
    )
    assert answer.headers["X-Job-Id"] == job_id
    assert "id" not in (await infer(here, "iris", [tensor("features", ROWS)])).json
    rows = predictions(here.outbox)
    assert [row.get("prediction.id") for row in rows] == ["order 7", "order 7", None, None]
    assert [row["prediction.job_id"] for row in rows[:2]] == [job_id, job_id]


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": [2, 3]},
        {"shape": [-2, 4]},
        {"datatype": "INT64"},
        {"datatype": 5},
        {"name": "pixels"},
        {"data": [1.0, 2.0]},
        {"parameters": {"sequence_id": 7}},
        {"parameters": {"binary_data_size": 32}},
    ],
    ids=lambda changed: str(*changed.items()),
)
async def test_a_refusal_is_recorded_by_its_id(here: Here, changed: dict[str, Any]) -> None:
    """Whatever a request was refused for before its rows were known, the record has the caller's id of it."""
    answer = await infer(here, "iris", [tensor("features", ROWS) | changed], id="order 7")
    assert answer.status == 400
    (refused,) = predictions(here.outbox)
    assert (refused["error.type"], refused["prediction.id"]) == ("invalid-data", "order 7")
    assert "prediction.index" not in refused


@pytest.mark.parametrize("body", [b'{"id": 7, "inputs": 1}', b'{"id": "order 7", "inputs"', b'["order 7"]'])
async def test_an_id_that_cannot_be_read_is_in_no_record(here: Here, body: bytes) -> None:
    """An id that is no text, or stands in what is no JSON, is not recorded; the refusal is."""
    assert (await here.post("/v2/models/iris/infer", data=body)).status == 400
    (refused,) = predictions(here.outbox)
    assert "prediction.id" not in refused


async def test_an_id_that_is_too_long_is_in_no_record(here: Here) -> None:
    """An id of over 256 characters is refused, and does not come into the log by its refusal."""
    assert (await infer(here, "iris", [tensor("features", ROWS)], id="x" * 257)).status == 400
    (refused,) = predictions(here.outbox)
    assert "prediction.id" not in refused


async def test_the_record_does_not_depend_on_the_door(here: Here) -> None:
    """The same rows leave the same records by /predict/batch, by V1, and by V2 in JSON and in binary."""
    body, headers = binary_body({"features": ROWS})
    await here.post("/predict/batch", json={"data": ROWS.tolist()})
    await here.post("/v1/models/iris:predict", json={"instances": ROWS.tolist()})
    await infer(here, "iris", [tensor("features", ROWS)])
    await here.post("/v2/models/iris/infer", data=body, headers=headers)
    own = {"prediction.job_id", "prediction.stream.sequence", "http.route"}
    rows = [
        {name: value for name, value in row.items() if name not in own and ".duration" not in name}
        for row in predictions(here.outbox)
    ]
    assert len(rows) == 8
    assert rows[2:4] == rows[4:6] == rows[6:8] == rows[:2]


async def test_outputs_that_are_wanted(outbox: Path, tmp_path: Path) -> None:
    """The answer has the outputs that are asked for, in that order, each in JSON or behind it as is asked for."""
    path, inputs = bare_models.quantiles(tmp_path / "m.onnx"), TABLES["quantiles"][1]
    wanted = [{"name": "p90", "parameters": {"binary_data": True}}, {"name": "p10"}]
    async with serve(outbox, path) as here:
        answer = await infer(here, "m", [tensor("x", inputs["x"])], outputs=wanted)
        json_only = [{"name": "p50", "parameters": {"binary_data": False}}]
        body, headers = binary_body(inputs, outputs=json_only, parameters={"binary_data_output": True})
        other = await here.post("/v2/models/m/infer", data=body, headers=headers)
    raw = alone(path, inputs)
    assert_same(outputs(answer), {name: raw[name] for name in ("p90", "p10")})
    message = json.loads(answer.body[: int(answer.headers[LENGTH])])
    assert [[*each] for each in message["outputs"]] == [
        ["name", "datatype", "shape", "parameters"],
        ["name", "datatype", "shape", "data"],
    ]
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert LENGTH not in other.headers
    assert_same(outputs(other), {"p50": raw["p50"]})


async def test_versions(outbox: Path, tmp_path: Path) -> None:
    """A path may name a version; without one the highest answers, and says so."""
    for number in (1, 2):
        model_repository.version(tmp_path / "models", "price", number, float(number))
    x = tensor("x", np.array([model_repository.ROW], np.float32))
    async with serve_models(outbox, tmp_path / "models") as here:
        assert (await here.get("/v2/models/price")).json["versions"] == ["2", "1"]
        for path, version, value in (("", "2", 2.0), ("/versions/1", "1", 1.0), ("/versions/2", "2", 2.0)):
            answer = await here.post(f"/v2/models/price{path}/infer", json={"inputs": [x]})
            assert answer.json["model_version"] == version
            assert outputs(answer)["y"].tolist() == [[model_repository.answer(value)]]
        missing = await here.post("/v2/models/price/versions/3/infer", json={"inputs": [x]})
        assert "price has no version '3', only 2, 1" in error(missing, 404)
    rows = [record for record in records(outbox) if record["eventName"] == "prediction"]
    assert [row["scope"]["attributes"]["prediction.model.version"] for row in rows] == ["2", "1", "2"]


_ONE = tensor("features", ROWS)
_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no input": ({"inputs": []}, "the input 'features' is missing"),
    "another name": ({"inputs": [_ONE | {"name": "x"}]}, "there is no input 'x'; wanted features (FP32 [-1, 4])"),
    "twice": ({"inputs": [_ONE, _ONE]}, "the input 'features' is there twice"),
    "another type": ({"inputs": [_ONE | {"datatype": "FP64"}]}, "the input 'features' is FP64, wanted FP32"),
    "no type": ({"inputs": [_ONE | {"datatype": "FLOAT"}]}, "the input 'features' is FLOAT, wanted FP32"),
    "too narrow": (
        {"inputs": [_ONE | {"shape": [2, 3], "data": [0] * 6}]},
        "the input 'features' has the shape [2, 3], wanted [-1, 4]",
    ),
    "other axes": ({"inputs": [_ONE | {"shape": [8]}]}, "has the shape [8], wanted [-1, 4]"),
    "no rows": ({"inputs": [_ONE | {"shape": [0, 4], "data": []}]}, "the inputs have no rows"),
    "negative": ({"inputs": [_ONE | {"shape": [-1, 4]}]}, "Expected `int` >= 0"),
    "too few": ({"inputs": [_ONE | {"data": [0] * 7}]}, "has 7 values; wanted 8 values of FP32 for the shape [2, 4]"),
    "ragged": ({"inputs": [_ONE | {"data": [[0] * 3, [0] * 5]}]}, "has lists of different lengths"),
    "texts": ({"inputs": [_ONE | {"data": ["1"] * 8}]}, "Expected `float | null`, got `str`"),
    "too large": ({"inputs": [_ONE | {"data": [1e39] * 8}]}, "has a number that is not finite as FP32"),
    "missing value": ({"inputs": [_ONE | {"data": [None] * 8}]}, "which is not finite as FP32"),
    "no data": ({"inputs": [{key: _ONE[key] for key in ("name", "shape", "datatype")}]}, "has neither data nor"),
    "no such output": ({"inputs": [_ONE], "outputs": [{"name": "y"}]}, "there is no output 'y'; wanted one of 'prob"),
    "an output twice": (
        {"inputs": [_ONE], "outputs": [{"name": "probabilities"}] * 2},
        "the output 'probabilities' is there twice",
    ),
    "classification": (
        {"inputs": [_ONE], "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
        "the classification extension is not served",
    ),
    "shared memory": (
        {"inputs": [_ONE | {"parameters": {"shared_memory_region": "a", "shared_memory_byte_size": 8}}]},
        "shared memory is not served",
    ),
    "sequences": (
        {"inputs": [_ONE], "parameters": {"sequence_id": 3, "sequence_start": True}},
        "sequences of requests are not kept here",
    ),
    "long id": ({"inputs": [_ONE], "id": "x" * 257}, "Expected `str` of length <= 256"),
    "no message": ({"input": [_ONE]}, "Object missing required field `inputs`"),
}


@pytest.mark.parametrize("case", _REFUSED)
async def test_refusals(here: Here, case: str) -> None:
    """What the model does not take, and what is not served, is a bad request, with a sentence; it is recorded."""
    message, said = _REFUSED[case]
    assert said in error(await here.post("/v2/models/iris/infer", json=message), 400)
    (row,) = predictions(here.outbox)
    assert row["error.type"] == "invalid-data"
    assert row["http.route"] == "/v2/models/{model}/infer"


async def test_refusals_of_binary_data(here: Here) -> None:
    """Data behind the JSON must be as long as JSON, shapes and header say together."""
    body, headers = binary_body({"features": ROWS})
    path = "/v2/models/iris/infer"
    length = headers[LENGTH]
    cases = {
        "has binary_data_size 32, but 28 bytes are left": (body[:-4], length),
        "36 bytes follow the JSON, but the inputs' binary_data_size are 32 together": (body + b"abcd", length),
        "wanted a number up to the": (body, "1000"),
        f"{LENGTH} is '-4'": (body, "-4"),
        f"{LENGTH} is '{length}.'": (body, f"{length}."),
        "has 28 bytes, wanted 32": (body.replace(b'_size": 32', b'_size": 28')[:-4], length),
        "has binary_data_size x": (body.replace(b'_size": 32', b'_size":"x"'), length),
        "Input data was truncated": (body, str(int(length) - 1)),
    }
    for said, (sent, declared) in cases.items():
        answer = await here.post(path, data=sent, headers={LENGTH: declared})
        assert said in answer.json["error"], (said, answer.body)
        assert answer.status == 400
    assert {row["error.type"] for row in predictions(here.outbox)} == {"invalid-data", "invalid-json"}


async def test_calls_that_are_not_there(here: Here) -> None:
    """Unknown models, versions and calls are errors of the protocol too, and leave no record."""
    body = {"inputs": [_ONE]}
    assert error(await here.post("/v2/models/nope/infer", json=body), 404) == "there is no model 'nope', only iris"
    assert "iris has no version '9'" in error(await here.post("/v2/models/iris/versions/9/infer", json=body), 404)
    for path in ("/v2/models/nope", "/v2/models/nope/ready", "/v2/models/iris/versions/9", "/v1/models/nope"):
        error(await here.get(path), 404)
    for path in ("/v2/models/iris/stats", "/v2/models/iris/config", "/v2/trace/setting", "/v2/logging"):
        assert "nothing is at" in error(await here.get(path), 404)
    error(await here.post("/v2/systemsharedmemory/region/a/register", json={}), 404)
    assert error(await here.get("/v2/models/iris/infer"), 405)
    assert predictions(here.outbox) == []


async def test_limits(outbox: Path) -> None:
    """Rows, bodies, rates and tokens are bounded as at the other calls, and refused in the protocol's form."""
    many = {"inputs": [tensor("features", np.zeros((5, 4), np.float32))]}
    one = {"inputs": [tensor("features", ROWS[:1])]}
    path = "/v2/models/iris/infer"
    async with serve(
        outbox, PREDICTOR_BATCH_ROWS="4", PREDICTOR_BODY_BYTES="400", PREDICTOR_ROWS_PER_SECOND="4"
    ) as here:
        assert "at most 4 a request (PREDICTOR_BATCH_ROWS)" in error(await here.post(path, json=many), 413)
        assert "larger than 400 bytes" in error(await here.post(path, data=b"{" + b" " * 400), 413)
        for _ in range(4):
            assert (await here.post(path, json=one)).status == 200
        refused = await here.post(path, json=one)
        assert "PREDICTOR_ROWS_PER_SECOND" in error(refused, 429)
        assert refused.headers["Retry-After"]


async def test_tokens(outbox: Path, tmp_path: Path) -> None:
    """A call that predicts wants a token of PREDICTOR_TOKEN_FILE by these paths too; what only tells wants none."""
    tokens = tmp_path / "tokens"
    tokens.write_text("secret-of-sixteen\n")
    body = {"inputs": [_ONE]}
    async with serve(outbox, PREDICTOR_TOKEN_FILE=str(tokens)) as here:
        for path, message in (("/v2/models/iris/infer", body), ("/v1/models/iris:predict", {"instances": [[0] * 4]})):
            refused = await here.post(path, json=message)
            assert "Authorization: Bearer" in error(refused, 401)
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            headers = {"Authorization": "Bearer secret-of-sixteen"}
            assert (await here.post(path, json=message, headers=headers)).status == 200
        assert (await here.get("/v2/models/iris")).status == 200


async def test_nan_of_clients(outbox: Path, tmp_path: Path) -> None:
    """NaN, which JSON has not and clients write all the same, is a missing value; within a text it stays one."""
    path = bare_models.missing(tmp_path / "m.onnx")
    body = b'{"id":"a \\"NaN\\" b","inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1, NaN,3]}]}'
    async with serve(outbox, path) as here:
        answer = await here.post("/v2/models/m/infer", data=body)
        assert answer.json["id"] == 'a "NaN" b'
        assert_same(outputs(answer), alone(path, {"x": np.array([[1, np.nan, 3]], np.float32)}))
        refused = await here.post("/v2/models/m/infer", data=body.replace(b" NaN", b" Infinity"))
        assert "JSON has no NaN or Infinity" in error(refused, 400)


async def test_numbers_that_are_not_finite_go_out_as_null(outbox: Path, tmp_path: Path) -> None:
    """An output of a model of tensors that is NaN is null in JSON, and NaN behind it."""
    path = tensor_models.image(tmp_path / "m.onnx")
    inputs = {"image": np.full((1, 3, 16, 16), np.nan, np.float32)}
    async with serve(outbox, path) as here:
        flat, _, binary = await in_every_form(here, "m", inputs)
    assert flat.json["outputs"][0]["data"] == [None] * 3
    assert np.isnan(outputs(binary)["means"]).all()


async def test_any_content_type_and_a_compressed_body(here: Here) -> None:
    """Clients declare all kinds of Content-Type or none; a body may be compressed, its JSON's length is that inside."""
    import gzip  # noqa: PLC0415 - of this test alone

    body, headers = binary_body({"features": ROWS})
    for kind in ("application/octet-stream", "application/json", "application/x-www-form-urlencoded"):
        answer = await here.post("/v2/models/iris/infer", data=body, headers=headers | {"Content-Type": kind})
        assert answer.status == 200, kind
    compressed = headers | {"Content-Encoding": "gzip"}
    assert (await here.post("/v2/models/iris/infer", data=gzip.compress(body), headers=compressed)).status == 200


async def test_drained_and_full(outbox: Path) -> None:
    """A server that is about to end is not ready, and refuses in the protocol's form with the status to try again."""
    from predictor.server import app  # noqa: PLC0415 - of this test alone

    async with serve(outbox) as here:
        here.app[app.HEALTH].terminating = True
        ready = await here.get("/v2/health/ready")
        assert (ready.status, ready.json) == (503, {"ready": False, "error": "shutting down"})
        assert (await here.get("/v2/models/iris/ready")).status == 503
        assert (await here.get("/v1/models/iris")).status == 503
        here.app[app.MODELS].drain()
        refused = await infer(here, "iris", [_ONE])
        assert "shutting down" in error(refused, 503)
        assert refused.headers["Retry-After"] == "1"


async def test_a_key_of_the_callers_own(outbox: Path, tmp_path: Path) -> None:
    """The key of `model.toml` may come as one more input: it is logged with its row, and never given to the model."""
    folder = tmp_path / "price"
    file = bare_models.price(folder / "m.onnx")
    features = "".join(f'[[features]]\nname = "{name}"\nunit = "1"\nsample = 1.5\n' for name in "abc")
    key = '[[features]]\nname = "order"\nrole = "key"\nsample = "A-1"\n'
    (folder / "model.toml").write_text(f'name = "price"\nversion = "1"\n{key}{features}')
    x = tensor("x", TABLES["price"][1]["x"])
    texts = ["A-1017", "é", "A-1"]
    keys = tensor("order", np.array(texts, object))
    async with serve(outbox, folder) as here:
        for inputs in ([keys, x], [x, keys | {"shape": [3, 1]}], [x]):
            assert_same(outputs(await infer(here, "price", inputs)), alone(file, TABLES["price"][1]))
        for wrong, said in (
            (keys | {"shape": [2], "data": texts[:2]}, "there are 2 keys for 3 rows"),
            (tensor("order", np.arange(3)), "the key is INT64 of the shape [3], wanted BYTES [-1] or [-1, 1]"),
            (keys | {"data": ["", "a", "b"]}, "a key has no character"),
        ):
            assert said in error(await infer(here, "price", [x, wrong]), 400)
    rows = [row.get("prediction.key") for row in predictions(outbox) if "error.type" not in row]
    assert rows == [*texts, *texts, None, None, None]


async def test_spans_and_metrics_have_the_route(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server span has the call's route for its name, whatever model and version the path names."""
    async with traced(monkeypatch, outbox) as here:
        for path in ("/v2/models/iris/infer", "/v2/models/iris/versions/2026-11-23/infer"):
            assert (await here.post(path, json={"inputs": [_ONE]})).status == 200
        assert (await here.post("/v1/models/iris:predict", json={"instances": ROWS.tolist()})).status == 200
        await here.get("/v2/models/iris")
    servers = [span for span in spans(outbox) if span["kind"] == SERVER]
    assert [span["name"] for span in servers] == [
        "POST /v2/models/{model}/infer",
        "POST /v2/models/{model}/versions/{version}/infer",
        "POST /v1/models/{model}:predict",
        "GET /v2/models/{model}",
    ]
    assert [f"{span['attributes']['http.request.method']} {span['attributes']['http.route']}" for span in servers] == [
        span["name"] for span in servers
    ]
