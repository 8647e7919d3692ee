"""The fast lane and aiohttp: equal in all that is answered and recorded, and the seams between them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from predictor.http.connection import Connection
from predictor.http.fast_lane import LaneConnection
from predictor.http.runner import LANE
from predictor.server import app
from tests.support import model_folders
from tests.support.gated_model import pipeline
from tests.support.raw_connection import Caller
from tests.support.server import IRIS, ROW, Answer, answers, message, predictions, records, serve, until
from tests.support.traced_server import OUTLIER, servers, spans, told, traced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.gated_model import Gate
    from tests.support.server import Here

BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
PATIENCE = 60.0  # s; the machine may be busy
LABEL = message("GET", "/label")
OFF = {"OTEL_TRACES_SAMPLER": "always_off"}
FULL = {"PREDICTOR_OUTBOX_BYTES": "1MiB", "PREDICTOR_FLUSH": "0", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def in_lane(monkeypatch: pytest.MonkeyPatch) -> list[LaneConnection]:
    """Return the connections of the requests that the fast lane answers."""
    connections: list[LaneConnection] = []
    begin = LaneConnection._open

    def counted(self: LaneConnection, *more: Any) -> None:  # noqa: ANN401 - handed on
        connections.append(self)
        begin(self, *more)

    monkeypatch.setattr(LaneConnection, "_open", counted)
    return connections


def ask(body: bytes = BODY, path: str = "/predict", /, **headers: str | None) -> bytes:
    """Return a request that is ordinary unless path or headers say otherwise."""
    more: dict[str, str | None] = {"Content_Type": "application/json"}
    return message("POST", path, body, **more | headers)


def lane(here: Here) -> Any:  # noqa: ANN401 - its inside
    """Return the fast lane of a server."""
    return here.app[LANE]


# Both ways are one
def seen(answer: Answer) -> dict[str, Any]:
    """Return what must be equal: all but ids and the date."""
    fields = answer.json
    job_id = fields.pop("job_id", "")
    headers = dict(answer.headers)
    assert len(headers.pop("X-Trace-Id")) == 32
    assert headers.pop("Date").endswith(" GMT")
    return {"status": answer.status, "headers": list(headers.items()), "body": fields, "job": len(job_id)}


def logged(outbox: Path) -> list[Any]:
    """Return what must be equal of the records: all but ids, times and the line that repeats them."""
    varies = ("prediction.job_id", "prediction.duration", "prediction.stream")
    return [
        (
            record["severityText"],
            record.get("flags"),
            {name: value for name, value in record["attributes"].items() if not name.startswith(varies)},
        )
        for record in records(outbox)
        if record["eventName"] == "prediction"
    ]


def spoken(outbox: Path) -> list[Any]:
    """Return what must be equal of the spans."""
    return [
        (
            span["name"],
            span["kind"],
            span["scope"],
            span.get("status"),
            {
                name: value
                for name, value in span["attributes"].items()
                if name not in {"prediction.job_id", "server.port", "client.port", "network.peer.port"}
            },
        )
        for span in sorted(spans(outbox), key=lambda span: span["name"])
    ]


DOORS = {"lane": {"PREDICTOR_FAST_LANE": "on"}, "aiohttp": {"PREDICTOR_FAST_LANE": "off"}}
WAYS = {"lane": "/predict", "aiohttp": "/predict?"}
"""Paths of the same call, of which the lane leaves one to aiohttp."""


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (BODY, {}, 200),
        (b'{"data":[[60.0,0.1,0.1,99.0]]}', {}, 200),
        (BODY, {"X_Request_Id": "a.B_c-1"}, 200),
        (BODY, {"X_Request_Id": "a b"}, 200),
        (BODY, {"X_Request_Id": "\udcff"}, 200),
        (BODY, {"X_More": "x" * 4000}, 200),
        (BODY, {"X_More": "x" * 10_000}, 431),
        (BODY, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}, 200),
        (BODY, {"traceparent": "\udcff"}, 200),
        (BODY, {"Host": "["}, 200),
        (b"", {}, 400),
        (b"x", {"X_Request_Id": "mine"}, 400),
        (b"\xff", {}, 400),
        (b'{"data":' + b"[" * 100_000, {}, 400),
        (b'{"data":[]}', {}, 422),
        (b'{"data":[[1,2,3]]}', {}, 422),
        (b'{"data":[[1,2,3,1e39]]}', {}, 422),
        (b'{"data":[[1,2,3,4],[1,2,3,4]]}', {}, 422),
        (b'{"data":[%b]}' % b",".join([b"[1,2,3,4]"] * 1000), {}, 413),
        (BODY.ljust(200_000), {}, 200),
        (BODY.ljust(200_001), {}, 413),
    ],
)
async def test_both_ways_are_equal(
    outbox: Path, in_lane: list[LaneConnection], body: bytes, headers: dict[str, str], status: int
) -> None:
    """Whatever is asked, status, headers, body and records are the same by either way."""
    results: list[Any] = []
    for way, setting in DOORS.items():
        place = outbox.with_name(way)
        async with serve(place, PREDICTOR_BODY_BYTES="200kB", **setting) as here:
            before = len(in_lane)
            async with Caller(here.port) as caller:
                answer = await caller.asks(ask(body, **headers))
            assert len(in_lane) - before == (way == "lane" and "X-Trace-Id" in answer.headers and len(body) <= 200_000)
        assert answer.status == status
        if "X-Trace-Id" in answer.headers:
            results.append((seen(answer), logged(place)))
        else:
            results.append((answer.status, answer.json, logged(place)))
    assert results[0] == results[1]


@pytest.mark.parametrize("policy", ["refuse", "lose"])
async def test_both_ways_are_equal_when_the_outbox_is_full(
    outbox: Path, policy: str, in_lane: list[LaneConnection]
) -> None:
    """What cannot be logged is refused, or answered as not logged, and counted once, by either way."""
    results = []
    for way, setting in DOORS.items():
        place = outbox.with_name(way)
        place.mkdir()
        (place / "ballast").write_bytes(bytes(2 << 20))
        settings = {"PREDICTOR_OUTBOX_FULL": policy, "OTEL_TRACES_EXPORTER": "none"} | setting
        async with serve(place, **FULL, **settings) as here, Caller(here.port) as caller:
            answer = await caller.asks(ask())
            book: Any = here.app[app.LOG_SERVICE]
            results.append((seen(answer), logged(place), book.refusals.unrecorded, book.stream.lost))
    assert len(in_lane) == 1
    assert results[0] == results[1]
    assert results[0][2:] == ((1, 0) if policy == "refuse" else (0, 1))


async def test_both_ways_are_equal_when_the_queue_is_full(
    outbox: Path, gate: Gate, in_lane: list[LaneConnection]
) -> None:
    """A queue that is full has one record of the refusal by either way."""
    async with (
        serve(outbox, PREDICTOR_QUEUE_ROWS="1", PREDICTOR_THREADS="1") as here,
        contextlib.AsyncExitStack() as all_,
    ):
        inside = pipeline(here, gate)
        waiting = [await all_.enter_async_context(Caller(here.port)) for _ in range(2)]
        waiting[0].writer.write(ask())
        await until(lambda: bool(gate.batches))
        waiting[1].writer.write(ask())
        await until(lambda: inside._batcher.queued_rows == 1)
        results = []
        for number, path in enumerate(WAYS.values()):
            async with Caller(here.port) as caller:
                results.append((seen(await caller.asks(ask(BODY, path))), logged(outbox)[number:]))
        assert results[0] == results[1]
        assert results[0][0]["body"]["status"] == 503
        assert len(predictions(outbox)) == 2
        gate.open()
        assert [(await caller.answer()).status for caller in waiting] == [200, 200]
    assert len(in_lane) == 3


async def test_both_ways_are_equal_when_draining(outbox: Path, in_lane: list[LaneConnection]) -> None:
    """What comes on an open connection of a server that drains is refused by either way."""
    async with serve(outbox) as here, Caller(here.port) as caller:
        pipeline(here).draining = True
        answered = [seen(await caller.asks(ask(BODY, path))) for path in WAYS.values()]
    assert answered[0] == answered[1]
    assert [p["error.type"] for p in predictions(outbox)] == ["draining", "draining"]
    assert len(in_lane) == 1


@pytest.mark.parametrize("case", ["outlier", "slow", "error", "late", "nan", "refused"])
async def test_both_ways_keep_the_same_spans(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, case: str, in_lane: list[LaneConnection], tmp_path: Path
) -> None:
    """What is kept after the fact has the same spans by either way: server span, route, status, ids of the record."""
    model = {
        "error": lambda: model_folders.failing(tmp_path / "model"),
        "late": lambda: model_folders.slow(tmp_path / "model", rounds=300),
        "nan": lambda: model_folders.giving_nan(tmp_path / "model"),
    }.get(case, lambda: IRIS)()
    row = {
        "outlier": OUTLIER,
        "error": [model_folders.FAILS_ABOVE * 2, 0.0],
        "late": [1.0, 2.0],
        "nan": [model_folders.NAN_BELOW * 2, 0.0],
    }.get(case, ROW)
    settings = {"PREDICTOR_SLOW": "0s"} if case == "slow" else {"PREDICTOR_DEADLINE": "20ms"} if case == "late" else {}
    results = []
    for way, setting in DOORS.items():
        place = outbox.with_name(way)
        async with traced(monkeypatch, place, model, **OFF, **settings, **setting) as here, Caller(here.port) as caller:
            pipeline(here).draining = case == "refused"
            answer = await caller.asks(ask(json.dumps({"data": [row]}).encode()))
        (record,) = told(place)
        (server,) = servers(place)
        assert server["traceId"] == record["traceId"] == answer.headers["X-Trace-Id"]
        assert server["startTimeUnixNano"] == record["timeUnixNano"]
        assert server["attributes"]["http.route"] == "/predict"
        assert server["attributes"]["http.response.status_code"] == answer.status
        results.append((seen(answer), logged(place), spoken(place)))
    assert results[0] == results[1]
    assert len(in_lane) == 1


@pytest.mark.parametrize("cut", range(1, len(ask()), 7))
async def test_a_request_in_two_packets(here: Here, outbox: Path, cut: int, in_lane: list[LaneConnection]) -> None:
    """A request is answered and recorded once wherever its packets end, also behind one of the lane."""
    async with Caller(here.port) as caller:
        assert (await caller.asks(ask() + ask()[:cut])).status == 200
        assert (await caller.asks(ask()[cut:])).status == 200
        assert (await caller.asks(ask())).status == 200
    assert len(in_lane) == 3
    assert len(predictions(outbox)) == 3


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (ask(Connection="close"), 200),
        (ask(b"1c\r\n%b\r\n0\r\n\r\n" % BODY, Content_Length=None, Transfer_Encoding="chunked"), 200),
        (b"POST /predict HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n" + BODY, 200),
        (b"HEAD" + ask(b"").removeprefix(b"POST"), 405),
        (ask(Host=None), 400),
        (ask(Content_Length="28, 29"), 400),
        (ask(Content_Length="x"), 400),
    ],
)
async def test_other_forms_of_a_request(here: Here, outbox: Path, sent: bytes, status: int) -> None:
    """Forms that HTTP has besides the ordinary one are answered as HTTP says, with at most one record."""
    async with Caller(here.port) as caller:
        caller.writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            (answer,) = answers(await caller.reader.readuntil(b"\r\n\r\n"))
        assert answer.status == status
    assert len(predictions(outbox)) == (status == 200)


async def test_what_looks_like_a_request_inside_a_body(here: Here, outbox: Path, in_lane: list[LaneConnection]) -> None:
    """A body that begins like an request of the lane is a body."""
    sent = ask(ask())
    head = sent.removesuffix(ask())
    async with Caller(here.port) as caller:
        caller.writer.write(head.replace(b"POST /predict", b"POST /predict/label"))
        await until(lambda: bool(in_lane))
        assert (await caller.asks(ask())).status == 400
    assert len(in_lane) == 1
    assert [p["error.type"] for p in predictions(outbox)] == ["invalid-json"]


# One after another on one connection
async def test_answers_keep_their_order(here: Here, outbox: Path, gate: Gate, in_lane: list[LaneConnection]) -> None:
    """What comes while an request of the lane is under way is answered after it, in order, by whatever way."""
    pipeline(here, gate)
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: bool(gate.batches))
        connection = in_lane[0]
        for sent in (LABEL, ask(b"x"), LABEL + ask() + ask(b"[]")[:50]):
            caller.writer.write(sent)
            await until(lambda: bool(connection.early))
        gate.open()
        caller.writer.write(ask(b"[]")[50:])
        found = [await caller.answer() for _ in range(6)]
        assert [answer.status for answer in found] == [200, 200, 400, 200, 200, 422]
        assert [found[at].json["0"] for at in (1, 3)] == ["setosa", "setosa"]
        assert [(await caller.asks(sent)).status for sent in (ask(), LABEL, ask())] == [200] * 3
    assert len(predictions(outbox)) == len(in_lane) == 6


@pytest.mark.parametrize("number", [2, 3, 31, 32, 33, 200])
async def test_many_in_one_packet(here: Here, outbox: Path, number: int) -> None:
    """Requests that come together are answered one by one, as many as they are."""
    async with Caller(here.port) as caller:
        caller.writer.write(ask() + LABEL + ask() * (number - 1))
        found = [await caller.answer() for _ in range(number + 1)]
    jobs = [answer.json.get("job_id") for answer in found]
    assert jobs.pop(1) is None
    assert jobs == [p["prediction.job_id"] for p in predictions(outbox)]


async def test_what_comes_early_is_bounded(here: Here, gate: Gate, in_lane: list[LaneConnection]) -> None:
    """A caller who sends on and on behind a slow prediction is not read further, and all of it is answered then."""
    pipeline(here, gate)
    number = 600
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: bool(gate.batches))
        caller.writer.write(message("GET", "/livez", X_Long="x" * 4000) * number)
        connection = in_lane[0]
        await until(lambda: bool(connection.early))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(connection.early) <= 256 << 10
        assert not connection.transport.is_reading()
        gate.open()
        for _ in range(number + 1):
            assert (await caller.answer()).status == 200
        assert (await caller.asks(ask())).status == 200
    assert len(in_lane) == 2


async def test_a_caller_who_does_not_read(here: Here, in_lane: list[LaneConnection]) -> None:
    """Answers that nobody reads fill no memory: the server reads no more until they are taken."""
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: bool(in_lane))
        connection = in_lane[0]
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        while connection.transport.is_reading() and not caller.writer.transport.get_write_buffer_size():
            caller.writer.write(ask(X_Request_Id="x" * 128) * 20)
            sent += 20
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert connection.transport.get_write_buffer_size() < 1 << 20
        assert len(connection.early) < 1 << 20
        caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(sent + 1):
            assert (await caller.answer()).status == 200


# Silence
class Clock:
    """Time as one connection of the lane has it, which a test moves."""

    def __init__(self, connection: LaneConnection) -> None:
        """Begin with the loop's time, and take the connection's timer over."""
        self.now = connection.loop.time()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        connection.loop = cast("Any", self)
        connection._look_for_silence()

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.Handle:
        """Have something called when the time has come."""
        self.timers.append((when, callback))
        return asyncio.Handle(callback, (), asyncio.get_running_loop())

    def move(self, seconds: float) -> None:
        """Let time pass, and call what is due."""
        self.now += seconds
        due = [callback for when, callback in self.timers if when <= self.now]
        self.timers = [(when, callback) for when, callback in self.timers if when > self.now]
        for callback in due:
            callback()


async def test_an_idle_connection_is_closed(outbox: Path, in_lane: list[LaneConnection]) -> None:
    """After an request of the lane, too, a connection is closed after PREDICTOR_IDLE, not before."""
    async with serve(outbox, PREDICTOR_IDLE="1h") as here, Caller(here.port) as caller:
        assert (await caller.asks(ask())).status == 200
        clock = Clock(in_lane[0])
        for _ in range(3):
            clock.move(3599)
            assert (await caller.asks(ask())).status == 200
        clock.move(3599)
        assert len(here.server.connections) == 1
        clock.move(2)
        assert await caller.end() == b""
        await until(lambda: here.server.connections == [])
    assert len(in_lane) == 4


async def test_half_a_request_behind_an_express_one_is_idle(outbox: Path, in_lane: list[LaneConnection]) -> None:
    """A second request that never ends does not hold the connection beyond PREDICTOR_IDLE."""
    async with serve(outbox, PREDICTOR_IDLE="1h") as here, Caller(here.port) as caller:
        assert (await caller.asks(ask() + ask()[:40])).status == 200
        clock = Clock(in_lane[0])
        await until(lambda: bool(in_lane[0].early))
        clock.move(3601)
        assert await caller.end() == b""


async def test_a_connection_in_use_is_not_idle(outbox: Path, gate: Gate, in_lane: list[LaneConnection]) -> None:
    """A prediction that takes longer than PREDICTOR_IDLE is answered, and the connection is closed later."""
    async with serve(outbox, PREDICTOR_IDLE="1h") as here, Caller(here.port) as caller:
        pipeline(here, gate)
        answer = asyncio.create_task(caller.asks(ask()))
        await until(lambda: bool(gate.batches))
        clock = Clock(in_lane[0])
        clock.move(7200)
        assert not in_lane[0].closed
        gate.open()
        assert (await answer).status == 200
        clock.move(3601)
        assert await caller.end() == b""
    assert len(in_lane) == 1


# Callers who leave
@pytest.mark.parametrize("early", [b"", LABEL, ask() * 3, ask()[:50]])
async def test_a_caller_who_leaves(outbox: Path, gate: Gate, early: bytes, in_lane: list[LaneConnection]) -> None:
    """A caller who has gone before its answer has its record, its batch-mates their answers, nothing is left of it."""
    async with serve(outbox) as here, Caller(here.port) as mate:
        pipeline(here, gate)
        async with Caller(here.port) as caller:
            caller.writer.write(ask())
            await until(lambda: bool(gate.batches))
            if early:
                caller.writer.write(early)
                await until(lambda: bool(in_lane[0].early))
        left = id(in_lane.pop())
        mate.writer.write(ask())
        await until(lambda: bool(in_lane))
        gate.open()
        assert (await mate.answer()).status == 200
        await until(lambda: len(here.server.connections) == 1)

        def gone() -> bool:
            gc.collect()  # requests that aiohttp never came to are a cycle of its own
            return left not in {id(kept) for kept in gc.get_objects() if isinstance(kept, Connection)}

        await until(gone)
    assert len(predictions(outbox)) >= 2
    assert not [p for p in predictions(outbox) if "error.type" in p]


async def test_half_closed_caller(here: Here, outbox: Path, gate: Gate) -> None:
    """A caller who closes its half has its record, and the connection ends."""
    pipeline(here, gate)
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: bool(gate.batches))
        caller.writer.write_eof()
        gate.open()
        await caller.end()
        await until(lambda: len(predictions(outbox)) == 1)


async def test_no_work_for_the_collector(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, in_lane: list[LaneConnection], tmp_path: Path
) -> None:
    """Nothing of an answered request waits for Python's collector, which looks rarely in production."""
    settings = {"PREDICTOR_DEADLINE": "150ms", "PREDICTOR_SLOW": "0s"} | OFF
    async with (
        traced(monkeypatch, outbox, model_folders.failing(tmp_path / "model"), **settings) as here,
        Caller(here.port) as caller,
    ):
        inside = pipeline(here)
        synced = inside._log.synced
        gc.collect()
        gc.disable()
        try:
            for row in ([1.0, 2.0], [model_folders.FAILS_ABOVE * 2, 0.0], [1.0]):
                for size in (0, 0, 0, 100_000, 100_000):
                    await caller.asks(ask(json.dumps({"data": [row]}).encode().ljust(size)))
            never = asyncio.Event()
            inside._log.waits = True
            inside._log.synced = never.wait
            assert (await caller.asks(ask(b'{"data":[[1,2]]}'))).status == 504
            never.set()
            inside._log.synced = synced
            await until(lambda: not inside._batcher._committing)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            ours = [
                kept
                for kept in gc.garbage
                if type(kept).__module__.startswith(
                    ("predictor.api", "predictor.http", "predictor.inf", "predictor.serving.job", "httptools")
                )
            ]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert ours == []
    assert len(in_lane) == 16


