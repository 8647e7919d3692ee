"""docs/troubleshooting.md: every text that it shows is what the server prints or answers in that state."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from predictor.core.problems import Kind
from predictor.server import health
from predictor.shipping import refusals
from predictor.shipping.flow_control import Backoff
from predictor.shipping.otlp_http import Refused
from predictor.shipping.refusals import Unproved
from tests.project.test_docs import rows
from tests.server.test_start import failed
from tests.support import scripted_sink
from tests.support.certificates import make_certificates
from tests.support.collector import free_port
from tests.support.scripted_sink import Answer
from tests.support.server import IRIS, ROOT, ROW, Server, run, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def signs(heading: str) -> list[str]:
    """Return the texts in the first column of a section's table."""
    return [row[0].strip("`") for row in rows(PAGE, heading)]


def narrower(folder: Path) -> Path:
    """Return a model folder whose description lacks the last feature of its file."""
    folder.mkdir()
    for file in IRIS.glob("*.onnx"):
        (folder / file.name).write_bytes(file.read_bytes())
    text = (IRIS / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(text.partition('[[features]]\nname = "petal_width"')[0], encoding="utf-8")
    return folder


def of_a_file(folder: Path) -> str:
    """Return the name of a file where a folder is wanted."""
    (folder / "file").touch()
    return str(folder / "file")


STARTS: dict[str, Callable[[Path], dict[str, str]]] = {
    "is not a setting": lambda _: {"PREDICTOR_DEADLIN": "1s"},
    "wanted a time such as": lambda _: {"PREDICTOR_DEADLINE": "soon"},
    "enableServiceLinks: false": lambda _: {"PREDICTOR_PORT": "tcp://10.0.0.7:8000"},
    "port 4317 speaks gRPC": lambda _: {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"},
    "wanted an ONNX file or a folder of models": lambda folder: {"PREDICTOR_MODEL": str(folder / "gone")},
    "but the description has": lambda folder: {"PREDICTOR_MODEL": str(narrower(folder / "model"))},
    "wanted a folder that can be written": lambda folder: {"PREDICTOR_OUTBOX": of_a_file(folder)},
}
"""Settings that stop a start, by what its last line then contains."""


@pytest.mark.parametrize("sign", signs("The server does not start"))
def test_starts(sign: str, outbox: Path, tmp_path: Path) -> None:
    """The last line of a start that fails contains the text, and the exit status is 2."""
    if sign == "Address already in use":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert sign in failed(outbox, PREDICTOR_PORT=str(taken.getsockname()[1]))
        return
    settings = STARTS[sign](tmp_path)
    place = tmp_path / "file" if "PREDICTOR_OUTBOX" in settings else outbox
    assert sign in failed(place, **{name: value for name, value in settings.items() if name != "PREDICTOR_OUTBOX"})


def test_every_start_that_fails_is_on_the_page() -> None:
    """Each failing start that is tried here has its line on the page."""
    assert {*STARTS, "Address already in use"} == {*signs("The server does not start")}


def test_calls() -> None:
    """Each word of a refused call is one of the problems, with its status."""
    known = {(str(kind.status), kind.word) for kind in Kind}
    shown = [(status, word.strip("`")) for status, word, *_ in rows(PAGE, "Calls are refused")]
    assert {*shown} <= known
    assert len({*shown}) == len(shown) >= 10


@pytest.mark.parametrize("sign", signs("The server is not ready"))
def test_reasons(sign: str) -> None:
    """The reason of a server that is not ready begins with the text."""
    version = SimpleNamespace(pipeline=SimpleNamespace(stalled=lambda: 60.0 if sign == "nothing moves" else 0.0))
    catalog: Any = SimpleNamespace(default=version, versions=lambda: [version])
    full = "the disk is full" if sign == "the outbox refuses" else ""
    log: Any = SimpleNamespace(outbox=SimpleNamespace(full=full))
    made = health.Health(log, catalog, refuses=True, deadline=1.0)
    made.terminating = sign == "shutting down"
    assert str(made.unready()).startswith(sign)


WAYS = {
    "no answer": Answer(silent=True),
    "401 Unauthorized": Answer(401),
    "404 Not Found": Answer(404),
    "503 Service Unavailable": Answer(503),
    "the way to the sink may be wrong": Answer(400, b"{}"),
}
"""What a sink answers to everything, by what `shipping_problem` then contains."""


async def problem(outbox: Path, endpoint: str) -> str:
    """Return the first `shipping_problem` of a server with that endpoint."""
    async with serve(
        outbox, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="0.2", PREDICTOR_FLUSH="0s"
    ) as here:
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        async with asyncio.timeout(30):
            while not (said := (await here.get("/readyz")).json["shipping_problem"]):  # noqa: ASYNC110 - as a probe asks
                await asyncio.sleep(0.02)
        return str(said)


@pytest.mark.parametrize("sign", signs("Records do not arrive"))
async def test_ways(sign: str, outbox: Path, tmp_path: Path) -> None:
    """While nothing reaches the sink, `shipping_problem` contains the text."""
    context = None
    if sign == "cannot connect":
        assert sign in await problem(outbox, f"http://127.0.0.1:{free_port()}")
        return
    if sign == "counts as an outage":
        refused = Unproved("logs-1", "prediction", Refused(400, "entry too far behind"), Backoff(lambda: 0.0))
        assert sign in refusals.reason("s", refused, too_many=True)
        return
    if sign == "certificate not trusted":
        await asyncio.to_thread(make_certificates, tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with scripted_sink.serve(context=context) as sink:
        sink.script = lambda _: WAYS.get(sign, scripted_sink.OK)
        url = sink.url.replace("http:", "https:") if sign == "no TLS" else sink.url
        assert sign in await problem(outbox, url)


def test_a_server_without_an_endpoint_says_so(outbox: Path) -> None:
    """A server that ships nothing since it has no endpoint says at its start how to ship."""
    (sign,) = re.findall(r"stderr then have `([^`]+)`", PAGE)
    with Server(outbox) as server:
        assert sign in server.wait_for(lambda line: sign in line)


def test_a_log_that_is_not_there(outbox: Path, tmp_path: Path) -> None:
    """`predictor log list` says about a folder without an outbox that there is nothing to read."""
    (tmp_path / "empty").mkdir()
    ended = run("log", "list", "--from", str(tmp_path / "empty"), outbox=outbox)
    assert ended.returncode == 2
    assert "nothing to read" in ended.stderr
    assert "`nothing to read`" in PAGE


def test_a_stream_that_ended_without_a_word(outbox: Path) -> None:
    """`predictor log verify` of the outbox of a process that was killed says that it ended without a word."""
    with Server(outbox) as server:
        server.kill()
    ended = run("log", "verify", "--from", str(outbox), outbox=outbox)
    assert ended.returncode == 1
    assert "ended without a word" in ended.stdout + ended.stderr
    assert "`ended without a word`" in PAGE


async def test_the_page_is_off(outbox: Path) -> None:
    """Where the page is off, its path is 404."""
    async with serve(outbox, PREDICTOR_PAGE="off") as here:
        assert (await here.get("/")).status == 404
    assert "| the page at `/` is 404 |" in PAGE
