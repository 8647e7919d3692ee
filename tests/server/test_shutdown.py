"""The end of the real server process: nothing acknowledged is lost, nobody waits longer than the settings say."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from predictor.http import server as http_server
from predictor.outbox import layout
from tests.server.test_listening import HTTPS, certificates, once, tls, trusting
from tests.support import collector, patched_process
from tests.support.ledger import Load, check
from tests.support.raw_connection import Caller
from tests.support.server import ROW, Server, message, records, serve, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["certificates"]  # a fixture
_BODY = json.dumps({"data": [ROW]}).encode()
_PATIENCE = 120.0  # s; the machine may be busy
_LONG = 3600.0  # s
_NEVER = "1h"  # a wait that would end the test, if it were waited for


def ask(server: Server, method: str = "POST", path: str = "/predict") -> tuple[int, Any]:
    """Ask once; return status and parsed body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)
    try:
        connection.request(method, path, _BODY if method == "POST" else None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def logs(outbox: Path) -> list[Path]:
    """Return the segments of all streams under an outbox."""
    return sorted((outbox / "v1").glob("*/logs/*.jsonl"))


class Begun:
    """A request that the server has begun to read, and of which the last byte is missing."""

    def __init__(self, server: Server) -> None:
        """Send the headers, wait for the server's word that it reads, send all but the last byte."""
        self._socket = socket.create_connection(("127.0.0.1", server.port), _PATIENCE)
        self._socket.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(_BODY)
        )
        assert self._socket.recv(1000).startswith(b"HTTP/1.1 100 ")
        self._socket.sendall(_BODY[:-1])

    def finish(self) -> bytes:
        """Send the last byte and return all that comes."""
        self._socket.sendall(_BODY[-1:])
        return self.rest()

    def rest(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        with self._socket as connection:
            return b"".join(iter(lambda: connection.recv(4096), b""))


def until_it_stops_listening(server: Server) -> None:
    """Return when new connections are refused."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port), _PATIENCE).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)  # another process's socket can only be polled
    pytest.fail("the server still listens")


@pytest.fixture
def silent() -> Iterator[str]:
    """Listen where an endpoint should be, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_sigterm_under_load_loses_nothing(outbox: Path) -> None:
    """Every prediction acknowledged before or during the shutdown is in the log, whose stream is closed."""
    server = await asyncio.to_thread(Server(outbox).start)
    async with Load(server.url, clients=8) as load:
        await load.more(300)
        assert await asyncio.to_thread(server.terminate) == 0
    found = check(load.ledger, *logs(outbox))
    assert list(found.streams.values()) == ["shutdown"]
    assert not load.ledger.refusals


async def test_sigterm_under_load_ships_everything(outbox: Path, tmp_path: Path) -> None:
    """With a Collector nothing is left behind: what was acknowledged is there, and the outbox is empty."""
    collector.binary()
    port = collector.free_port()
    agent = collector.start(collector.to_files(port, tmp_path / "logs", tmp_path / "traces"), tmp_path, port)
    try:
        server = await asyncio.to_thread(Server(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=agent.url).start)
        async with Load(server.url, clients=8) as load:
            await load.more(300)
            assert await asyncio.to_thread(server.terminate) == 0
    finally:
        agent.stop()
    assert list(check(load.ledger, tmp_path / "logs").streams.values()) == ["shutdown"]
    assert layout.streams(outbox) == []


def test_a_request_in_flight_is_finished(outbox: Path) -> None:
    """A request that was being read when the signal came is answered and logged, though nobody else gets in."""
    with Server(outbox) as server:
        begun = Begun(server)
        server.process.send_signal(signal.SIGTERM)
        until_it_stops_listening(server)
        answer = begun.finish()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.wait() == 0
    job_id = json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"]
    assert job_id in logs(outbox)[0].read_text()


_REQUEST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


def whole_answer(connection: socket.socket) -> bytes:
    """Return all that comes over a connection until its end."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("connected", ["before", "after"])
def test_who_has_connected_is_answered(outbox: Path, connected: str) -> None:
    """Requests that nobody has read when the signal comes are answered, in connections not even accepted as well.

    The process stands still meanwhile: the kernel completes connections and takes requests for it.
    """
    with Server(outbox) as server:
        where = ("127.0.0.1", server.port)
        callers: list[socket.socket] = []
        if connected == "before":
            callers = [socket.create_connection(where, _PATIENCE) for _ in range(16)]
            ask(server, "GET", "/livez")  # they are accepted by then
        server.process.send_signal(signal.SIGSTOP)
        if connected == "after":
            callers = [socket.create_connection(where, _PATIENCE) for _ in range(16)]
        server.process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.sendall(_REQUEST)
        server.process.send_signal(signal.SIGCONT)
        received = [whole_answer(caller) for caller in callers]
        assert server.wait() == 0
    assert [answer[:13] for answer in received] == [b"HTTP/1.1 200 "] * 16


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_is_idle_does_not_hold_the_end(outbox: Path, method: str) -> None:
    """A connection that is kept and asks nothing is closed at once; PREDICTOR_DRAIN is for requests in flight."""
    request = _REQUEST if method == "POST" else b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        Server(outbox, PREDICTOR_DRAIN="1h") as server,
        socket.create_connection(("127.0.0.1", server.port), _PATIENCE) as caller,
    ):
        caller.sendall(request)
        assert caller.recv(4096).startswith(b"HTTP/1.1 200 ")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert caller.recv(4096) == b""


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
async def test_a_request_that_comes_late_is_answered(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """Who has connected before the end and asks only then has an answer, its connection's last; so under gunicorn."""
    monkeypatch.setattr(http_server, "_FRESH", 0.0 if kept else _LONG)
    monkeypatch.setattr(http_server, "_KEPT", _LONG if kept else 0.0)
    async with AsyncExitStack() as server:
        here = await server.enter_async_context(serve(outbox, PREDICTOR_DRAIN=_NEVER))
        async with Caller(here.port) as caller:
            if kept:
                assert (await caller.asks(_REQUEST)).status == 200
            await until(lambda: bool(here.server.connections))
            ending = asyncio.create_task(server.aclose())
            await until(lambda: here.server.leaving)
            for _ in range(20):  # turns of the loop, in which idle connections would be closed
                await asyncio.sleep(0)
            caller.writer.write(_REQUEST)
            answer = await caller.end()
        await ending
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
async def test_a_request_that_has_come_is_answered(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """A request that lies in its socket unread is answered, whatever time the process has not run for."""
    monkeypatch.setattr(http_server, "_FRESH", 0.0)
    monkeypatch.setattr(http_server, "_KEPT", 0.0)
    async with AsyncExitStack() as server:
        here = await server.enter_async_context(serve(outbox))
        async with Caller(here.port) as caller:
            if kept:
                assert (await caller.asks(_REQUEST)).status == 200
            await until(lambda: bool(here.server.connections))
            caller.writer.write(_REQUEST)  # is in the server's socket before its loop has another turn
            await server.aclose()
            assert (await caller.end()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "answered", "more"),
    [
        (b"", False, b""),
        (_REQUEST[:40], False, b""),
        (_REQUEST, True, b""),
        (message("POST", "/predict", Content_Length="1001"), True, bytes(1001)),
    ],
    ids=["nothing", "half a head", "a request", "one that is refused before its body comes"],
)
async def test_who_asks_nothing_more_does_not_hold_the_end(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, more: bytes, *, answered: bool
) -> None:
    """A connection on which no request is under way is closed after its seconds, whatever PREDICTOR_DRAIN says."""
    monkeypatch.setattr(http_server, "_FRESH", 0.01)
    monkeypatch.setattr(http_server, "_KEPT", 0.01)
    async with AsyncExitStack() as server:
        here = await server.enter_async_context(serve(outbox, PREDICTOR_DRAIN=_NEVER, PREDICTOR_BODY_BYTES="1000"))
        async with Caller(here.port) as caller:
            caller.writer.write(sent)
            if answered:
                await caller.answer()
            caller.writer.write(more)
            await until(lambda: bool(here.server.connections))
            async with asyncio.timeout(_PATIENCE):
                await server.aclose()
            assert await caller.end() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["silent", "plain"])