# Traces and metrics
async def test_ids_are_drawn_once(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request of a connection has the ids that were drawn for it, sampled or not, pipelined or not."""
    sampled = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    async with traced(monkeypatch, outbox, **sampled) as here, Caller(here.port) as caller:
        drawn: list[Any] = []
        tracing = lane(here).plane.tracer
        begin = tracing.begin

        def noted(*more: Any) -> Any:  # noqa: ANN401 - handed on
            drawn.append(begin(*more))
            return drawn[-1]

        monkeypatch.setattr(tracing, "begin", noted)
        found = []
        for number in range(60):
            caller.writer.write(ask() * (1 + number % 3 // 2) + (LABEL if number % 5 == 0 else b""))
            more = 1 + number % 3 // 2 + (number % 5 == 0)
            found += [(await caller.answer()).headers["X-Trace-Id"] for _ in range(more)]
    assert found == [origin.trace_id for origin in drawn]
    assert {record["traceId"] for record in told(outbox)} <= set(found)
    assert {span["traceId"] for span in servers(outbox)} == {o.trace_id for o in drawn if o.kept}


async def test_sampled_request_whose_caller_is_gone(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that were drawn for a request of a lost connection go to no other request."""
    async with traced(monkeypatch, outbox, OTEL_TRACES_SAMPLER="always_on") as here:
        for _ in range(5):
            async with Caller(here.port) as caller:
                caller.writer.write(ask())
        async with Caller(here.port) as caller:
            answer = await caller.asks(ask())
        await until(lambda: here.server.connections == [])
    found = [span["traceId"] for span in servers(outbox)]
    assert len(set(found)) == len(found) == len(told(outbox))
    assert answer.headers["X-Trace-Id"] in found


async def test_measured_once(here: Here, in_lane: list[LaneConnection]) -> None:
    """Every request of the lane is measured once, with its status."""
    measured: list[Any] = []
    lane(here).plane.measure = lambda *more: measured.append(more)
    async with Caller(here.port) as caller:
        for body in (BODY, b"x", b'{"data":[[1]]}', BODY):
            await caller.asks(ask(body))
    assert [more[1:] for more in measured] == [("POST", "/predict", status) for status in (200, 400, 422, 200)]
    assert all(0 < more[0] < PATIENCE for more in measured)
    assert len(in_lane) == 4


async def test_the_tests_take_the_express_way(here: Here, in_lane: list[LaneConnection]) -> None:
    """What the other tests ask with, the ledger's load too, sends a request in one packet and goes the fast lane."""
    for _ in range(3):
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
    assert len(in_lane) == 3


# The end
async def test_in_flight_is_answered_by_the_shutdown(outbox: Path, gate: Gate) -> None:
    """A shutdown waits for an request of the lane under way and answers it, not for what its caller sent behind it."""
    server = contextlib.AsyncExitStack()
    here = await server.enter_async_context(serve(outbox, PREDICTOR_DRAIN="20s"))
    pipeline(here, gate)
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: bool(gate.batches))
        caller.writer.write(ask() + LABEL)
        connection: Any = here.server.connections[0]
        await until(lambda: bool(connection.early))
        ending = asyncio.create_task(server.aclose())
        await until(lambda: here.server.leaving)
        gate.open()
        (answer,) = answers(await caller.end())
        await ending
    assert answer.status == 200
    assert [p["prediction.job_id"] for p in predictions(outbox)] == [answer.json["job_id"]]
    assert records(outbox)[-1]["eventName"] == "prediction.stream.closed"


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_hangs_when_the_drain_is_over(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate, way: str
) -> None:
    """What still waits when PREDICTOR_DRAIN is over is recorded as refused and not run; what runs has its record."""
    settings = {"PREDICTOR_DRAIN": "50ms", "PREDICTOR_DEADLINE": "1h", "PREDICTOR_THREADS": "1"} | OFF
    server = contextlib.AsyncExitStack()
    here = await server.enter_async_context(traced(monkeypatch, outbox, **settings))
    inside = pipeline(here, gate)
    async with contextlib.AsyncExitStack() as all_:
        callers = [await all_.enter_async_context(Caller(here.port)) for _ in range(4)]
        callers[0].writer.write(ask(BODY, WAYS[way]))
        await until(lambda: bool(gate.batches))
        async with Caller(here.port) as gone:
            gone.writer.write(ask(BODY, WAYS[way]))
            await until(lambda: inside._batcher.queued_rows == 1)
        for caller in callers[1:]:
            caller.writer.write(ask(BODY, WAYS[way]))
        await until(lambda: inside._batcher.queued_rows == 4)
        ending = asyncio.create_task(server.aclose())
        for caller in callers:
            assert await caller.end() == b""
        await until(lambda: len(refused(outbox)) >= 4)
        gate.open()
        await ending
    assert gate.batches == [1]
    assert len(told(outbox)) == 5
    assert len({record["attributes"]["prediction.job_id"] for record in told(outbox)}) == 5


