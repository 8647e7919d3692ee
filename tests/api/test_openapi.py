"""The OpenAPI document: every call, status, kind of problem and field is in it, and nothing that is not there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from predictor.api.openapi.conditions import Conditions
from predictor.api.openapi.description import Description
from predictor.api.openapi.documents import JOB_ID
from predictor.api.openapi.page import PAGE
from predictor.api.routes import Predict
from predictor.core.problems import Kind
from predictor.http.missing_calls import ANYWHERE
from predictor.server import app
from tests.api.test_open_inference import TABLES
from tests.support import bare_models, model_repository
from tests.support.openapi_document import Contract, contract
from tests.support.server import IRIS, ROOT, run, serve, serve_models
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.server import Here

TOKEN = "token-of-sixteen-characters"
CONTROL = "control-of-sixteen-characters"
FEEDBACK = "feedback-of-sixteen-characters"
_TOKENS = {"predictions": TOKEN, "feedback": FEEDBACK, "control": CONTROL}


def settings_of(folder: Path) -> dict[str, str]:
    """Return settings by which every call is there, wants a token and has bounds."""
    settings = {}
    for name, token in (("TOKEN", TOKEN), ("CONTROL_TOKEN", CONTROL), ("FEEDBACK_TOKEN", FEEDBACK)):
        path = folder / name
        path.write_text(f"{token}\n")
        settings[f"PREDICTOR_{name}_FILE"] = str(path)
    settings |= {"PREDICTOR_PAGE": "on", "PREDICTOR_FEEDBACK": "true", "PREDICTOR_ROWS_PER_SECOND": "100000"}
    return settings | {"PREDICTOR_ALLOWED_HOSTS": "test", "PREDICTOR_DEFAULT_MODEL": "iris"}


def few_models(models: Path) -> Path:
    """Write models of rows and of tensors, one with two versions and one with a key, and return their folder."""
    models.mkdir()
    for number in (1, 2):
        model_repository.version(models, "sum", number, float(number))
    keyed = models / "keyed"
    keyed.mkdir()
    bare_models.price(keyed / "model.onnx")
    (keyed / "model.toml").write_text(_KEYED)
    (models / "iris").symlink_to(IRIS)
    KINDS["scalars"].make(models / "scalars.onnx")
    return models


@pytest.fixture
async def few(outbox: Path, tmp_path: Path) -> AsyncIterator[Here]:
    """A few models, tokens for all, the page, and a bound of rows a second."""
    async with serve_models(outbox, few_models(tmp_path / "models"), **settings_of(tmp_path)) as here:
        yield here


@pytest.fixture
async def zoo(outbox: Path, tmp_path: Path) -> AsyncIterator[Here]:
    """The same of every kind of model."""
    models = few_models(tmp_path / "models")
    for name, (make, _) in TABLES.items():
        make(models / f"{name}.onnx")
    for name, kind in KINDS.items():
        kind.make(models / f"{name}.onnx")
    async with serve_models(outbox, models, **settings_of(tmp_path)) as here:
        yield here


_KEYED = """
name = "keyed"
version = "a b/c"
file = "model.onnx"

[[features]]
name = "a"
unit = "1"
sample = 1.0

[[features]]
name = "b"
unit = "1"
sample = 2.0

[[features]]
name = "order"
role = "key"
sample = "A-1017"