def test_who_begins_no_tls_does_not_hold_the_end(outbox: Path, certificates: Path, sent: bytes) -> None:
    """A connection on which TLS has failed, or has not begun, is no obstacle to the end, nor to the log's."""
    plant = "from predictor.http import server\nserver._FRESH = 0.0"
    settings = {"PREDICTOR_DRAIN": _NEVER} | tls(certificates)
    with (
        patched_process.server(outbox, plant, ready=HTTPS, **settings) as server,
        socket.create_connection(("127.0.0.1", server.port), _PATIENCE) as caller,
    ):
        caller.sendall(sent)
        if sent:
            with contextlib.suppress(ConnectionError):
                while caller.recv(4096):
                    pass
        assert once(trusting(certificates / "ca.pem", server.port)) == 200  # the other one is accepted by then
        assert server.terminate() == 0
    assert records(outbox)[-1]["attributes"]["prediction.stream.reason"] == "shutdown"


def test_nobody_is_reset_under_load(outbox: Path) -> None:
    """Clients that open a connection for each request are answered or not let in at all: none is cut off.

    Here they may take their time for a request, which on a busy machine they need.
    """
    plant = "from predictor.http import listener, server\nlistener._HALF_MADE = server._FRESH = 60.0"
    broken: list[str] = []
    answered: list[bytes] = []

    def client(port: int) -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), _PATIENCE)
            except ConnectionRefusedError:
                return
            try:
                connection.sendall(_REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
                answered.append(whole_answer(connection)[:13])
            except OSError as error:
                broken.append(str(error))

    with patched_process.server(outbox, plant, PREDICTOR_DRAIN="2m") as server:
        clients = [threading.Thread(target=client, args=(server.port,)) for _ in range(16)]
        for each in clients:
            each.start()
        end = time.monotonic() + _PATIENCE
        while len(answered) < 500 and time.monotonic() < end:
            time.sleep(0.01)
        assert server.terminate() == 0
        for each in clients:
            each.join(_PATIENCE)
    assert broken == []
    assert set(answered) == {b"HTTP/1.1 200 "}


def test_a_request_that_never_ends_is_not_waited_for(outbox: Path) -> None:
    """After PREDICTOR_DRAIN the shutdown goes on without a client that stalls, and the stream is closed."""
    with Server(outbox, PREDICTOR_DRAIN="100ms", PREDICTOR_DEADLINE=_NEVER) as server:
        begun = Begun(server)
        assert server.terminate() == 0
        begun.rest()
    assert "prediction.stream.closed" in logs(outbox)[0].read_text()


def test_the_delay_is_not_ready_and_still_answers(outbox: Path) -> None:
    """During PREDICTOR_SHUTDOWN_DELAY the readiness probe says no, liveness says yes and predictions are answered."""
    with Server(outbox, PREDICTOR_SHUTDOWN_DELAY=_NEVER) as server:
        assert ask(server, "GET", "/readyz")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda line: "SIGTERM: shutting down" in line)
        status, details = ask(server, "GET", "/readyz")
        assert (status, details["reason"]) == (503, "shutting down")
        assert ask(server, "GET", "/livez")[0] == 200
        assert ask(server)[0] == 200
        server.kill()


