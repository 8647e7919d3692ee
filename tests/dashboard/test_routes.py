"""The page over HTTP: who sees it, with which headers, and what its files are."""

from __future__ import annotations

import http.client
import json
import re
import tomllib
import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from flit_core import buildapi  # type: ignore[import-untyped]

from predictor.config.settings import SettingsError, load
from predictor.dashboard.render import files
from predictor.inference.training_ranges import ranges
from tests.support.collector import free_port
from tests.support.model_folders import wide, with_threshold
from tests.support.server import IRIS, ROOT, Server, problem, serve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Here

_FILES = ROOT / "predictor" / "dashboard" / "files"
_PATIENCE = 30.0  # s
_HOSTILE = '<img src=x onerror="alert(1)">\'&'


class Links(HTMLParser):
    """What a page names, and what the policy would forbid in it."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.named: list[str] = []
        self.inline: list[str] = []
        self.model: Any = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take one element's links, scripts and styles."""
        values = dict(attrs)
        self.named += [value for name, value in attrs if name in {"src", "href"} and value]
        self.inline += [name for name in values if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)
        if tag == "main":
            self.model = json.loads(values["data-model"] or "")


async def test_the_page_names_only_its_own_files(here: Here) -> None:
    """Every address on the page is the server's own, and all of its files are there with their right types."""
    answer = await here.get("/")
    links = Links(answer.body.decode())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert links.inline == []
    scripts = "".join(path.read_text() for path in _FILES.glob("*.js"))
    imported = {f"page/{name}" for name in re.findall(r'from "\./([a-z]+\.js)"', scripts)}
    assert imported
    for name in {*links.named, *imported} - {"#live"}:
        assert re.fullmatch(r"[a-z./]+", name), name
        got = await here.get(f"/{name}")
        assert got.status == 200, name
        assert got.headers["Content-Type"].startswith(
            ("text/css", "text/javascript", "image/svg+xml", "application/json")
        )
    assert {f"page/{name}" for name in files()} <= imported | set(links.named)


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/page.css", "/page/icon.svg"])
async def test_headers(here: Here, path: str) -> None:
    """A browser runs nothing that is not the server's own file, guesses no types and tells nobody where it was."""
    answer = await here.get(path)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert not re.search("unsafe|https?:|data:|blob:|[*]", str(policy))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await here.send("HEAD", path)).status == 200


async def test_what_the_page_knows_of_the_model(here: Here) -> None:
    """Features, labels and the ranges of training are those of the model folder."""
    model = Links((await here.get("/")).body.decode()).model
    trained = tomllib.loads((IRIS / "training.toml").read_text())["range"]
    assert model["labels"] == ["setosa", "versicolor", "virginica"]
    assert {each["name"]: each["range"] for each in model["features"]} == trained
    assert all(each["unit"] == "cm" for each in model["features"])


async def test_the_form_asks_for_a_label_of_the_models_own(outbox: Path, tmp_path: Path) -> None:
    """The page knows whether the label may be another one than the most probable class, and then asks for it."""
    for own, folder in ((True, with_threshold(tmp_path / "own")), (False, IRIS)):
        async with serve(outbox, folder) as here:
            assert Links((await here.get("/")).body.decode()).model["ownLabel"] is own
    assert 'asksForLabel ? "predict/label" : "predict"' in (_FILES / "form.js").read_text()


async def test_off(outbox: Path) -> None:
    """A server whose page is off has nothing at its paths."""
    async with serve(outbox, PREDICTOR_PAGE="off") as here:
        for path in ("/", "/page/page.js", "/page/events"):
            problem(await here.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("listens", "shown"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True)]
    + [(each, False) for each in ("0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "predictor", "localhost.example")],
)
async def test_auto_is_loopback(outbox: Path, listens: str, shown: bool) -> None:  # noqa: FBT001 - a case
    """Unless told otherwise a server shows the page only if none but its own machine can reach it."""
    async with serve(outbox, PREDICTOR_HOST=listens) as here:
        assert ((await here.get("/")).status == 200) == shown


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("LOCALHOST:1", 200)]
    + [(each, 404) for each in ("evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "", "[::2]")],
)
@pytest.mark.parametrize("path", ["/", "/page/page.js"])
async def test_names_that_point_here(here: Here, path: str, host: str, status: int) -> None:
    """A web page from elsewhere cannot read inputs by pointing a name of its own at this machine (DNS rebinding)."""
    answer = await here.get(path, headers={"Host": host})
    assert answer.status == status
    if status == 404:
        assert "PREDICTOR_PAGE" in problem(answer, 404, "not-found")
        assert "PREDICTOR_PAGE" in problem(await here.get("/page/events", headers={"Host": host}), 404, "not-found")


async def test_on_is_shown_under_any_name(outbox: Path) -> None:
    """Switched on, the page is shown wherever the server listens and whatever it is called."""
    async with serve(outbox, PREDICTOR_PAGE="on", PREDICTOR_HOST="0.0.0.0") as here:
        assert (await here.get("/", headers={"Host": "predictor.example"})).status == 200


def test_not_under_gunicorn(outbox: Path) -> None:
    """Under gunicorn, which listens where it is told itself, the page is off unless it is switched on."""
    pytest.importorskip("gunicorn")
    bind = f"127.0.0.1:{free_port()}"
    command = ("-m", "gunicorn", "-b", bind, "-k", "aiohttp.GunicornUVLoopWebWorker", "predictor.app:runner")
    for page, status in (("auto", 404), ("on", 200)):
        with Server(outbox, command=command, ready=r"Listening at: (http://\S+)", PREDICTOR_PAGE=page) as server:
            asked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)
            asked.request("GET", "/")
            assert asked.getresponse().status == status
            asked.close()