[[features]]
name = "c"
unit = "1"
sample = 3.0
"""


def headers_for(operation: dict[str, Any]) -> dict[str, str]:
    """Return the headers that a call wants: its token, if it wants one."""
    (names,) = operation.get("security", [{}])
    token = next((_TOKENS[name] for name in names), None)
    return {"Authorization": f"Bearer {token}"} if token else {}


def path_of(path: str, model: str = "sum") -> str:
    """Return a path with names in it as one that can be asked for."""
    values = {"model": model, "version": "1", "job_id": JOB_ID, "file": "page.css"}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)


async def test_every_call_is_there_and_no_other(few: Here) -> None:
    """The document has every call that the server answers, of each model and version those that it has."""
    catalog = few.app[app.MODELS].catalog
    wanted = set()
    predicting = {route.path: route for route in few.app[app.DESCRIPTION].routes if isinstance(route.meaning, Predict)}
    for resource in few.app.router.resources():
        path = resource.canonical
        if path == ANYWHERE or (path.endswith("/") and path != "/"):
            continue
        methods = {route.method for route in resource} - {"HEAD"}
        if path not in predicting:
            wanted |= {(method, path) for method in methods}
    for served in catalog.versions():
        for method, path in served.codecs:
            of_default = served is catalog.default and "{" not in path
            of_model = served in catalog.models() and "{model}" in path and "{version}" not in path
            if of_default or of_model or "{version}" in path:
                name, version = served.name, served.version.replace(" ", "%20").replace("/", "%2F")
                wanted.add((method, path.replace("{model}", name).replace("{version}", version)))
    found = {(method, path) for method, path, _ in contract(few).operations()}
    assert found == wanted
    assert ("POST", "/v2/models/keyed/versions/a%20b%2Fc/infer") in found


async def test_examples_work(zoo: Here) -> None:
    """Each example is as its schema says, is taken by the server, and its answer is as the document says."""
    described = contract(zoo)
    asked, without = 0, set()
    # What unloads a model comes last.
    for method, path, operation in sorted(described.operations(), key=lambda each: each[1].endswith("/unload")):
        if path == "/page/events":
            continue
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        bodies = [example["value"] for example in content.get("examples", {}).values()]
        if method == "POST" and not bodies and "200" in operation["responses"]:
            without.add(path)
        for body in bodies:
            assert described.faults(content["schema"], body) == [], path
        for body in bodies or ([None] if method == "GET" else []):
            more = {} if body is None else {"json": body}
            answer = await zoo.send(method, path_of(path), headers=headers_for(operation), **more)
            described.hold(method, path_of(path), answer)
            assert answer.status == (200 if "200" in operation["responses"] else 422 if "v1" not in path else 400)
            asked += 1
    assert asked > 100
    assert {path.split("/")[3] for path in without} == set()


async def test_every_kind_of_problem_is_there(few: Here) -> None:
    """Each kind of problem, with its status, is in the document of a server that has all of them."""
    described = few.app[app.DESCRIPTION]
    whole = Description(
        few.app[app.MODELS].catalog,
        Conditions(*[True] * len(Conditions._fields)),
    )
    whole.routes = described.routes
    document = whole.document()
    responses = [*document["components"]["responses"].items()]
    responses = [("405", each) for _, each in responses]
    for _, _, operation in Contract(document).operations():
        responses += operation["responses"].items()
    found = {
        (int(status), word) for status, each in responses for word in re.findall(r"`([a-z-]+)`:", each["description"])
    }
    assert found == {(kind.status, kind.word) for kind in Kind} | {(400, Kind.INVALID_DATA.word)}


@pytest.mark.parametrize("name", [*TABLES, *KINDS])
async def test_metadata_of_every_kind(outbox: Path, tmp_path: Path, name: str) -> None:
    """What is told of each kind of model as the default one is as the document says, every field of it."""
    make = TABLES[name][0] if name in TABLES else KINDS[name].make
    async with serve(outbox, make(tmp_path / "model.onnx")) as here:
        described = contract(here)
        for method, path, operation in described.operations():
            if method == "GET" and "{" not in path and path != "/page/events":
                answer = await here.get(path)
                described.hold(method, path, answer)
                assert answer.status == 200, operation


async def test_without_a_log(outbox: Path) -> None:
    """Of a server that logs nothing the readiness has other fields, and no answer says that its record was lost."""
    async with serve(outbox, PREDICTOR_LOG="off") as here:
        described = contract(here)
        described.hold("GET", "/readyz", await here.get("/readyz"))
        found = described.find("POST", "/predict")
        assert found
        assert "X-Prediction-Logged" not in found["responses"]["200"]["headers"]
        assert "outbox-full" not in found["responses"]["503"]["description"]


async def test_tokens_are_there_where_they_are_wanted(few: Here) -> None:
    """Calls that want a token, and no others, have its security scheme and a 401."""
    described = contract(few)
    assert set(described.document["components"]["securitySchemes"]) == {*_TOKENS}
    for method, path, operation in described.operations():
        wants = bool(operation.get("security"))
        assert wants == ("401" in operation["responses"]), (method, path)
        if path != "/page/events":
            answer = await few.send(method, path_of(path), **({} if method == "GET" else {"json": {}}))
            assert (answer.status == 401) == wants, (method, path)
            described.hold(method, path_of(path), answer)


async def test_no_tokens_are_there_where_none_are_wanted(here: Here) -> None:
    """The document of a server without tokens has no security scheme and no 401."""
    found = contract(here)
    assert "securitySchemes" not in found.document["components"]
    assert not [path for _, path, operation in found.operations() if "401" in operation["responses"]]


async def test_it_is_made_once_for_a_set_of_models(outbox: Path, tmp_path: Path) -> None:
    """The document is the same object until the models change, and then has what is served."""
    model_repository.version(tmp_path / "models", "sum", 1, 1.0)
    async with serve_models(outbox, tmp_path / "models") as here:
        description = here.app[app.DESCRIPTION]
        first = [description.answer().buffers for _ in range(2)]
        made = [(await here.get("/openapi.json")).body for _ in range(2)]
        assert made[0] == made[1] == b"".join(first[0])
        model_repository.version(tmp_path / "models", "sum", 2, 2.0)
        await here.app[app.MODELS].reload()
        paths = (await here.get("/openapi.json")).json["paths"]
        assert "/v2/models/sum/versions/2/infer" in paths


async def test_no_model(outbox: Path, tmp_path: Path) -> None:
    """A server whose last model was unloaded describes the calls that are left."""
    model_repository.version(tmp_path / "models", "sum", 1, 1.0)
    tokens = tmp_path / "control"
    tokens.write_text(CONTROL)
    async with serve_models(outbox, tmp_path / "models", PREDICTOR_CONTROL_TOKEN_FILE=str(tokens)) as here:
        await here.app[app.MODELS].unload("sum")
        described = contract(here)
        assert described.find("POST", "/predict") is None
        for path in ("/metadata", "/readyz", "/v2/models", "/v2/models/sum", "/v2/health/ready", "/v1/models/sum"):
            described.hold("GET", path, await here.get(path))


def test_command_prints_what_the_server_answers(outbox: Path, tmp_path: Path) -> None:
    """`predictor openapi MODEL` prints the document of a server over that model, and opens no outbox."""
    model = bare_models.price(tmp_path / "price.onnx")
    done = run("openapi", str(model), outbox=outbox)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["openapi"] == "3.1.0"
    assert "/v2/models/price/infer" in document["paths"]
    assert not outbox.exists()
    missing = run("openapi", str(tmp_path / "nothing"), outbox=outbox)
    assert (missing.returncode, missing.stdout) == (2, "")


async def test_command_and_server_agree(outbox: Path) -> None:
    """The command prints exactly what the server answers with the same settings."""
    done = run("openapi", outbox=outbox)
    async with serve(outbox) as here:
        assert (await here.get("/openapi.json")).json == json.loads(done.stdout)


def test_docs_name_every_call_of_the_document() -> None:
    """docs/http.md lists each call of the table that the document has."""
    page = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    assert "`GET /openapi.json`" in page


def test_the_pages_calls_are_told_as_in_the_docs() -> None:
    """What the document says of the page's calls, all that its stream sends included, is what docs/http.md says."""
    page = (ROOT / "docs" / "http.md").read_text(encoding="utf-8").replace("[the page](page.md)", "the page")
    for path, (_, summary, *_) in PAGE.items():
        assert f"| `GET {path}` | {summary[0].lower()}{summary[1:]}" in page
