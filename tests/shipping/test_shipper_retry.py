"""The shipper and a sink that is gone, slow, busy or elsewhere: nothing is lost, nobody is flooded."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from predictor.shipping.flow_control import Backoff
from tests.support.scripted_sink import OK, Answer, Request, serve
from tests.support.shipper_rig import Rig, end, ones
from tests.support.stream_files import line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


async def test_outage_then_success(rig: Rig) -> None:
    """503 loses nothing: the next tries carry one line, then two, then four, and all arrives in order."""
    rig.sink.answers(Answer(503))
    await rig.ship(rig.stream(ones(20)))
    assert [request.sequences for request in rig.sink.requests[:4]] == [[*range(1, 21)], [1], [2, 3], [4, 5, 6, 7]]
    assert rig.sink.sequences == list(range(1, 21))
    assert rig.counters.retried == 1
    assert rig.slept == [0.5]


@pytest.mark.parametrize("answer", [Answer(301, headers={"Location": "/x"}), Answer(401), Answer(403), Answer(404),
                                    Answer(429), Answer(502), Answer(reset=True), Answer(half=True),
                                    Answer(200, b"<html>")])  # fmt: skip
async def test_wrong_ways_are_tried_again(rig: Rig, answer: Answer) -> None:
    """Whatever says nothing about the content is tried again until it is well; nothing is refused for it."""
    files = rig.stream(ones(2))
    rig.sink.answers(*[answer] * 7)
    assert await rig.ship(files) == 0
    assert rig.sink.sequences == [1, 2]
    assert (rig.counters.retried, rig.counters.refused) == (7, 0)
    assert not files.rejected.exists()


async def test_problem_is_named(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """While nothing gets through the counters say why and since when; stderr has one line a minute, without secrets."""
    caplog.set_level(logging.INFO)
    problems: list[str | None] = []
    failures = 200

    def script(_: Request) -> Answer:
        problems.append(rig.counters.problem)
        return Answer(401, b"token secret is wrong") if len(problems) <= failures else OK

    rig.sink.script = script
    await rig.ship(rig.stream(ones(1)))
    expected = f"{rig.sink.url}/v1/logs: 401 Unauthorized"
    assert set(problems[1:]) == {expected}
    assert rig.counters.problem is None
    assert rig.counters.since is None
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    minutes = (rig.now - 1000) / 60
    assert minutes <= len(warnings) <= minutes + 1
    assert warnings[0] == f"{expected}; {len(line([1]))} bytes are kept and tried again"
    assert caplog.records[-1].getMessage() == f"{rig.sink.url}/v1/logs answers again"
    assert "secret" not in caplog.text


async def test_retry_after_is_honoured(rig: Rig) -> None:
    """A sink that asks for seven seconds gets them."""
    rig.sink.answers(Answer(429, headers={"Retry-After": "7"}))
    await rig.ship(rig.stream(ones(1)))
    assert rig.slept == [7.0]


async def test_run_backs_off_up_to_half_a_minute(rig: Rig) -> None:
    """Waits double from half a second to thirty, for ever; a drain that follows is more hurried."""
    rig.sink.script = lambda _: Answer(503)
    files = rig.stream(ones(1))
    rig.shipper.add(files)
    task = asyncio.create_task(rig.shipper.run())
    await rig.until(lambda: len(rig.slept) >= 9)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.slept[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    rig.slept.clear()
    rig.sink.answers(*[Answer(503)] * 3)
    assert await rig.ship() == 0
    assert rig.slept == [0.5, 1, 1]
    assert rig.sink.sequences == [1]


def test_jitter_is_full() -> None:
    """The wait lies anywhere between nothing and the longest, but never below what the sink asked for."""
    assert Backoff(lambda: 0.0).seconds(0.0) == 0.0
    assert Backoff(lambda: 0.5).seconds(0.0) == 0.25
    assert Backoff(lambda: 0.5).seconds(9.0) == 9.0
    backoff = Backoff(lambda: 1.0)
    for _ in range(5000):
        last = backoff.seconds(0.0)
    assert last == 30.0


async def test_drain_ends_in_time(rig: Rig) -> None:
    """A drain towards a silent sink ends when its time is over and says how much is left, all of it on disk."""
    files = rig.stream(ones(3))
    rig.sink.script = lambda _: Answer(silent=True)
    rig.shipper.add(files)
    left = await rig.shipper.drain(0.2)
    await rig.shipper.close()
    assert left == rig.shipper.backlog_bytes() == end(files)[1]
    assert not rig.shipper.drained(files)


async def test_silence_is_a_problem_while_the_request_is_open(rig: Rig) -> None:
    """A sink that says nothing shows as a problem long before its request times out, and no more once it answers."""
    files = rig.stream(ones(1))
    speak = asyncio.Event()
    rig.new(silence=0.01)
    rig.sink.script = lambda _: Answer(waits_for=speak)
    shipping = asyncio.create_task(rig.ship(files))
    async with asyncio.timeout(20):
        while rig.counters.problem is None:  # noqa: ASYNC110 - nobody tells: the shipper only waits
            await asyncio.sleep(0.005)
    assert not shipping.done()
    assert rig.counters.retried == 0
    assert rig.counters.problem.endswith("/v1/logs: no answer in 0.01 s, still waiting for it")
    speak.set()
    assert await shipping == 0
    assert rig.counters.problem is None