async def test_unknown_file(here: Here) -> None:
    """Nothing but the page's files is at their path."""
    for name in ("page.html", "nothing.js", "%2e%2e%2frender.py", "..%2f__init__.py"):
        problem(await here.get(f"/page/{name}"), 404, "not-found")


async def test_what_a_model_says_is_text(outbox: Path, tmp_path: Path) -> None:
    """Labels, versions and units of a model folder are shown as they are, never taken for markup."""
    model = wide(tmp_path / "model", 2)
    description = model / "model.toml"
    text = (
        description.read_text()
        .replace('"yes"', json.dumps(_HOSTILE))
        .replace('unit = "1"', f"unit = {json.dumps(_HOSTILE)}")
    )
    description.write_text(re.sub('version = ".*"', lambda _: f"version = {json.dumps(_HOSTILE)}", text))
    async with serve(outbox, model) as here:
        page = (await here.get("/")).body.decode()
    assert "<img" not in page
    assert page.count("&lt;img") >= 2
    assert Links(page).model["labels"] == ["no", _HOSTILE]


async def test_a_wide_model(outbox: Path, tmp_path: Path) -> None:
    """A model of many features has a page of bounded size, and a form that takes a row as JSON."""
    async with serve(outbox, wide(tmp_path / "model", 3000)) as here:
        page = (await here.get("/")).body.decode()
    assert page.count("<figure") == 33
    assert len(Links(page).model["features"]) == 32
    assert "<textarea" in page


@pytest.mark.parametrize(
    "content",
    [
        "[range",
        "range = 3",
        "[range]\nage = [1]",
        "[range]\nage = [2, 1]",
        "[range]\nage = [nan, 1]",
        "\udcff",
        "[range]\nage = 3",
    ],
)
def test_training_ranges_that_cannot_be_read(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    """A faulty training.toml is said, and costs the plots their ranges and no prediction."""
    (tmp_path / "training.toml").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert ranges(tmp_path) == {}
    assert "training.toml cannot be used" in caplog.text


def test_training_ranges_are_optional(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model without training.toml has no ranges, and that is fine."""
    assert ranges(tmp_path) == {}
    (tmp_path / "training.toml").write_text("[other]\n")
    assert ranges(tmp_path) == {}
    assert caplog.text == ""


@pytest.mark.parametrize("url", ["javascript:alert(1)", "grafana", "https://", "https://u:p@g", "http://g/?a=b", "//g"])
def test_a_grafana_that_is_no_address(url: str) -> None:
    """What cannot be linked to stops the start with one sentence."""
    with pytest.raises(SettingsError, match=r"PREDICTOR_GRAFANA_URL is not shown, .*; wanted a URL such as"):
        load({"PREDICTOR_GRAFANA_URL": url})


def test_the_greeting_says_where_it_is(outbox: Path) -> None:
    """Whoever starts the server hears where the page is, if there is one."""
    with Server(outbox) as server:
        server.wait_for(lambda line: f"{server.url}/ shows" in line)
    with Server(outbox, PREDICTOR_PAGE="off") as server:
        server.wait_for(lambda line: "stream is" in line)
        assert not [line for line in server.stderr_lines if "shows" in line]


def test_what_is_installed_holds_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel holds every file of the page."""
    monkeypatch.chdir(ROOT)
    wheel = zipfile.ZipFile(tmp_path / buildapi.build_wheel(str(tmp_path)))
    held = {name for name in wheel.namelist() if name.startswith("predictor/dashboard/files/")}
    assert held == {f"predictor/dashboard/files/{path.name}" for path in _FILES.iterdir()}
    wheel.close()
