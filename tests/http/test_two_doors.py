"""The fast lane beside aiohttp: random and hostile requests have equal status, headers, body and record by either."""

from __future__ import annotations

import asyncio
import gzip
import random
from typing import TYPE_CHECKING, Any

import pytest

from predictor.http.fast_lane import LaneConnection
from predictor.recording import prediction_log
from tests.support.hostile_requests import HOSTILE, POISONED, TRACE
from tests.support.server import Answer, records, serve, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.server import Here

SETTINGS = {
    "PREDICTOR_FEEDBACK": "true",
    "PREDICTOR_BODY_BYTES": "3000",
    "PREDICTOR_IDLE": "2s",  # more than a busy machine lets this process wait between two packets
    "PREDICTOR_DEADLINE": "3s",
}
PATIENCE = 180.0  # s; the machine may be busy
NOT_HTTP = "this is not HTTP/1.1 as this server accepts it"
LOOKS, PAUSE = 20, 0.05  # s; so often nothing more has come, each time after the loop had its turn: then no more will
TURNS = 5
NUMBER = 200
LONGEST = 20_000  # bytes of a hostile request; longer ones are test_attack.py's
VARIES = ("prediction.job_id", "prediction.duration", "prediction.stream", "prediction.batch", "prediction.request_id")
METHODS = ("POST", "POST", "POST", "POST", "GET", "HEAD", "PUT", "OPTIONS", "DELETE", "post", "BREW")
PATHS = (
    *("/predict",) * 6,
    *(
        "/predict/label",
        "/predict/batch",
        "/predict/test",
        "/predict/test/label",
        "/predict/",
        "/predict/label/",
        "/predict/test/",
        "/livez/",
        "/predict//",
        "/" + "p" * 8200,
        "/predict?a=b",
        "/predict#x",
    ),
    *(
        "/livez",
        "/label",
        "/metadata",
        "/nothing",
        "/%70redict",
        "//predict",
        "http://test/predict",
        "*",
        "/predict/../livez",
    ),
)
VERSIONS = (*("HTTP/1.1",) * 12, "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ")
HEADERS = (
    *(
        "Content-Type: application/json",
        "content-type:application/json",
        "Content-Type: application/json; charset=utf-8",
    ),
    *("Content-Type: text/plain", "Content-Type: text/json ", "Content-Type:", "Content-Type: \udcff"),
    *("X-Request-Id: mine", "X-Request-Id:  a.b-C_9\t", "X-Request-Id: a b", "X-Request-Id: " + "x" * 200),
    *("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "traceparent: nonsense", "baggage: a=b"),
    *("Connection: close", "Connection: keep-alive", "Connection: Keep-Alive, x", "Connection: upgrade"),
    *("Expect: 100-continue", "Expect: tea", "Upgrade: h2c", "Accept: */*", "Accept: a\r\nAccept: b", "User-Agent: x"),
    *("Content-Encoding: identity", "Content-Encoding: gzip", "Content-Encoding: br", "Transfer-Encoding: chunked"),
    *("Content-Encoding: x-gzip", "Content-Encoding:", "Content-Encoding: gzip, gzip", "Transfer-Encoding: "),
    *("X: " + "y" * 8180, "\r\n".join(f"X{n}: " + "y" * 1000 for n in range(33)), "X: a\rb"),
    *(
        "X: a\x01b",
        "X : a",
        "X",
        ": a",
        "X: a\r\n b",
        "X:\ta\t",
        "X\u00e9: a",
        "Host: other",
        "X: " + "y" * 9000,
        "X: a\nY: b",
    ),
)
CALLERS = (
    *("Origin: http://test", "Origin: https://app.example", "Origin: http://evil.example", "Origin: null", "Origin:"),
    *("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: cors"),
    *("Access-Control-Request-Method: POST", "Authorization: Bearer 0123456789abcdef", "authorization:bearer  x"),
    *(
        "Authorization: Bearer \udcff",
        "Authorization: Basic 0123456789abcdef",
        "Authorization: Bearer 0123456789abcdeg",
    ),
)
"""Headers that say who calls."""
GUARDED = {"PREDICTOR_ALLOWED_HOSTS": "test", "PREDICTOR_CORS_ORIGINS": "https://app.example"}
BODIES = (
    *(b'{"data":[[6.7,3.0,5.2,2.3]]}',) * 6,
    b'{"data":[[1,2,3]]}',
    b'{"data":[[1,2,3,4],[60.0,0.1,0.1,99.0]]}',
    b'{"data":[]}',
    b'{"data":[[1,2,3,1e39]]}',
    b"",
    b"x",
    b"\xff",
    b"[" * 300,
    b'{"data":[[6.7,3.0,5.2,2.3]]}'.ljust(3001),
    b'\xef\xbb\xbf{"data":[[6.7,3.0,5.2,2.3]]}',
    gzip.compress(b'{"data":[[6.7,3.0,5.2,2.3]]}'),
)


def made(draw: random.Random) -> bytes:
    """Return a request that is often ordinary, and often odd in one or two places."""
    body = draw.choice(BODIES)
    lines = [f"{draw.choice(METHODS)} {draw.choice(PATHS)} {draw.choice(VERSIONS)}"]
    if draw.random() < 0.6:
        lines = ["POST /predict HTTP/1.1"]
    headers = ["Host: test", f"Content-Length: {len(body)}"]
    if draw.random() < 0.7:
        headers.append("Content-Type: application/json")
    headers += [draw.choice(HEADERS) for _ in range(draw.choice((0, 0, 1, 1, 2, 3)))]
    headers += [draw.choice(CALLERS) for _ in range(draw.choice((0, 0, 0, 1, 2)))]
    if draw.random() < 0.1:
        headers.pop(draw.randrange(len(headers)))
    if draw.random() < 0.3:
        draw.shuffle(headers)
    sent = "\r\n".join([*lines, *headers, "", ""]).encode("utf-8", "surrogateescape") + body
    if draw.random() < 0.15:  # one byte is another one
        at = draw.randrange(len(sent))
        sent = sent[:at] + bytes([draw.randrange(256)]) + sent[at + 1 :]
    if draw.random() < 0.05:
        sent = sent[: draw.randrange(len(sent))]
    return sent


def pieces(sent: bytes, draw: random.Random) -> list[bytes]:
    """Return a request as the packets that it comes in."""
    cuts = sorted(draw.randrange(len(sent) + 1) for _ in range(draw.choice((0, 0, 0, 1, 2))))
    return [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True) if begin < end]


