"""Many models and versions in one process: each with its own pipeline and scope, one log and one stream for all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from predictor.core.problems import Problem
from predictor.server import app
from tests.support import bare_models, model_repository
from tests.support.model_repository import ROW, answer, ask
from tests.support.server import predictions, problem, records, run, serve_models

if TYPE_CHECKING:
    from pathlib import Path

BODY = {"data": [ROW]}


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
