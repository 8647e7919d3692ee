"""How the fast lane leaves requests to aiohttp: lent and come back, or handed over for good."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from predictor.api.access import Access
from predictor.api.routes import Predict, Route
from predictor.http.connection import Connection
from predictor.http.fast_lane import LaneConnection
from predictor.http.request_head import HeadReader, may_become_plain
from tests.support.gated_model import pipeline
from tests.support.raw_connection import Caller
from tests.support.server import message, predictions, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gated_model import Gate
    from tests.support.server import Here

BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
CHUNKS = b"1c\r\n%b\r\n0\r\n\r\n" % BODY
JOB = "01a206a5-7cf9-7f24-8992-729b23f48647"


def ask(body: bytes = BODY, path: str = "/predict", **headers: str | None) -> bytes:
    """Return a request, ordinary unless path or headers say otherwise."""
    return message("POST", path, body, **{"Content_Type": "application/json"} | headers)


LENT = [
    message("GET", "/livez"),
    message("HEAD", "/label"),
    message("GET", "/nothing"),
    message("DELETE", "/predict"),
    ask(BODY, "/predict?a=b"),
    ask(BODY, "/nothing"),
    ask(Content_Type="text/plain"),
    ask(gzip.compress(BODY), Content_Encoding="gzip"),
    ask(gzip.compress(bytes(5_000_000)), Content_Encoding="gzip"),
    ask(BODY.ljust(1001)),
    ask(Expect="tea"),
    ask(b'{"label":"setosa"}', f"/feedback/{JOB}"),
]
FOR_GOOD = [
    ask(CHUNKS, Content_Length=None, Transfer_Encoding="chunked"),
    ask(Connection="close"),
    message("GET", "/predict/test", Connection="close", Content_Length=None),
    message("GET", "/predict/test", Connection="close"),
    b"GET /livez HTTP/1.0\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\nConnection: close\r\n\r\n",
]


@pytest.fixture
async def here(outbox: Path) -> Any:  # noqa: ANN401 - an asynchronous generator
    """Run a server that takes feedback and small bodies."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_BODY_BYTES="1000") as server:
        yield server


@pytest.mark.parametrize("sent", LENT, ids=lambda sent: sent[:40])
async def test_a_lent_connection_comes_back(here: Here, sent: bytes) -> None:
    """A request of aiohttp's between predictions leaves the connection in the lane, in one packet with them or not."""
    async with Caller(here.port) as caller:
        for packets in ([ask(), sent, ask()], [ask() + sent + ask()], [ask() + sent[:-3], sent[-3:] + ask()]):
            for packet in packets:
                caller.writer.write(packet)
                await asyncio.sleep(0.01)
            statuses = []
            for number in range(3):
                head = await caller.reader.readuntil(b"\r\n\r\n")
                assert b"Connection: close" not in head
                length = 0 if number == 1 and sent.startswith(b"HEAD") else int(_header(head, b"Content-Length"))
                await caller.reader.readexactly(length)
                statuses.append(int(head.split()[1]))
            assert statuses[::2] == [200, 200]
        (connection,) = here.server.connections
        assert type(connection) is LaneConnection
    assert here.server.requests_count == 9


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(name + b": ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize("sent", FOR_GOOD, ids=lambda sent: sent[:40])
async def test_an_answer_after_a_hand_over_is_the_last(here: Here, sent: bytes) -> None:
    """What the lane cannot frame goes to aiohttp with its connection, and the answer ends that."""
    async with Caller(here.port) as caller:
        assert (await caller.asks(ask())).status == 200
        assert (await caller.asks(sent)).status == 200
        assert await caller.end() == b""
    await until(lambda: here.server.connections == [])


async def test_what_came_behind_a_hand_over_is_answered(here: Here, outbox: Path) -> None:
    """Requests in the same packet behind one that takes the connection along are answered, in their order."""
    chunked = ask(CHUNKS, Content_Length=None, Transfer_Encoding="chunked")
    async with Caller(here.port) as caller:
        caller.writer.write(ask() + chunked + ask(b"x") + message("GET", "/livez"))
        assert [(await caller.answer()).status for _ in range(4)] == [200, 200, 400, 200]
        (connection,) = here.server.connections
        assert type(connection) is Connection
    assert len(predictions(outbox)) == 3


async def test_nothing_is_lent_while_an_answer_is_owed(here: Here, gate: Gate) -> None:
    """A request of aiohttp's behind a prediction under way is begun when that is answered."""
    pipeline(here, gate)
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: bool(gate.batches))
        caller.writer.write(message("GET", "/livez"))
        await until(lambda: bool(here.server.connections[0].early))
        assert len(here.server.connections) == 1
        gate.open()
        assert [(await caller.answer()).json.get("live") for _ in range(2)] == [None, True]


async def test_a_body_of_a_lent_request_in_pieces(here: Here, outbox: Path) -> None:
    """A body that comes byte by byte reaches aiohttp whole, and what follows it stays the lane's."""
    sent = ask(BODY, "/predict?a=b")
    async with Caller(here.port) as caller:
        for at in range(len(sent)):
            caller.writer.write(sent[at : at + 1])
            await asyncio.sleep(0)
        caller.writer.write(ask())
        assert [(await caller.answer()).status for _ in range(2)] == [200, 200]
    assert len(predictions(outbox)) == 2


