"""The limits: sizes, the queue, the deadline, slow and silent clients; and what the log says of each."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from asyncio import TaskGroup
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from predictor.api.pattern.rows import RowDecoder
from predictor.core.rate_limit import TokenBucket
from predictor.http import server as http_server
from predictor.server import app, model_versions
from tests.support.gated_model import Gate, pipeline
from tests.support.raw_connection import Caller
from tests.support.server import ROW, answers, first, message, predictions, problem, raw, records, serve, until

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.support.server import Here

JSON = {"Content-Type": "application/json"}
BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
PATIENCE = 60.0  # s, less than PREDICTOR_IDLE unless a test sets it; the machine may be busy


async def whole(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes until the server closes; who still sends then is reset, and may see that alone."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(1 << 16):
            received += part
    return received


@pytest.fixture
def full(outbox: Path) -> Path:
    """Return an outbox that is over its bound of 1 MiB."""
    outbox.mkdir()
    (outbox / "ballast").write_bytes(bytes(2 << 20))
    return outbox


def shipping(outbox: Path, **settings: str) -> AbstractAsyncContextManager[Here]:
    """Run iris with an endpoint that nobody answers at: only then is the outbox bounded."""
    return serve(
        outbox,
        PREDICTOR_OUTBOX_BYTES="1MiB",
        PREDICTOR_FLUSH="0",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_TRACES_EXPORTER="none",
        **settings,
    )


def refused(outbox: Path, *words: str) -> None:
    """Check that the log holds these refusals, which know nothing of the rows, and nothing else."""
    logged = predictions(outbox)
    assert [p["error.type"] for p in logged] == list(words)
    assert not [name for p in logged for name in p if name.startswith(("prediction.input", "prediction.index"))]


async def test_largest_body(outbox: Path) -> None:
    """A body of exactly the limit is taken, one byte more is refused, and so is one that hides its size."""
    async with serve(outbox, PREDICTOR_BODY_BYTES="1000") as here:
        fits, over = BODY.ljust(1000), BODY.ljust(1001)
        assert (await here.post("/predict", data=fits, headers=JSON)).status == 200
        detail = problem(await here.post("/predict", data=over, headers=JSON), 413, "content-too-large")
        assert "1000 bytes (PREDICTOR_BODY_BYTES)" in detail

        async def chunks(body: bytes) -> Any:  # noqa: ANN401 - an asynchronous generator
            yield body

        assert (await here.post("/predict", data=chunks(fits), headers=JSON)).status == 200
        answer = await here.post("/predict", data=chunks(over), headers=JSON)
        assert "PREDICTOR_BODY_BYTES" in problem(answer, 413, "content-too-large")
    assert [p.get("error.type") for p in predictions(outbox)] == [None, "content-too-large"] * 2


async def test_declared_size_is_enough(outbox: Path) -> None:
    """A body that is declared too large is refused before a byte of it has come."""
    async with serve(outbox, PREDICTOR_BODY_BYTES="1000", PREDICTOR_DRAIN="0") as here:
        answer = await first(here.port, message("POST", "/predict", Content_Length="1001"))
        problem(answer, 413, "content-too-large")
    refused(outbox, "content-too-large")


async def test_compressed_body_is_bounded(outbox: Path) -> None:
    """What counts is the size after decompression: a bomb is refused, a body that fits is not."""
    async with serve(outbox, PREDICTOR_BODY_BYTES="100kB") as here:
        headers = JSON | {"Content-Encoding": "gzip"}
        bomb = gzip.compress(BODY.ljust(20_000_000))
        assert len(bomb) < 100_000
        problem(await here.post("/predict", data=bomb, headers=headers), 413, "content-too-large")
        fits = gzip.compress(BODY.ljust(100_000))
        assert (await here.post("/predict", data=fits, headers=headers)).status == 200
    assert [p.get("error.type") for p in predictions(outbox)] == ["content-too-large", None]


async def test_most_rows(outbox: Path) -> None:
    """A request of as many rows as run together is taken, one more is refused with one record."""
    async with serve(outbox, PREDICTOR_BATCH_ROWS="3") as here:
        assert (await here.post("/predict/batch", json={"data": [ROW] * 3})).status == 200
        detail = problem(await here.post("/predict/batch", json={"data": [ROW] * 4}), 413, "content-too-large")
        assert "data has 4 rows" in detail
        assert "PREDICTOR_BATCH_ROWS" in detail
    assert [p.get("error.type") for p in predictions(outbox)] == [None] * 3 + ["content-too-large"]


async def test_rows_a_second(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second's rows are taken at once, then 429 until there is room; the refusal is one record without rows."""
    now = [0.0]
    monkeypatch.setattr(model_versions, "TokenBucket", partial(TokenBucket, clock=lambda: now[0]))
    async with serve(outbox, PREDICTOR_ROWS_PER_SECOND="10", PREDICTOR_BATCH_ROWS="10") as here:
        assert (await here.post("/predict/batch", json={"data": [ROW] * 8})).status == 200
        answer = await here.post("/predict/batch", json={"data": [ROW] * 5})
        assert "PREDICTOR_ROWS_PER_SECOND" in problem(answer, 429, "rate-limited")
        assert answer.headers["Retry-After"] == "1"
        for _ in range(2):  # what was refused has taken nothing
            assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        for path in ("/predict/test", "/predict/test/label"):
            problem(await here.get(path), 429, "rate-limited")
        assert (await here.get("/readyz")).status == 200
        now[0] += 60
        assert (await here.post("/predict/batch", json={"data": [ROW] * 10})).status == 200
        problem(await here.post("/predict", json={"data": [ROW]}), 429, "rate-limited")
    logged = predictions(outbox)
    assert sum("error.type" not in p for p in logged) == 20
    failed = [p for p in logged if "error.type" in p]
    assert [(p["error.type"], p["http.route"]) for p in failed] == [
        ("rate-limited", "/predict/batch"),
        ("rate-limited", "/predict/test"),
        ("rate-limited", "/predict/test/label"),
        ("rate-limited", "/predict"),
    ]
    assert not [name for p in failed for name in p if name.startswith(("prediction.input", "prediction.index"))]


