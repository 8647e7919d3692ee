"""Many models and versions in one process: each with its own pipeline and scope, one log and one stream for all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from predictor.core.problems import Problem
from predictor.server import app
from tests.support import bare_models, model_repository
from tests.support.model_repository import ROW, answer, ask
from tests.support.server import predictions, problem, records, run, serve_models

if TYPE_CHECKING:
    from pathlib import Path

BODY = {"data": [ROW]}


def predictions_with_scope(outbox: Path) -> list[Any]:
    """Return the records of predictions, each with its scope."""
    return [each for each in records(outbox) if each["eventName"] == "prediction"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository: two versions of `price`, and a model of one version that comes first by name."""
    root = tmp_path / "models"
    model_repository.version(root, "price", 1, 1.0)
    model_repository.version(root, "price", 2, 2.0)
    model_repository.constant(root / "area.onnx", 100.0)
    return root


async def test_the_patterns_calls_mean_the_default_model(root: Path, outbox: Path) -> None:
    """The first model by name is meant, or the one that PREDICTOR_DEFAULT_MODEL names, in its highest version."""
    async with serve_models(outbox, root) as here:
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(100.0)]
    async with serve_models(outbox, root, PREDICTOR_DEFAULT_MODEL="price") as here:
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(2.0)]
        listed = (await here.get("/metadata")).json["models"]
        ready = (await here.get("/readyz")).json
    area = listed[0]["version"]
    assert [(each["name"], each["version"], each["default"]) for each in listed] == [
        ("area", area, False),
        ("price", "2", True),
        ("price", "1", False),
    ]
    assert ready["models"] == [f"area@{area}", "price@2", "price@1"]


async def test_a_default_version_answers_what_names_no_version(root: Path, outbox: Path) -> None:
    """What PREDICTOR_DEFAULT_VERSIONS names answers by every protocol, and a higher version by its number."""
    settings = {"PREDICTOR_DEFAULT_MODEL": "price", "PREDICTOR_DEFAULT_VERSIONS": "price@1"}
    tensors = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(ROW)], "data": ROW}]}
    async with serve_models(outbox, root, **settings) as here:
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(1.0)]
        instances = {"instances": [ROW]}
        assert (await here.post("/v1/models/price:predict", json=instances)).json == {"predictions": [[answer(1.0)]]}
        for path, value in (("price", 1.0), ("price/versions/1", 1.0), ("price/versions/2", 2.0)):
            said = (await here.post(f"/v2/models/{path}/infer", json=tensors)).json
            assert said["outputs"][0]["data"] == [answer(value)]
        assert (await here.get("/v2/models/price")).json["versions"] == ["1", "2"]
        listed = (await here.get("/metadata")).json["models"]
    assert [(each["name"], each["version"], each["default"]) for each in listed[1:]] == [
        ("price", "1", True),
        ("price", "2", False),
    ]
    versions = [each["scope"]["attributes"]["prediction.model.version"] for each in predictions_with_scope(outbox)]
    assert versions == ["1", "1", "1", "1", "2"]


async def test_each_version_has_its_scope_in_one_stream(root: Path, outbox: Path) -> None:
    """Each record names the version that made it, each version is told of before its first record, numbers go on."""
    async with serve_models(outbox, root) as here:
        for name, number, value in (
            ("price", "1", 1.0),
            ("price", None, 2.0),
            ("area", None, 100.0),
            ("price", "1", 1.0),
        ):
            assert await ask(here, name, number) == answer(value)
    written = records(outbox)
    assert len({record["stream"] for record in written}) == 1
    numbers = [record["attributes"]["prediction.stream.sequence"] for record in written]
    assert numbers == list(range(1, len(written) + 1))
    told: list[str] = []
    for record in written:
        if record["eventName"] not in {"prediction", "prediction.model"}:
            continue
        scope = record["scope"]["attributes"]
        version = scope["prediction.model.version"]
        if record["eventName"] == "prediction.model":
            told.append(version)
        else:
            assert version in told
            value = {"1": 1.0, "2": 2.0}.get(version, 100.0)
            assert record["attributes"]["prediction.value"] == answer(value)
    assert Counter(told).most_common(1)[0][1] == 1
    assert len(told) == 3