async def test_a_caller_who_leaves_a_lent_request(here: Here, outbox: Path, gate: Gate) -> None:
    """A caller who has gone before aiohttp's answer has its record, and nothing is left of the connection."""
    pipeline(here, gate)
    async with Caller(here.port) as caller:
        caller.writer.write(ask(BODY, "/predict?a=b"))
        await until(lambda: bool(gate.batches))
    await until(lambda: not here.server.in_lane)
    gate.open()
    await until(lambda: here.server.connections == [])
    (logged,) = predictions(outbox)
    assert "error.type" not in logged


async def test_a_refused_body_is_passed_over(outbox: Path) -> None:
    """The rest of a body that was refused before it came whole is dropped, and the next request is answered."""
    async with serve(outbox) as here, Caller(here.port) as caller:
        pipeline(here).draining = True
        sent = ask()
        caller.writer.write(sent[:-10])
        assert (await caller.answer()).status == 503
        pipeline(here).draining = False
        caller.writer.write(sent[-10:] + ask())
        assert (await caller.answer()).status == 200


async def test_a_shutdown_ends_a_lent_request(outbox: Path, gate: Gate) -> None:
    """A shutdown waits for a request that aiohttp answers over a lent connection, which then ends."""
    server = serve(outbox, PREDICTOR_DRAIN="20s")
    here = await server.__aenter__()
    pipeline(here, gate)
    async with Caller(here.port) as caller:
        caller.writer.write(ask(BODY, "/predict?a=b"))
        await until(lambda: bool(gate.batches))
        ending = asyncio.create_task(server.__aexit__(None, None, None))
        await until(lambda: here.server.leaving)
        gate.open()
        answer = await caller.answer()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert await caller.end() == b""
        await ending


async def test_a_server_without_the_lane_is_aiohttps(outbox: Path) -> None:
    """PREDICTOR_FAST_LANE=off leaves an ordinary aiohttp server: its connections answer everything."""
    async with serve(outbox, PREDICTOR_FAST_LANE="off") as here, Caller(here.port) as caller:
        for sent in (ask(), message("GET", "/livez"), ask()):
            assert (await caller.asks(sent)).status == 200
        (connection,) = here.server.connections
        assert type(connection) is Connection
        assert here.server.in_lane == set()
        assert here.server.requests_count == 3


def _reader() -> HeadReader:
    class Codec:
        takes_body = True

        def check(self, _: object) -> None:
            """Take everything."""

    class Served:
        codecs: ClassVar = {("POST", "/predict"): Codec()}

    class OneModel:
        def find(self, *_: object) -> Served:
            """Return the only one."""
            return Served()

    routes = [Route("POST", "/predict", Predict(("POST", "/predict")))]
    models: Any = OneModel()
    return HeadReader(routes, models, {"traceparent", "tracestate"}, Access(local=False))


def head(**headers: str | None) -> bytes:
    """Return the head of a request."""
    return message("POST", "/predict", b"", **{"Content_Type": "application/json"} | headers)


@pytest.mark.parametrize(
    "sent",
    [
        head(Host=None),
        head(Transfer_Encoding="chunked", Content_Length=None),
        head(Connection="close"),
        head(Upgrade="h2c", Connection="upgrade"),
        head(X="a\x01b"),
        head(X="a\r\n b"),
        head(X="x" * 9000),
        head(**{f"X{number}": "y" for number in range(200)}),
        head().replace(b"\r\n", b"\n"),
        head().replace(b"HTTP/1.1", b"HTTP/1.0"),
        head().replace(b"Host: test", b"Host: test\r\nHost: other"),
        head(Content_Length="+1"),
        head(Content_Length="1, 1"),
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=lambda sent: sent[-30:],
)
def test_heads_that_are_left_to_aiohttp(sent: bytes) -> None:
    """Whatever is not plain is not read here: aiohttp refuses it, or knows what to make of it."""
    assert _reader().read(sent) is None


@pytest.mark.parametrize("whole", [head(), message("GET", "/livez")])
def test_the_beginning_of_a_plain_head_is_waited_for(whole: bytes) -> None:
    """A plain head may come in any pieces; what can become none is aiohttp's at once."""
    assert all(may_become_plain(whole[:at]) for at in range(1, len(whole) - 1))
    for begun in (
        b"\x16\x03",
        b"get /",
        b"GET /a HTTP/2",
        b"PRI * HTTP/2.0\r\n",
        b"POST /predict HTTP/1.1\r\nX\x00",
        b"FETCH /",
    ):
        assert not may_become_plain(begun)


async def test_predictions_over_tls_are_the_lanes(outbox: Path, tmp_path: Path) -> None:
    """The lane works on any transport: over TLS, too, with requests lent and taken back."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    try:
        making = await asyncio.create_subprocess_exec(
            *made.split(), "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert await making.wait() == 0
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.load_cert_chain(certificate, key)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    async with serve(outbox) as here:
        listening = await asyncio.get_running_loop().create_server(here.server, "127.0.0.1", 0, ssl=theirs)
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours)
        for sent in (
            ask(),
            message("GET", "/livez"),
            ask(),
            ask(CHUNKS, Content_Length=None, Transfer_Encoding="chunked"),
        ):
            writer.write(sent)
            received = await reader.readuntil(b"\r\n\r\n")
            assert received.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(int(_header(received, b"Content-Length")))
        writer.close()
        listening.close()
    assert len(predictions(outbox)) == 3