class Collector(asyncio.Protocol):
    """Keeps all that comes, whatever ends the connection."""

    def __init__(self) -> None:
        """Have nothing yet."""
        self.received = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connection_lost(self, _: Exception | None) -> None:
        """End."""
        self.ended.set_result(None)


def at_work(here: Here, port: int) -> bool:
    """Tell whether the server makes an answer for the client at a port."""
    for each in here.server.connections:
        peer = each.transport.get_extra_info("peername") if each.transport else None
        works = each.busy if isinstance(each, LaneConnection) else each.working and not each.awaits_body
        if peer and peer[1] == port and works:
            return True
    return False


async def asked(here: Here, parts: Sequence[bytes], turn: asyncio.Lock) -> bytes:
    """Return all that comes until the server closes the connection, or has answered and is quiet."""
    async with turn:  # so that an answer is seen before more is written to a connection that it has ended
        transport, collector = await asyncio.get_running_loop().create_connection(Collector, "127.0.0.1", here.port)
        own = transport.get_extra_info("sockname")[1]
        for part in parts:
            if collector.received or transport.is_closing():
                break
            transport.write(part)
            await asyncio.sleep(0.003)  # a packet of its own
            await until(lambda: not at_work(here, own))
            for _ in range(TURNS):  # the answer comes
                await asyncio.sleep(0)
    seen, looks = 0, 0
    while not collector.ended.done() and looks < LOOKS:
        await asyncio.wait((collector.ended,), timeout=PAUSE)
        looks = looks + 1 if seen and seen == len(collector.received) else 0
        seen = len(collector.received)
    transport.abort()
    return collector.received