async def test_rows_a_second_before_a_body_has_come(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no row may be predicted a request is refused by its head, and its body is not waited for."""
    monkeypatch.setattr(model_versions, "TokenBucket", partial(TokenBucket, clock=lambda: 0.0))
    async with serve(outbox, PREDICTOR_ROWS_PER_SECOND="1", PREDICTOR_BATCH_ROWS="1", PREDICTOR_DRAIN="0") as here:
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        problem(await first(here.port, message("POST", "/predict", Content_Length="28")), 429, "rate-limited")


async def test_feedback_counts_as_a_row(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feedback writes records too, so each counts as one row of PREDICTOR_ROWS_PER_SECOND."""
    monkeypatch.setattr(model_versions, "TokenBucket", partial(TokenBucket, clock=lambda: 0.0))
    settings = {"PREDICTOR_ROWS_PER_SECOND": "2", "PREDICTOR_BATCH_ROWS": "2", "PREDICTOR_FEEDBACK": "true"}
    async with serve(outbox, **settings) as here:
        job_id = (await here.post("/predict", json={"data": [ROW]})).json["job_id"]
        assert (await here.post(f"/feedback/{job_id}", json={"label": "setosa"})).status == 200
        answer = await here.post(f"/feedback/{job_id}", json={"label": "setosa"})
        problem(answer, 429, "rate-limited")
        assert answer.headers["Retry-After"] == "1"
    assert len([r for r in records(outbox) if r["eventName"] == "prediction.feedback"]) == 1


async def test_no_bound_of_rows(outbox: Path) -> None:
    """Without PREDICTOR_ROWS_PER_SECOND nothing bounds the rows."""
    async with serve(outbox) as here:
        for _ in range(20):
            assert (await here.post("/predict/batch", json={"data": [ROW] * 200})).status == 200
    assert len(predictions(outbox)) == 4000


@pytest.mark.parametrize(
    ("rows", "status", "word"),
    [(b"[1,2,3,4]", 413, "content-too-large"), (b"[]", 413, "content-too-large"), (b"1", 422, "invalid-data")],
)
async def test_rows_are_counted_before_they_are_made(
    here: Here, monkeypatch: pytest.MonkeyPatch, rows: bytes, status: int, word: str
) -> None:
    """A large body with more rows or numbers than a request may have is refused before a list is made of it."""

    def fail(*_: object) -> None:
        pytest.fail("the rows were made")

    monkeypatch.setattr(RowDecoder, "decoded", fail)
    body = b'{"data":[[%b]]}' if rows == b"1" else b'{"data":[%b]}'
    problem(await here.post("/predict/batch", data=body % b",".join([rows] * 50_000), headers=JSON), status, word)


async def test_full_queue(outbox: Path, gate: Gate) -> None:
    """What the queue cannot hold is refused before inference with Retry-After; what waits is answered."""
    async with serve(outbox, PREDICTOR_QUEUE_ROWS="2", PREDICTOR_THREADS="1") as here, TaskGroup() as group:
        inside = pipeline(here, gate)
        runs = group.create_task(here.post("/predict", json={"data": [ROW]}))
        await until(lambda: bool(gate.batches))
        waits = group.create_task(here.post("/predict/batch", json={"data": [ROW, ROW]}))
        await until(lambda: inside._batcher.queued_rows == 2)
        answer = await here.post("/predict", json={"data": [ROW]})
        assert "PREDICTOR_QUEUE_ROWS" in problem(answer, 503, "queue-full")
        assert answer.headers["Retry-After"] == "1"
        refused(outbox, "queue-full")
        gate.open()
        assert (await runs).status == (await waits).status == 200
    assert gate.batches == [1, 2]
    assert [p.get("error.type") for p in predictions(outbox)] == ["queue-full", None, None, None]


async def test_queue_fills_while_a_body_arrives(outbox: Path, gate: Gate) -> None:
    """Rows that were validated before the queue was found full have their records, with index and input."""
    body = b'{"data":[[1,2,3,4],[5,6,7,8]]}'
    async with serve(outbox, PREDICTOR_QUEUE_ROWS="1", PREDICTOR_THREADS="1") as here, TaskGroup() as group:
        inside = pipeline(here, gate)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(message("POST", "/predict/batch", Content_Length=str(len(body)), Expect="100-continue"))
        await reader.readuntil(b"\r\n\r\n")  # the request was let in
        group.create_task(here.post("/predict", json={"data": [ROW]}))
        await until(lambda: bool(gate.batches))
        group.create_task(here.post("/predict", json={"data": [ROW]}))
        await until(lambda: inside._batcher.queued_rows == 1)
        writer.write(body)
        assert b" 503 " in await reader.readline()
        writer.close()
        first, second = predictions(outbox)
        gate.open()
    assert first["error.type"] == second["error.type"] == "queue-full"
    assert first["prediction.job_id"] == second["prediction.job_id"]
    assert [first["prediction.index"], second["prediction.index"]] == [0, 1]
    assert second["prediction.input.petal_width"] == 8.0


async def test_deadline_of_running_rows(outbox: Path, gate: Gate) -> None:
    """Rows that are not predicted in time are a 504, each with one record, even if the model gives them later."""
    async with serve(outbox, PREDICTOR_DEADLINE="100ms", PREDICTOR_THREADS="1") as here:
        pipeline(here, gate)
        answer = await here.post("/predict/batch", json={"data": [ROW, ROW]})
        assert "PREDICTOR_DEADLINE" in problem(answer, 504, "deadline-exceeded")
        late = predictions(outbox)
        gate.open()
        good = await here.post("/predict", json={"data": [ROW]})
        assert good.status == 200
    assert gate.batches == [2, 1]
    assert [(p["error.type"], p["prediction.index"]) for p in late] == [
        ("deadline-exceeded", 0),
        ("deadline-exceeded", 1),
    ]
    assert late[0]["prediction.input.sepal_length"] == ROW[0]
    assert "prediction.output" not in late[0]
    assert [p["prediction.job_id"] for p in predictions(outbox)[2:]] == [good.json["job_id"]]


async def test_deadline_of_waiting_rows(outbox: Path, gate: Gate) -> None:
    """Rows whose deadline comes while they wait are not run at all, and harm nobody in the queue with them."""
    async with serve(outbox, PREDICTOR_THREADS="1") as here, TaskGroup() as group:
        inside = pipeline(here, gate)
        runs = group.create_task(here.post("/predict", json={"data": [ROW]}))
        await until(lambda: bool(gate.batches))
        expires = group.create_task(here.post("/predict/batch", json={"data": [ROW] * 3}))
        await until(lambda: inside._batcher.queued_rows == 3)
        waits = group.create_task(here.post("/predict/label", json={"data": [ROW]}))
        await until(lambda: inside._batcher.queued_rows == 4)
        inside._expire(inside._batcher._queue[0])  # as at its deadline
        problem(await expires, 504, "deadline-exceeded")
        gate.open()
        assert (await runs).status == (await waits).status == 200
    assert gate.batches == [1, 1]
    assert [p.get("error.type") for p in predictions(outbox)] == ["deadline-exceeded"] * 3 + [None] * 2


async def test_stalled_body(outbox: Path) -> None:
    """A body that does not come in time is a 504 and one record without rows, and the connection ends."""
    async with serve(outbox, PREDICTOR_DEADLINE="100ms") as here:
        (answer,) = answers(await raw(here.port, message("POST", "/predict", BODY[:9], Content_Length="28")))
        assert "the body did not arrive" in problem(answer, 504, "deadline-exceeded")
    refused(outbox, "deadline-exceeded")


@pytest.mark.parametrize("gently", [True, False])
async def test_cut_off_body(outbox: Path, caplog: pytest.LogCaptureFixture, *, gently: bool) -> None:
    """A client that goes away in the middle of its body leaves a record of its refusal, and no fault of the server."""
    async with serve(outbox) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(message("POST", "/predict", Content_Length="28", Expect="100-continue"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BODY[:9])
        if gently:
            writer.close()
        else:
            writer.transport.abort()
        await until(lambda: bool(predictions(outbox)))
    refused(outbox, "bad-request")
    assert not caplog.records


async def test_caller_who_leaves(outbox: Path, gate: Gate) -> None:
    """A caller that has gone before its answer still gets its record, and its batch-mates their answers."""
    async with serve(outbox, PREDICTOR_THREADS="1") as here, TaskGroup() as group:
        inside = pipeline(here, gate)
        runs = group.create_task(here.post("/predict", json={"data": [ROW]}))
        await until(lambda: bool(gate.batches))
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(message("POST", "/predict/label", BODY))
        await until(lambda: inside._batcher.queued_rows == 1)
        writer.transport.abort()
        mate = group.create_task(here.post("/predict/batch", json={"data": [ROW]}))
        await until(lambda: inside._batcher.queued_rows == 2)
        gate.open()
        assert (await runs).status == (await mate).status == 200
    logged = predictions(outbox)
    assert [p["http.route"] for p in logged] == ["/predict", "/predict/label", "/predict/batch"]
    assert [p["prediction.batch.size"] for p in logged] == [1, 2, 2]
    assert not [p for p in logged if "error.type" in p]


async def test_at_most_ten_refusals_a_second(outbox: Path) -> None:
    """Of refusals without rows ten a second are recorded; the rest are counted in the next status event."""
    async with serve(outbox) as here:
        book: Any = here.app[app.LOG_SERVICE]
        book.refusals._rate = TokenBucket(10, 10, lambda: 0.0)  # all in one second
        for _ in range(25):
            problem(await here.post("/predict", data=b"x", headers=JSON), 400, "invalid-json")
        await book._say_status()
    refused(outbox, *["invalid-json"] * 10)
    (status,) = (record for record in records(outbox) if record["eventName"] == "prediction.stream.status")
    assert status["attributes"]["prediction.stream.unrecorded.count"] == 15


async def test_many_rows_are_never_counted_away(outbox: Path, gate: Gate) -> None:
    """Failures of validated rows are recorded without any bound."""
    async with serve(outbox, PREDICTOR_DEADLINE="50ms") as here:
        pipeline(here, gate)
        problem(await here.post("/predict/batch", json={"data": [ROW] * 200}), 504, "deadline-exceeded")
        gate.open()
    assert len(predictions(outbox)) == 200


async def test_full_outbox_refuses(full: Path, outbox: Path, gate: Gate) -> None:
    """A full outbox is a 503 with Retry-After before inference, counted and not recorded, and not ready."""
    async with shipping(full) as here:
        pipeline(here, gate)
        for send in (here.post("/predict", json={"data": [ROW]}), here.get("/predict/test")):
            answer = await send
            assert "PREDICTOR_OUTBOX_BYTES" in problem(answer, 503, "outbox-full")
            assert answer.headers["Retry-After"]
        ready = await here.get("/readyz")
        assert ready.status == 503
        assert "outbox" in ready.json["reason"]
        book: Any = here.app[app.LOG_SERVICE]
        assert book.refusals.unrecorded == 2
    assert gate.batches == []
    assert predictions(outbox) == []


async def test_full_outbox_loses(full: Path, outbox: Path) -> None:
    """Under the policy `lose` the answer comes all the same and says that it was not logged."""
    async with shipping(full, PREDICTOR_OUTBOX_FULL="lose") as here:
        answer = await here.post("/predict", json={"data": [ROW]})
        assert answer.status == 200
        assert answer.headers["X-Prediction-Logged"] == "false"
        assert (await here.get("/readyz")).json["lost"] == 1
    assert predictions(outbox) == []


async def test_logged_is_silent(here: Here) -> None:
    """An answer whose record is written does not speak of the log."""
    assert "X-Prediction-Logged" not in (await here.post("/predict", json={"data": [ROW]})).headers


@pytest.mark.parametrize(
    "sent", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a", b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"]
)
async def test_silent_connection(outbox: Path, sent: bytes) -> None:
    """A connection on which no further request comes is closed after PREDICTOR_IDLE, and leaves no record."""
    async with serve(outbox, PREDICTOR_IDLE="1s") as here:
        async with asyncio.timeout(PATIENCE):
            received = await raw(here.port, sent)
    assert [answer.status for answer in answers(received)] == [200] * sent.endswith(b"\r\n\r\n")
    assert len(records(outbox)) == 2  # opened, closed


async def test_dripping_header(outbox: Path) -> None:
    """A header that comes byte by byte does not hold a connection beyond PREDICTOR_IDLE."""
    async with serve(outbox, PREDICTOR_IDLE="200ms") as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        closed = asyncio.ensure_future(whole(reader))
        writer.write(b"GET /health HTTP/1.1\r\nX: ")
        async with asyncio.timeout(PATIENCE):
            while not closed.done():
                writer.write(b"x")
                await asyncio.wait((closed,), timeout=0.05)
        writer.close()
        assert await closed == b""


async def test_slow_clients_do_not_hold_others(outbox: Path) -> None:
    """A hundred stalled bodies and silent connections do not keep anybody else from an answer."""
    async with serve(outbox, PREDICTOR_DEADLINE="1s") as here:
        stalled = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(100)]
        for number, (_, writer) in enumerate(stalled):
            writer.write(message("POST", "/predict", BODY[:9], Content_Length="28")[: None if number % 2 else 30])
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        for _, writer in stalled:
            writer.transport.abort()


@pytest.mark.parametrize("seconds", [-1.0, 60.0], ids=["old", "young"])
async def test_handshakes_that_fail_take_no_room(outbox: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Connections that TLS was never begun on, of which nobody is told, keep no caller out, and live for a while only.

    Those that are old enough to have failed are forgotten before anybody else is closed.
    """
    monkeypatch.setattr(http_server, "_HANDSHAKE", seconds)
    ask = message("POST", "/predict", BODY, Content_Type="application/json")
    async with serve(outbox, PREDICTOR_CONNECTIONS="3") as here, Caller(here.port) as caller:
        assert (await caller.asks(ask)).status == 200
        for _ in range(20):
            here.server()  # as for a connection that asyncio accepts
        assert (await first(here.port, ask)).status == 200
        if seconds < 0:
            assert (await caller.asks(ask)).status == 200
