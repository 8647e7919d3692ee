"""Models that change while they are served: beside the old ones, without a request that fails or a record that lies."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import tomllib
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from predictor.config.settings import load as load_settings
from predictor.core.problems import Kind, Problem
from predictor.inference.model import load as load_model
from predictor.server import app, model_loading, model_service
from predictor.server.model_loading import load_models
from predictor.server.otel_resource import resource
from tests.support import bare_models
from tests.support.gated_model import Gate, pipeline
from tests.support.model_repository import ROW, answer, ask, constant, version
from tests.support.raw_connection import Caller
from tests.support.server import IRIS, message, predictions, problem, records, serve, serve_models, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from predictor.server.model_service import ModelService
    from tests.support.server import Here

BODY = {"data": [ROW]}


def service(here: Here) -> ModelService:
    """Return what keeps the models of a server in step with their files."""
    return here.app[app.MODELS]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the errors that were said."""
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_a_new_version_is_served_and_the_old_one_goes(tmp_path: Path, outbox: Path) -> None:
    """A number that comes becomes the default; one that goes is a 404; what is changed is replaced."""
    root = tmp_path / "models"
    version(root, "price", 1, 1.0)
    async with serve_models(outbox, root) as here:
        version(root, "price", 2, 2.0)
        await service(here).reload()
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(2.0)]
        assert await ask(here, "price", "1") == answer(1.0)
        version(root, "price", 2, 20.0)
        shutil.rmtree(root / "price" / "1")
        await service(here).reload()
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(20.0)]
        with pytest.raises(Problem, match="no version '1', only 2"):
            await ask(here, "price", "1")
    events = [each for each in records(outbox) if each["eventName"] in {"prediction", "prediction.model"}]
    shown = [(each["eventName"], each["scope"]["attributes"]["prediction.model.version"]) for each in events]
    assert shown == [
        pair for number in ("2", "1", "2") for pair in (("prediction.model", number), ("prediction", number))
    ]
    digests = [each["scope"]["attributes"]["prediction.model.digest"] for each in events[::2]]
    assert len(set(digests)) == 3


async def test_a_model_of_its_own_is_replaced_in_place(tmp_path: Path, outbox: Path) -> None:
    """A bare file that was exported anew is another version, by its digest; the same content again is no news."""
    file = constant(tmp_path / "price.onnx", 1.0)
    async with serve_models(outbox, file) as here:
        first = service(here).catalog.meant()
        constant(file, 1.0)
        await service(here).reload()
        assert service(here).catalog.meant() is first
        constant(file, 2.0)
        await service(here).reload()
        assert service(here).catalog.meant().version != first.version
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(2.0)]
        assert (await here.get("/metadata")).json["prediction_sample"] != [0.0]


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"no model"), lambda file: file.unlink()])
async def test_a_broken_one_changes_nothing(
    tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], Any]
) -> None:
    """What cannot be loaded leaves the old version serving and is said; mended, it is served."""
    file = constant(tmp_path / "models" / "price.onnx", 1.0)
    async with serve_models(outbox, file) as here:
        spoil(file)
        await service(here).reload()
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(1.0)]
        (line,) = said(caplog)
        assert "price.onnx" in line
        assert line.endswith("is served as before")
        assert (await here.get("/readyz")).status == 200
        constant(file, 2.0)
        await service(here).reload()
        assert (await here.post("/predict", json=BODY)).json["prediction"] == [answer(2.0)]
    assert len(said(caplog)) == 1