def test_an_echo_of_the_signal_is_no_second_one(outbox: Path) -> None:
    """A signal that comes twice at once, as a process group gets it, ends the server in good order."""
    with Server(outbox, PREDICTOR_SHUTDOWN_DELAY="1s") as server:
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda line: "shutting down" in line)
        assert server.terminate() == 0
    assert "prediction.stream.closed" in logs(outbox)[0].read_text()


def test_a_second_signal_ends_it_at_once(outbox: Path) -> None:
    """Whoever signals again does not want to wait: status 130, and what was acknowledged is in the log."""
    with Server(outbox, PREDICTOR_SHUTDOWN_DELAY=_NEVER) as server:
        job_id = ask(server)[1]["job_id"]
        end = time.monotonic() + _PATIENCE
        while server.process.poll() is None and time.monotonic() < end:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)  # those within the first half second are taken for echoes
        assert server.wait() == 130
    assert any("ended at once" in line for line in server.stderr_lines)
    text = logs(outbox)[0].read_text()
    assert job_id in text
    with Server(outbox):
        assert "closed: crash" in logs(outbox)[0].read_text()


def test_a_person_does_not_wait(outbox: Path) -> None:
    """Who interrupts does not wait for PREDICTOR_SHUTDOWN_DELAY, made for load balancers."""
    with Server(outbox, PREDICTOR_SHUTDOWN_DELAY=_NEVER) as server:
        assert server.terminate(signal.SIGINT) == 0
    assert "prediction.stream.closed" in logs(outbox)[0].read_text()


def test_a_dead_sink_does_not_hold_the_shutdown(outbox: Path, silent: str) -> None:
    """PREDICTOR_FLUSH bounds the last shipping, whatever the sink does, and what is left is said."""
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": silent, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
    with Server(outbox, PREDICTOR_FLUSH="200ms", **more) as server:
        ask(server)
        assert server.terminate() == 0
    assert any("bytes are not shipped; the next start" in line for line in server.stderr_lines)


async def test_what_is_left_is_shipped_by_the_next_start(outbox: Path, tmp_path: Path) -> None:
    """What a shutdown could not ship is with the Collector after the next start, and gone from the outbox."""
    collector.binary()
    port = collector.free_port()
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "PREDICTOR_FLUSH": "200ms"}
    server = await asyncio.to_thread(Server(outbox, **settings).start)
    async with Load(server.url) as load:
        await load.more(50)
    assert await asyncio.to_thread(server.terminate) == 0
    assert logs(outbox)
    agent = collector.start(collector.to_files(port, tmp_path / "logs", tmp_path / "traces"), tmp_path, port)
    try:
        second = await asyncio.to_thread(Server(outbox, **settings | {"PREDICTOR_FLUSH": "60s"}).start)
        assert await asyncio.to_thread(second.terminate) == 0
    finally:
        agent.stop()
    assert list(check(load.ledger, tmp_path / "logs").streams.values()) == ["shutdown", "shutdown"]
    assert layout.streams(outbox) == []
