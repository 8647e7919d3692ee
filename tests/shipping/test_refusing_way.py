"""A real server whose way to the sink refuses everything with 400: nothing is given up; an operator may speak."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import aiohttp

from predictor.outbox import layout
from predictor.server import owned_streams
from tests.support import collector
from tests.support.certificates import make_certificates
from tests.support.ledger import Load, check
from tests.support.scripted_sink import OK, Answer, Request, Sink, serve
from tests.support.server import Server, run
from tests.support.server import serve as serve_here

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOT_HERE = Answer(400, b"<html>400 The plain HTTP request was sent to HTTPS port</html>")


def write(sink: Sink, path: Path) -> Path:
    """Write down the logs that a sink has accepted."""
    bodies = (request.body for request in sink.accepted if request.path == "/v1/logs")
    path.write_bytes(b"".join(body.rstrip(b"\n") + b"\n" for body in bodies))
    return path


async def ready(server: Server) -> dict[str, Any]:
    """Return what /readyz says."""
    async with aiohttp.ClientSession() as session, session.get(server.url + "/readyz") as response:
        assert response.status == 200
        details: dict[str, Any] = await response.json()
        return details


async def test_killed_while_everything_is_refused(tmp_path: Path) -> None:
    """A way that answers 400 is said by /readyz with the sink's words; kill -9 and a new start lose nothing."""
    outbox = tmp_path / "outbox"
    async with serve() as sink:
        sink.script = lambda _: NOT_HERE
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "PREDICTOR_FLUSH": "60s"}
        server = await asyncio.to_thread(Server(outbox, **settings).start)
        load = Load(server.url, limit=200)
        async with load:
            await load.more(150)
            await asyncio.to_thread(server.wait_for, lambda line: "logs-1 of stream" in line)
            details = await ready(server)
        await asyncio.to_thread(server.kill)
        assert details["rejected"] == details["shipped"] == 0
        assert details["backlog_bytes"] > 100_000
        assert str(details["shipping_problem"]).endswith(
            "is refused and waits: no other record with the event prediction.stream.opened is accepted after it, so "
            "the way to the sink may be wrong; the sink's answer: 400 " + NOT_HERE.body.decode()
        )
        second = await asyncio.to_thread(Server(outbox, **settings).start)
        await asyncio.to_thread(second.wait_for, lambda line: "is refused and waits" in line)
        sink.script = lambda _: OK
        assert await asyncio.to_thread(second.terminate) == 0
        arrived = write(sink, tmp_path / "arrived.jsonl")
    assert set(check(load.ledger, arrived).streams.values()) == {"crash", "shutdown"}
    assert layout.streams(outbox) == []
    verified = await asyncio.to_thread(run, "log", "verify", "--from", str(arrived), outbox=outbox)
    assert verified.returncode == 0, verified.stdout


async def test_plain_http_to_a_tls_listener(tmp_path: Path) -> None:
    """Go's TLS listeners answer plain HTTP with 400: that is no word about a record, with https all of it arrives."""
    collector.binary()
    await asyncio.to_thread(make_certificates, tmp_path)
    port = collector.free_port()
    outbox = tmp_path / "outbox"
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    config = collector.to_files(port, tmp_path / "logs", tmp_path / "traces", tls=tls)
    agent = await asyncio.to_thread(collector.start, config, tmp_path, port)
    try:
        plain = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "PREDICTOR_FLUSH": "0s"}
        server = await asyncio.to_thread(Server(outbox, **plain).start)
        async with Load(server.url, limit=100) as load:
            await load.more(50)
        said = await asyncio.to_thread(server.wait_for, lambda line: "is refused and waits" in line)
        assert "400 Client sent an HTTP request to an HTTPS server." in said
        assert await asyncio.to_thread(server.terminate) == 0
        assert not list(outbox.rglob("rejected"))
        right = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
            "PREDICTOR_FLUSH": "60s",
        }
        second = await asyncio.to_thread(Server(outbox, **right).start)
        assert await asyncio.to_thread(second.terminate) == 0
    finally:
        await asyncio.to_thread(agent.stop)
    assert list(check(load.ledger, tmp_path / "logs").streams.values()) == ["shutdown", "shutdown"]
    assert layout.streams(outbox) == []


async def test_an_operator_has_the_word(tmp_path: Path) -> None:
    """A file beside the stream has the refusals believed that wait in it; the server removes the file and goes on."""

    def opened(request: Request) -> Answer:
        return Answer(400, b"no such event") if 1 in request.sequences else OK

    async with serve() as sink:
        sink.script = opened
        server = await asyncio.to_thread(
            Server(tmp_path / "outbox", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=sink.url + "/v1/logs").start
        )
        try:
            async with Load(server.url, clients=1, limit=1) as load:
                await load.more(1)
            await asyncio.to_thread(server.wait_for, lambda line: "logs-1 of stream" in line)
            assert sink.accepted == []
            (stream,) = (tmp_path / "outbox" / "v1").iterdir()
            (stream / "accept-rejections").touch()
            await sink.until(lambda: 2 in sink.sequences)
            await asyncio.to_thread(server.wait_for, lambda line: f"the refusals of stream {stream.name}" in line)
            details = await ready(server)
            assert (details["rejected"], details["shipping_problem"]) == (1, None)
            assert not (stream / "accept-rejections").exists()
            assert {path.name for path in (stream / "rejected").iterdir()} == {"logs-1.json", "logs-1.reason.json"}
        finally:
            assert await asyncio.to_thread(server.terminate) == 0


async def test_a_word_that_nothing_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator's word is no word about refusals to come: where none waits it is removed after a minute."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(owned_streams, "_WORD_HOLDS", 0.0)
    async with serve() as sink, serve_here(tmp_path, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=sink.url + "/v1/logs"):
        await sink.until(lambda: bool(sink.accepted))
        (stream,) = (tmp_path / "v1").iterdir()
        (stream / "accept-rejections").touch()
        async with asyncio.timeout(20):
            while (stream / "accept-rejections").exists():  # noqa: ASYNC110 - another's file tells nobody
                await asyncio.sleep(0.01)
    assert f"no refusal of stream {stream.name} waits" in caplog.text