def refused(outbox: Path) -> list[Any]:
    """Return the records of what the shutdown refused."""
    return [p for p in predictions(outbox) if p.get("error.type") == "draining"]


@pytest.mark.parametrize("turns", range(10))
async def test_order_of_answers_at_every_turn(here: Here, turns: int) -> None:
    """An ordinary request overtakes none that aiohttp's way has taken up, however many turns of the loop after it."""
    async with Caller(here.port) as caller:
        assert (await caller.asks(LABEL)).status == 200
        (connection,) = here.server.connections
        connection.data_received(ask(Content_Type="application/json; charset=utf-8", X_Request_Id="first"))
        for _ in range(turns):
            await asyncio.sleep(0)
        connection.data_received(ask(X_Request_Id="second"))
        order = [(await caller.answer()).headers["X-Request-Id"] for _ in range(2)]
    assert order == ["first", "second"]


async def test_the_next_request_after_aiohttps_way(here: Here, in_lane: list[LaneConnection]) -> None:
    """Who asks again at once after an answer of aiohttp's way is answered, and soon by the fast lane again."""
    async with Caller(here.port) as caller:
        for _ in range(20):
            assert (await caller.asks(ask(Content_Type="application/json; charset=utf-8"))).status == 200
            assert (await caller.asks(ask())).status == 200
    assert in_lane