async def test_what_is_not_there_is_named_with_what_is(root: Path, outbox: Path) -> None:
    """An unknown model or version is a 404 that lists the others, and leaves no record."""
    async with serve_models(outbox, root) as here:
        for name, number, words in (
            ("rent", None, "there is no model 'rent', only area, price"),
            ("price", "3", "price has no version '3', only 2, 1"),
            (None, "9", "area has no version '9'"),
        ):
            with pytest.raises(Problem, match=words) as caught:
                await ask(here, name, number)
            assert caught.value.kind.status == 404
    assert predictions(outbox) == []


async def test_a_model_without_labels_has_no_calls_for_them(root: Path, outbox: Path) -> None:
    """What a model cannot answer is not there, whatever other models can; it is not recorded either."""
    async with serve_models(outbox, root) as here:
        problem(await here.post("/predict/label", json=BODY), 404, "not-found")
        problem(await here.get("/predict/test/label"), 404, "not-found")
    assert predictions(outbox) == []


async def test_each_version_has_its_own_limits(tmp_path: Path, outbox: Path) -> None:
    """A body may be as large as its model's rows need, and rows are counted for each model apart."""
    root = tmp_path / "models"
    model_repository.constant(root / "a.onnx", 1.0)
    bare_models.churn(root / "b.onnx")
    async with serve_models(outbox, root, PREDICTOR_QUEUE_ROWS="1") as here:
        catalog = here.app[app.MODELS].catalog
        pipelines = {version.pipeline for version in catalog.versions()}
        assert len(pipelines) == 2
        await ask(here, "a")
        assert len({version.pipeline.schema.model for version in catalog.versions()}) == 2


def test_a_start_says_what_is_wrong(root: Path, outbox: Path) -> None:
    """A default model that is not there, two of one name and a model without a version that loads stop the start."""
    found = run("serve", outbox=outbox, PREDICTOR_MODEL=str(root), PREDICTOR_DEFAULT_MODEL="rent", PREDICTOR_PORT="0")
    assert found.returncode == 2
    assert "PREDICTOR_DEFAULT_MODEL is 'rent', wanted one of area, price" in found.stderr
    model_repository.constant(root / "area" / "x.onnx", 5.0)
    found = run("serve", outbox=outbox, PREDICTOR_MODEL=str(root), PREDICTOR_PORT="0")
    assert found.returncode == 2
    assert "are both called 'area'" in found.stderr
    (root / "area" / "x.onnx").write_bytes(b"no model")
    found = run("serve", outbox=outbox, PREDICTOR_MODEL=str(root), PREDICTOR_PORT="0")
    assert found.returncode == 2
    assert "area/x.onnx" in found.stderr
    assert not outbox.exists()


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("price@3", "names price@3, wanted one of price@1, price@2"),
        ("rent@1", "names rent@1, wanted one of area@"),
    ],
)
def test_a_default_version_must_be_there(root: Path, outbox: Path, named: str, words: str) -> None:
    """A version that PREDICTOR_DEFAULT_VERSIONS names and that is not there stops the start, and `check` finds it."""
    for verb in ("serve", "check"):
        found = run(
            verb, outbox=outbox, PREDICTOR_MODEL=str(root), PREDICTOR_DEFAULT_VERSIONS=named, PREDICTOR_PORT="0"
        )
        assert found.returncode == {"serve": 2, "check": 1}[verb]
        assert f"PREDICTOR_DEFAULT_VERSIONS {words}" in found.stderr


def test_a_default_version_that_is_broken_stops_the_start(root: Path, outbox: Path) -> None:
    """The start gives the reason why the version cannot be served, and serves no other one in its place."""
    model_repository.version(root, "price", 1, None)
    settings = {"PREDICTOR_DEFAULT_VERSIONS": "price@1", "PREDICTOR_PORT": "0"}
    found = run("serve", outbox=outbox, PREDICTOR_MODEL=str(root), **settings)
    assert found.returncode == 2
    assert "names price@1, wanted one of price@2: " in found.stderr
    assert "price/1/model.onnx" in found.stderr


async def test_a_broken_version_beside_one_that_loads(
    root: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The highest version that loads is served, and the start says why a newer one is not; `check` calls it wrong."""
    model_repository.version(root, "price", 3, None)
    async with serve_models(outbox, root, PREDICTOR_DEFAULT_MODEL="price") as here:
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(2.0)]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "price/3/model.onnx" in line
    found = run("check", outbox=outbox, PREDICTOR_MODEL=str(root))
    assert found.returncode == 1
    words = [line for line in found.stderr.splitlines() if " model: " in line]
    assert [line.startswith("ok") for line in words] == [True, True, True, False]
