"""The published pages say what the code does: settings, calls, problems; and their examples are true."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from predictor.config import otel_variables
from predictor.config.otel_env import read_export
from predictor.config.settings import table
from predictor.core.problems import Kind
from tests.support.server import ROOT, Here, serve

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
PROSE = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]


def rows(page: str, heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table under a heading."""
    section = re.split(r"^#+ .*\n", page[page.index(f"# {heading}\n") :], flags=re.MULTILINE)[1]
    lines = section[section.index("\n|") + 1 :].split("\n\n", 1)[0].splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines[2:]]


def general(variable: str) -> str:
    """Return an OTLP variable with its signal left open."""
    return re.sub("OTLP_(LOGS|TRACES|METRICS)_", "OTLP_<SIGNAL>_", variable)


class Environment(dict[str, str]):
    """An environment that remembers which variables were looked for."""

    def __init__(self, **values: str) -> None:
        """Hold these values."""
        super().__init__(values)
        self.seen: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return a value, and remember that it was looked for."""
        self.seen.add(key)
        return super().get(key, default)


def test_our_settings() -> None:
    """docs/settings.md lists every setting with its default and meaning, and none that does not exist."""
    published = rows(SETTINGS, "Our own")
    assert published == [
        (f"`{row.variable}`", f"`{row.default}`" if row.default else "", row.meaning) for row in table()
    ]


def test_settings_named_anywhere() -> None:
    """No page names a setting that does not exist."""
    known = {row.variable for row in table()} | {"PREDICTOR_SERVICE_"}  # the latter are Kubernetes's
    for path in PROSE:
        named = set(re.findall(r"PREDICTOR_[A-Z_]+", path.read_text(encoding="utf-8")))
        assert named - {"PREDICTOR_"} <= known, path


def test_variables_read_by_the_server() -> None:
    """docs/settings.md lists just those of OpenTelemetry's variables that the server reads itself."""
    seen: set[str] = set()
    for signal in ("LOGS", "TRACES", "METRICS"):
        environment = Environment(**{f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": "http://127.0.0.1:4318"})
        read_export(environment)
        seen |= environment.seen
    scraped = Environment(OTEL_METRICS_EXPORTER="prometheus")
    read_export(scraped)
    seen |= scraped.seen
    published = [row[0].strip("`") for row in rows(SETTINGS, "OpenTelemetry's, read by the server")]
    named = {general(variable) for variable in seen if variable.startswith("OTEL_")}  # the rest are a proxy's
    assert sorted(published) == sorted(named)


def test_variables_read_by_the_sdk() -> None:
    """docs/settings.md lists just those that the SDK and its instrumentation read and that are checked."""
    published = [row[0].strip("`") for row in rows(SETTINGS, "OpenTelemetry's, read by its SDK")]
    assert sorted(published) == sorted(otel_variables.SDK)


def test_variables_that_are_refused_or_ignored() -> None:
    """docs/settings.md lists what else OpenTelemetry has, what becomes of it, and why."""
    published = rows(SETTINGS, "OpenTelemetry's, refused or without effect")
    told = {"refused": otel_variables.REFUSED, "no effect": otel_variables.IGNORED}
    expected = [(f"`{name}`", what, why) for what, group in told.items() for name, why in group.items()]
    assert published == expected


def test_problems() -> None:
    """docs/http.md lists every problem with status, word and title, in the order of the code."""
    published = [row[:3] for row in rows(HTTP, "Problems")]
    assert published == [(str(kind.status), f"`{kind.word}`", kind.title) for kind in Kind]
    assert all(row[3] for row in rows(HTTP, "Problems"))


async def test_calls(outbox: Path) -> None:
    """docs/http.md lists every call that there is, those that must be switched on included, and none else."""
    published = {row[0].strip("`") for row in rows(HTTP, "Calls")}
    async with serve(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_PAGE="on") as here:
        routes = {
            f"{route.method} {route.resource.canonical}"
            for route in here.app.router.routes()
            if route.resource and route.method not in {"HEAD", "*"}
        }
    with_slash = {f"{route}/" for route in published} & routes  # each call is answered with one at its end too
    assert len(with_slash) > 5
    assert published == routes - with_slash


@pytest.mark.parametrize("number", [0, 1])
async def test_examples(here: Here, number: int) -> None:
    """The examples of docs/http.md answer what is shown, all but the job id."""
    shown = re.findall(r"^\$ (curl .*)\n(.*)\n", HTTP, flags=re.MULTILINE)
    assert len(shown) == 2
    command, output = shown[number]
    words = shlex.split(command)
    path = words[-1].removeprefix("http://127.0.0.1:8000")
    answer = await here.post(path, data=words[words.index("-d") + 1], headers={"Content-Type": "application/json"})
    assert answer.json | {"job_id": None} == json.loads(output) | {"job_id": None}
    assert answer.body.count(b" ") == output.count(" "), "shown byte for byte"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_links(path: Path) -> None:
    """A link from one page to another leads somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_no_hint_names_what_no_index_has() -> None:
    """The project is on no package index, so neither a page nor a message says to install it from one."""
    files = [*PROSE, *(ROOT / "predictor").rglob("*.py")]
    hint = re.compile("install '?prediction-log-server")
    found = [path.name for path in files if hint.search(path.read_text(encoding="utf-8"))]
    assert not found


def test_variables_that_the_package_sets() -> None:
    """docs/settings.md names each variable that the package sets for its libraries, with the value."""
    code = (ROOT / "predictor" / "__init__.py").read_text(encoding="utf-8")
    found = re.findall(r'os\.environ\.setdefault\("(\w+)", "(\w+)"\)', code)
    assert found
    assert [name for name, value in found if f"\n`{name}` is `{value}` unless it is set: " not in SETTINGS] == []