async def test_a_folder_that_loses_its_description_stays(
    tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model.toml that is gone for a moment makes no model of each of the folder's files, and ends none."""
    alone, among = tmp_path / "iris", tmp_path / "models"
    shutil.copytree(IRIS, alone)
    shutil.copytree(IRIS, among / "iris")
    constant(among / "z.onnx", 1.0)
    for number, root in enumerate((alone, among), 1):
        async with serve_models(outbox, root) as here:
            before = service(here).catalog.versions()
            next(root.rglob("model.toml")).unlink()
            await service(here).reload()
            assert service(here).catalog.versions() == before
        assert len(said(caplog)) == number


async def test_polling_takes_what_has_settled_and_says_a_fault_once(
    tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A look loads what the look before has seen the same: a file that is being written is no model yet."""
    file = constant(tmp_path / "price.onnx", 1.0)
    async with serve_models(outbox, file) as here:
        constant(file, 2.0)
        await service(here).reload(asked=False)
        assert await ask(here, None) == answer(1.0)
        await service(here).reload(asked=False)
        assert await ask(here, None) == answer(2.0)
        file.write_bytes(b"no model")
        for _ in range(4):
            await service(here).reload(asked=False)
        assert len(said(caplog)) == 1
        await service(here).reload()
        assert len(said(caplog)) == 2
        assert await ask(here, None) == answer(2.0)


async def test_the_files_are_polled(tmp_path: Path, outbox: Path) -> None:
    """With PREDICTOR_MODEL_POLL nobody has to ask."""
    file = constant(tmp_path / "price.onnx", 1.0)
    async with serve_models(outbox, file, PREDICTOR_MODEL_POLL="5ms") as here:
        first = service(here).catalog.meant()
        constant(file, 2.0)
        await until(lambda: service(here).catalog.meant() is not first)
        assert await ask(here, None) == answer(2.0)


async def test_a_request_belongs_to_the_version_that_admitted_it(outbox: Path, tmp_path: Path, gate: Gate) -> None:
    """What runs and what waits for its body end with the old version, and their records name it; then it is closed."""
    root = tmp_path / "iris"
    shutil.copytree(IRIS, root)
    async with serve(outbox, root) as here:
        old = pipeline(here, gate)
        running = asyncio.create_task(here.post("/predict", json={"data": [[6.7, 3.0, 5.2, 2.3]]}))
        await until(lambda: bool(gate.batches))
        sent = message(
            "POST", "/predict", json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]]}).encode(), Content_Type="application/json"
        )
        async with Caller(here.port) as caller:
            caller.writer.write(sent[:-5])
            await until(lambda: old.deadlines is not None and service(here).catalog.meant().held > 0)
            toml = root / "model.toml"
            toml.write_text(toml.read_text().replace('version = "', 'version = "new-'))
            await service(here).reload()
            assert service(here).catalog.meant().version.startswith("new-")
            assert (await here.post("/predict", json={"data": [[6.7, 3.0, 5.2, 2.3]]})).status == 200
            gate.open()
            assert (await running).status == 200
            assert hasattr(old, "model")
            caller.writer.write(sent[-5:])
            assert (await caller.answer()).status == 200
            await until(lambda: not hasattr(old, "model"))
    versions = [
        each["scope"]["attributes"]["prediction.model.version"]
        for each in records(outbox)
        if each["eventName"] == "prediction"
    ]
    assert [name.startswith("new-") for name in versions] == [True, False, False]


async def test_a_body_that_never_comes_holds_no_version(tmp_path: Path, outbox: Path) -> None:
    """A caller who goes in the middle of a body, or is too late with it, is not waited for."""
    file = constant(tmp_path / "price.onnx", 1.0)
    sent = message("POST", "/predict", json.dumps(BODY).encode(), Content_Type="application/json")
    async with serve_models(outbox, file, PREDICTOR_DEADLINE="100ms") as here:
        served = service(here).catalog.meant()
        async with Caller(here.port) as gone, Caller(here.port) as late:
            for caller in (gone, late):
                caller.writer.write(sent[:-5])
            await until(lambda: served.held == 2)
            gone.writer.transport.abort()
            assert (await late.answer()).status == 504
            await until(lambda: served.held == 0)


async def test_a_retired_version_is_freed(tmp_path: Path, outbox: Path) -> None:
    """Its session goes with its last answer, though idle connections and the collector of cycles still know of it."""
    file = constant(tmp_path / "price.onnx", 1.0)
    async with serve_models(outbox, file) as here, Caller(here.port) as caller:
        body = json.dumps(BODY).encode()
        assert (await caller.asks(message("POST", "/predict", body, Content_Type="application/json"))).status == 200
        model = weakref.ref(service(here).catalog.meant().pipeline.model)
        gc.collect()
        gc.disable()
        try:
            constant(file, 2.0)
            await service(here).reload()
            await until(lambda: model() is None)
        finally:
            gc.enable()


async def test_a_default_version_stays(tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The version that PREDICTOR_DEFAULT_VERSIONS names answers beside a higher one, and though its folder goes.

    Unloaded by a call, it leaves the calls without a version unanswered: no other version takes its place.
    """
    root = tmp_path / "models"
    version(root, "price", 1, 1.0)
    async with serve_models(outbox, root, PREDICTOR_DEFAULT_VERSIONS="price@1") as here:
        version(root, "price", 2, 2.0)
        await service(here).reload()
        assert await ask(here, None) == answer(1.0)
        assert await ask(here, "price", "2") == answer(2.0)
        shutil.rmtree(root / "price" / "1")
        for _ in range(3):
            await service(here).reload(asked=False)
        assert await ask(here, "price") == answer(1.0)
        (line,) = said(caplog)
        assert "price/1/model.onnx is gone, and PREDICTOR_DEFAULT_VERSIONS names it" in line
        assert line.endswith("price@1 is served as before")
        await service(here).unload("price", "1")
        words = "price@1 is not served (PREDICTOR_DEFAULT_VERSIONS), only 2"
        assert words in problem(await here.post("/predict", json=BODY), 503, "no-model")
        assert (await here.get("/v2/models/price")).json == {"error": words}
        assert (await here.get("/readyz")).json["reason"] == words
        assert await ask(here, "price", "2") == answer(2.0)
        version(root, "price", 1, 10.0)
        await service(here).load("price")
        assert await ask(here, None) == answer(10.0)


async def test_a_default_version_is_not_replaced_by_another(
    tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files in its place that are another version are not served, and a line says why."""
    root = tmp_path / "iris"
    shutil.copytree(IRIS, root)
    toml = root / "model.toml"
    named = f"iris@{tomllib.loads(toml.read_text())['version']}"
    async with serve_models(outbox, root, PREDICTOR_DEFAULT_VERSIONS=named) as here:
        toml.write_text(toml.read_text().replace('version = "', 'version = "new-'))
        for _ in range(3):
            await service(here).reload(asked=False)
        assert str(service(here).catalog.meant()) == named
    (line,) = said(caplog)
    assert f"now, and PREDICTOR_DEFAULT_VERSIONS names {named}; {named} is served as before" in line


async def test_a_model_without_versions_is_reported_once(
    tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A poll that finds a model's folder empty again repeats no line."""
    root = tmp_path / "models"
    version(root, "price", 1, 1.0)
    constant(root / "area.onnx", 5.0)
    async with serve_models(outbox, root) as here:
        shutil.rmtree(root / "price" / "1")
        for _ in range(3):
            await service(here).reload(asked=False)
        assert await ask(here, "price") == answer(1.0)
    (line,) = said(caplog)
    assert "has no model any more; price@1 is served as before" in line


async def test_loading_and_unloading_by_name(tmp_path: Path, outbox: Path) -> None:
    """A model that was unloaded stays away, whatever changes, until it is loaded; the index has every version."""
    root = tmp_path / "models"
    version(root, "price", 1, 1.0)
    version(root, "price", 2, 2.0)
    constant(root / "area.onnx", 5.0)
    async with serve_models(outbox, root, PREDICTOR_DEFAULT_MODEL="price") as here:
        await service(here).unload("price", "2")
        assert await ask(here, "price") == answer(1.0)
        await service(here).unload("price")
        version(root, "price", 2, 20.0)
        await service(here).reload()
        index = [(each.name, each.version, each.ready, each.reason) for each in service(here).index()]
        assert index[1:] == [("price", "1", False, "unloaded"), ("price", "2", False, "unloaded")]
        assert index[0][0::2] == ("area", True)
        refused = await here.post("/predict", json=BODY)
        assert "price is not served (PREDICTOR_DEFAULT_MODEL), only area" in problem(refused, 503, "no-model")
        assert (await here.get("/readyz")).status == 503
        await service(here).load("price")
        assert await ask(here, None) == answer(20.0)
        assert (await here.get("/readyz")).status == 200
        for call in (service(here).load("rent"), service(here).unload("rent")):
            with pytest.raises(Problem, match="there is no model 'rent', only area, price") as caught:
                await call
            assert caught.value.kind is Kind.NOT_FOUND
        version(root, "price", 2, None)
        with pytest.raises(Problem, match=r"price/2/model\.onnx"):
            await service(here).load("price")
        assert await ask(here, None) == answer(20.0)


async def test_a_name_that_another_model_has_is_refused(
    tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two models of one name cannot both be meant: the later one is not served, and that is said."""
    root = tmp_path / "models"
    constant(root / "price.onnx", 1.0)
    async with serve_models(outbox, root) as here:
        version(root, "price", 1, 2.0)
        await service(here).reload()
        assert await ask(here, "price") == answer(1.0)
    (line,) = said(caplog)
    assert "are both called 'price'" in line


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("the inside")])
async def test_whatever_loading_raises_is_said(
    tmp_path: Path,
    outbox: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    """A model that fails to load for a reason that nobody foresaw is one that cannot be loaded; others are served."""
    root = tmp_path / "models"
    constant(root / "a.onnx", 1.0)
    constant(root / "b.onnx", 2.0)
    whole = load_model

    def load(path: Path, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - as the loader takes and gives it
        if path.stem == "a":
            raise fault
        return whole(path, *given, **named)

    async with serve_models(outbox, root) as here:
        monkeypatch.setattr(model_loading, "load", load)
        constant(root / "a.onnx", 10.0)
        constant(root / "b.onnx", 20.0)
        await service(here).reload()
        assert await ask(here, "a") == answer(1.0)
        assert await ask(here, "b") == answer(20.0)
        await service(here).reload(asked=False)
    assert sum("is served as before" in line for line in said(caplog)) == 1


async def test_a_fault_in_a_reload_ends_nothing(
    tmp_path: Path, outbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a reload raises, what was served is served, and the next reload is tried."""
    file = constant(tmp_path / "price.onnx", 1.0)

    def fail(*_: object) -> None:
        msg = "the inside"
        raise RuntimeError(msg)

    async with serve_models(outbox, file) as here:
        with monkeypatch.context() as patched:
            patched.setattr(model_service, "find", fail)
            service(here).request_reload()
            await until(lambda: bool(said(caplog)))
        constant(file, 2.0)
        service(here).request_reload()
        service(here).request_reload()
        await until(lambda: service(here).catalog.meant().facts.metadata["prediction_sample"] != [1.0])
        assert await ask(here, None) == answer(2.0)


async def test_a_shutdown_does_not_wait_for_a_reload(tmp_path: Path, outbox: Path) -> None:
    """A reload that is under way at the end is given up, and the stream is closed as ever."""
    file = constant(tmp_path / "price.onnx", 1.0)
    async with serve_models(outbox, file, PREDICTOR_MODEL_POLL="1ms") as here:
        await ask(here, None)
        bare_models.churn(file)
        service(here).request_reload()
        await asyncio.sleep(0)
    assert len(predictions(outbox)) == 1
    assert records(outbox)[-1]["eventName"] == "prediction.stream.closed"


async def test_no_call_changes_one_of_several_processes(tmp_path: Path, outbox: Path) -> None:
    """Where several processes serve one port, a call that loads or unloads is refused with the way that reaches all."""
    file = constant(tmp_path / "price.onnx", 1.0)
    read = load_settings({"PREDICTOR_OUTBOX": str(outbox), "PREDICTOR_MODEL": str(file)})
    runner = web.AppRunner(app.application(read, load_models(read), resource(), shared_port=True))
    await runner.setup()
    models = runner.app[app.MODELS]
    for call in (models.load("price"), models.unload("price")):
        with pytest.raises(Problem, match="PREDICTOR_MODEL_POLL, or SIGUSR1 to gunicorn") as caught:
            await call
        assert caught.value.kind.status == 409
    constant(file, 2.0)
    await models.reload()
    assert models.catalog.meant().facts.metadata["prediction_sample"] == [2.0]
    await runner.cleanup()
