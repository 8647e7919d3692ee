"""The model repository extension: index, load and unload, for who has a token of PREDICTOR_CONTROL_TOKEN_FILE."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.api.test_open_inference import error
from tests.support import model_repository
from tests.support.gunicorn_server import Gunicorn
from tests.support.model_repository import ROW, answer
from tests.support.server import serve_models

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Here

TOKEN = {"Authorization": "Bearer control-of-sixteen-characters"}
X = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": ROW}]}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Settings with a token for control."""
    tokens = tmp_path / "control"
    tokens.write_text(TOKEN["Authorization"].removeprefix("Bearer ") + "\n")
    return {"PREDICTOR_CONTROL_TOKEN_FILE": str(tokens)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one model."""
    model_repository.version(tmp_path / "models", "price", 1, 1.0)
    return tmp_path / "models"


async def said(here: Here) -> float | None:
    """Return what `price` answers now; None if it is not served."""
    found = await here.post("/v2/models/price/infer", json=X)
    return found.json["outputs"][0]["data"][0] if found.status == 200 else None


async def test_load_and_unload(root: Path, outbox: Path, settings: dict[str, str]) -> None:
    """A model is loaded as it lies there now, unloaded and loaded again; the index tells what is served."""
    other = model_repository.version(root, "area", 1, 9.0)
    async with serve_models(outbox, root, **settings) as here:
        assert await said(here) == answer(1.0)
        model_repository.version(root, "price", 2, 2.0)
        loaded = await here.post("/v2/repository/models/price/load", json={}, headers=TOKEN)
        assert (loaded.status, loaded.json) == (200, {"name": "price", "load": True})
        assert await said(here) == answer(2.0)
        index = await here.post("/v2/repository/index", headers=TOKEN)
        entry = {"state": "READY", "reason": ""}
        assert index.json == [
            {"name": "area", "version": "1", **entry},
            {"name": "price", "version": "1", **entry},
            {"name": "price", "version": "2", **entry},
        ]
        unloaded = await here.post("/v2/repository/models/price/unload", data=b"", headers=TOKEN)
        assert unloaded.json == {"name": "price", "unload": True}
        assert await said(here) is None
        index = await here.post("/v2/repository/index", json={}, headers=TOKEN)
        assert [each["state"] for each in index.json] == ["READY", "UNAVAILABLE", "UNAVAILABLE"]
        ready = await here.post("/v2/repository/index", json={"ready": True}, headers=TOKEN)
        assert [each["name"] for each in ready.json] == ["area"]
        assert (await here.post("/v2/repository/models/price/load", headers=TOKEN)).status == 200
        assert await said(here) == answer(2.0)
    assert other.is_dir()


async def test_refusals(root: Path, outbox: Path, settings: dict[str, str]) -> None:
    """What is not there, is broken, or would bring another model than the one that lies there, is refused."""
    async with serve_models(outbox, root, **settings) as here:
        for path in ("load", "unload"):
            assert "no model" in error(await here.post(f"/v2/repository/models/x/{path}", headers=TOKEN), 404)
        for parameter in ("config", "file:1/model.onnx"):
            body = {"parameters": {parameter: "{}"}}
            refused = await here.post("/v2/repository/models/price/load", json=body, headers=TOKEN)
            assert "only files of the repository are loaded" in error(refused, 400)
        assert "wanted a JSON object" in error(await here.post("/v2/repository/index", data=b"[", headers=TOKEN), 400)
        model_repository.version(root, "price", 2, None)
        broken = await here.post("/v2/repository/models/price/load", headers=TOKEN)
        assert "what was served before is served" in error(broken, 400)
        assert await said(here) == answer(1.0)


async def test_who_may(root: Path, outbox: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    """Without PREDICTOR_CONTROL_TOKEN_FILE nobody may, and with it nobody without a token of that file."""
    calls = ("index", "models/price/load", "models/price/unload")
    tokens = tmp_path / "tokens"
    tokens.write_text("predicts-of-sixteen-characters\n")
    predicts = {"Authorization": "Bearer predicts-of-sixteen-characters"}
    async with serve_models(outbox, root) as here:
        for call in calls:
            refused = await here.post(f"/v2/repository/{call}", headers=TOKEN)
            assert "PREDICTOR_CONTROL_TOKEN_FILE is not set" in error(refused, 403)
    async with serve_models(outbox, root, PREDICTOR_TOKEN_FILE=str(tokens), **settings) as here:
        for call in calls:
            error(await here.post(f"/v2/repository/{call}"), 401)
            error(await here.post(f"/v2/repository/{call}", headers=predicts), 401)
        assert (await here.post("/v2/models/price/infer", json=X, headers=predicts)).status == 200


def test_one_of_several_processes_is_not_controlled(root: Path, outbox: Path, settings: dict[str, str]) -> None:
    """Under gunicorn a call would reach one worker by chance: each is a 409 that names the ways that reach all."""
    with Gunicorn(outbox, PREDICTOR_MODEL=str(root), **settings) as server:
        for call in ("index", "models/price/load", "models/price/unload"):
            url = f"{server.url}/v2/repository/{call}"
            request = urllib.request.Request(url, b"", TOKEN, method="POST")
            with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=30):
                pass
            with caught.value as refused:
                assert refused.code == 409
                assert json.load(refused)["error"].endswith("PREDICTOR_MODEL_POLL, or SIGUSR1 to gunicorn, reaches all")
        with urllib.request.urlopen(f"{server.url}/v2/models/price", timeout=30) as told:
            assert json.load(told)["versions"] == ["1"]