def parsed(received: bytes, *, head_only: bool) -> list[Answer]:
    """Return the answers that came over one connection."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", 0))
        if head_only and (not received or received.startswith(b"HTTP/")):
            length = 0
        found.append(Answer(int(first.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


def comparable(answer: Answer, logged: dict[str, dict[str, Any]]) -> Any:  # noqa: ANN401 - to be compared
    """Return what must be equal of an answer and its record: all but ids, times and whether the connection goes on."""
    headers = dict(answer.headers)
    trace = headers.pop("X-Trace-Id", "")
    for name in ("Date", "Connection"):
        headers.pop(name, None)
    fields = answer.json if answer.body else {}
    job = fields.pop("job_id", "") if isinstance(fields, dict) else ""
    record = logged.get(trace)
    kept = None
    if record:
        named = record["attributes"]
        assert not job or named["prediction.job_id"] == job
        kept = (
            record["severityText"],
            {name: value for name, value in named.items() if not name.startswith(VARIES)},
            named.get("prediction.request_id"),
        )
    length = headers.pop("Content-Length", "")
    size = "" if job else length  # a score may have more digits than another
    if isinstance(fields, dict) and str(fields.get("detail")).startswith(NOT_HTTP):
        fields["detail"], size = NOT_HTTP, ""  # which of two faults aiohttp names depends on the packets
    return [answer.status, list(headers.items()), fields, len(job), bool(trace), kept, size]


def logged_by(outbox: Path) -> dict[str, dict[str, Any]]:
    """Return the records of predictions by their trace; each has one."""
    found = [record for record in records(outbox) if record["eventName"] == "prediction"]
    return {record["traceId"]: record for record in found if record["attributes"].get("prediction.index", 0) == 0}


async def all_answers(here: Here, requests: Sequence[list[bytes]]) -> list[bytes]:
    """Return what each request, over a connection of its own, is answered."""
    turn = asyncio.Lock()
    return await asyncio.gather(*(asked(here, parts, turn) for parts in requests))


def cases(seed: int) -> list[list[bytes]]:
    """Return requests in their packets."""
    draw = random.Random(seed)
    if seed == 0:
        every = [case.sent for case in HOSTILE] + [case.sent for case in POISONED]
        known = [sent for sent in every if len(sent) < LONGEST]
        found = [[sent] for sent in known] + [pieces(sent, draw) for sent in known]
    else:
        found = [pieces(made(draw), draw) for _ in range(NUMBER)]
    # Each trace is another one, so that a record is found by it.
    return [
        [part.replace(TRACE.encode(), b"%032x" % (number + 1)) for part in parts] for number, parts in enumerate(found)
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_both_doors_are_equal(outbox: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever is sent, the answers and their records are the same with the fast lane and without it."""
    settings = SETTINGS | (GUARDED if seed >= 3 else {})
    if seed == 4:
        tokens = outbox.with_name("tokens")
        tokens.write_text("0123456789abcdef")
        settings["PREDICTOR_TOKEN_FILE"] = str(tokens)
    monkeypatch.setattr(prediction_log, "_REFUSALS_A_SECOND", 1 << 30)
    requests = cases(seed)
    received, logged = {}, {}
    for door in ("on", "off"):
        place = outbox.with_name(door)
        async with asyncio.timeout(PATIENCE), serve(place, **settings, PREDICTOR_FAST_LANE=door) as here:
            received[door] = await all_answers(here, requests)
        logged[door] = logged_by(place)
    for parts, lane, whole in zip(requests, received["on"], received["off"], strict=True):
        sent = b"".join(parts)
        head_only = sent.startswith(b"HEAD ")
        ours = [comparable(each, logged["on"]) for each in parsed(lane, head_only=head_only)]
        theirs = [comparable(each, logged["off"]) for each in parsed(whole, head_only=head_only)]
        if len(theirs) < len(ours) and theirs == ours[-1:]:
            continue  # aiohttp drops what it has parsed of a packet when the rest cannot be
        last = parsed(lane, head_only=head_only)[-1:]
        if last and last[0].headers.get("Connection") == "close":
            theirs = theirs[: len(ours)]  # who is told that the connection ends asks again
        assert ours == theirs, sent
