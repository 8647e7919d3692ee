"""What the page is told of the server and its log: what is refused and why, how long answers take, what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.core.problems import Kind
from predictor.core.result import Origin, Prediction
from predictor.dashboard.recent import SECONDS, SLOT, Latencies, Problems
from predictor.server import app
from tests.dashboard.test_feed import listening
from tests.support import scripted_sink
from tests.support.scripted_sink import Answer
from tests.support.server import ROW, serve, until

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def took(*seconds: float, error: Kind | None = None) -> list[Prediction]:
    """Return predictions that took so long."""
    origin = Origin("0" * 32, "0" * 16, "/predict", 0, 0.0)
    return [Prediction("j", origin, 0, total=each, error=error) for each in seconds]


def test_percentiles_are_those_of_the_last_minutes() -> None:
    """Percentiles are right within a bin at any scale, leave failures out, and forget after five minutes."""
    clock = Clock()
    latencies = Latencies(clock)
    assert latencies.percentiles() is None
    latencies.observe([*took(*(each / 1e4 for each in range(1, 1001))), *took(9.0, error=Kind.MODEL_FAILED)])
    found = latencies.percentiles()
    assert found
    assert found.answered == 1000
    assert found[1:] == pytest.approx((0.05, 0.095, 0.099), rel=0.035)
    clock.now += SECONDS - SLOT
    latencies.observe([*took(*[2.0] * 3000)])
    found = latencies.percentiles()
    assert found
    assert found.answered == 4000
    assert found.p50 == pytest.approx(2.0, rel=0.035)
    clock.now += 2 * SLOT
    assert (latencies.percentiles() or (0,))[0] == 3000
    clock.now += SECONDS
    assert latencies.percentiles() is None


def test_rows_that_were_answered_together_count_each() -> None:
    """Rows of one record count as those of as many, in the same bin of the same moment."""
    clock = Clock()
    one_by_one, together = Latencies(clock), Latencies(clock)
    for seconds, rows in ((0.001, 256), (0.25, 3), (0.0, 1)):
        one_by_one.observe(took(*[seconds] * rows))
        together.count(seconds, rows)
        clock.now += SLOT
    assert together.percentiles() == one_by_one.percentiles()
    assert (together.percentiles() or (0,))[0] == 260


def test_problems_are_those_of_the_last_minutes() -> None:
    """Problems are counted over five minutes; what the server refuses is of this moment for ten seconds."""
    clock = Clock()
    counters = {Kind.INVALID_DATA: 7}
    problems = Problems(counters, clock)
    counters[Kind.INVALID_DATA] = 8
    counters[Kind.QUEUE_FULL] = 3
    problems.look()
    assert problems.recent() == {"queue-full": 3, "invalid-data": 1}
    assert problems.refusing() == ["queue-full"], "a caller's own fault is no refusal"
    clock.now += SLOT
    problems.look()
    assert problems.refusing() == []
    assert problems.recent() == {"queue-full": 3, "invalid-data": 1}
    for _ in range(round(SECONDS / SLOT) + 1):
        clock.now += SLOT
        problems.look()
    assert problems.recent() == {}


async def test_the_state_of_a_log_whose_sink_answers(outbox: Path) -> None:
    """Once the sink has taken the records, the page is told so, and when that was."""
    async with scripted_sink.serve() as sink, serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url) as here:
        await here.post("/predict", json={"data": [ROW]})
        counters = here.app[app.LOG_SERVICE].counters["logs"]
        await until(lambda: counters.accepted_at is not None)
        async with listening(here) as ear:
            await ear.event()
            assert ear.state["refusing"] is None
            log = ear.state["log"]
            assert (log["sink"], log["problem"], log["lost"], log["rejected"]) == (True, None, 0, 0)
            assert log["accepted"] > 1.7e9
            assert ear.state["latency"][0] == 1


async def test_the_state_of_a_log_that_is_full(outbox: Path) -> None:
    """While the sink takes nothing and the outbox is full, the page is told that and why, before anything else."""
    settings = {"PREDICTOR_OUTBOX_BYTES": "1MiB", "PREDICTOR_BATCH_ROWS": "1000", "PREDICTOR_BODY_BYTES": "1MiB"}
    async with scripted_sink.serve() as sink:
        sink.script = lambda _: Answer(503)
        async with serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, PREDICTOR_FLUSH="0s", **settings) as here:
            status = 200
            while status == 200:
                status = (await here.post("/predict/batch", json={"data": [ROW] * 200})).status
            assert status == 503
            counters = here.app[app.LOG_SERVICE].counters["logs"]
            await until(lambda: counters.problem is not None)
            async with listening(here) as ear:
                await ear.event()
                assert ear.state["refusing"] is not None
                assert ear.state["problems"]["outbox-full"] == 1
                log = ear.state["log"]
                assert "503" in log["problem"]
                assert log["backlog_bytes"] > 100_000


async def test_no_log_is_no_state_of_it(outbox: Path) -> None:
    """Without a log the page is told that there is none."""
    async with serve(outbox, PREDICTOR_LOG="off") as here, listening(here) as ear:
        await ear.event()
        assert (ear.state["log"], ear.state["refusing"], ear.state["problems"]) == (None, None, {})
