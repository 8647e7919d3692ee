"""The shipper against a scripted sink over real HTTP: each outcome, and what the files look like after it."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from typing import TYPE_CHECKING

import msgspec
import pytest
from sink import OK, Answer, Request, Sink, sequences, serve
from streams import line, line_of_spans, make

from predictor import backlog, otlp, segments
from predictor.delivery import Endpoint
from predictor.pace import Backoff, Window
from predictor.rejected import Rejected
from predictor.segments import Cursor
from predictor.shipper import Shipper
from predictor.shipping_report import Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from predictor.segments import Signal, StreamFiles


class Rig:
    """A sink, a shipper towards it, and a clock that only its sleeps move."""

    def __init__(self, sink: Sink, root: Path) -> None:
        """Begin with an empty outbox in `root`."""
        self.sink = sink
        self.root = root
        self.now = 1000.0
        self.slept: list[float] = []
        self.rejected = Rejected()
        self.counters = Counters()
        self.shipper = self.new()

    def new(self, signal: Signal = "logs", **changes: object) -> Shipper:
        """Make a shipper, as another process would after a crash."""
        endpoint = Endpoint(self.sink.url + f"/v1/{signal}?key=secret", {"X-Token": "secret"}, 5.0)
        parts = {"reject": self.rejected.keep, "clock": lambda: self.now, "sleep": self.sleep, "random": lambda: 1.0}
        self.shipper = Shipper(signal, endpoint, counters=self.counters, **parts | changes)  # type: ignore[arg-type]
        return self.shipper

    async def sleep(self, seconds: float) -> None:
        """Move the clock and let the others run."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def ship(self, *streams: StreamFiles) -> int:
        """Add these streams and ship until nothing is left."""
        for files in streams:
            self.shipper.add(files)
        try:
            return await self.shipper.drain(30)
        finally:
            await self.shipper.close()

    def stream(self, lines: Iterable[Iterable[int]], name: str = "0192-a", body: str = "setosa 0.971") -> StreamFiles:
        """Write a stream of one segment with lines of these stream numbers."""
        return make(self.root, b"".join(line(list(numbers), body) for numbers in lines), stream=name)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


def ones(last: int) -> list[list[int]]:
    """Return lines of one record each, 1 to `last`."""
    return [[number] for number in range(1, last + 1)]


def poison(*numbers: int, status: int = 400) -> Callable[[Request], Answer]:
    """Return a script that answers `status` to whatever holds one of these records."""
    bad = Answer(status, b'{"message":"no"}')
    return lambda request: bad if set(numbers) & set(request.sequences) else OK


def kept(files: StreamFiles) -> dict[str, list[int]]:
    """Return the stream numbers of what is in `rejected/`, by file name."""
    return {path.name: sequences(json.loads(path.read_bytes())) for path in sorted(files.rejected.iterdir())}


def end(files: StreamFiles, signal: Signal = "logs") -> tuple[int, int]:
    """Return the end of a stream's last segment as a cursor would name it."""
    last = files.signal(signal).numbers()[-1]
    return last, segments.file_size(files.signal(signal).segment(last))


def stored(files: StreamFiles, signal: Signal = "logs") -> tuple[int, int]:
    """Return where the stored cursor stands."""
    cursor = files.signal(signal).cursor()
    return cursor.segment, cursor.offset


# Accepted
async def test_lines_are_merged_as_they_are(rig: Rig) -> None:
    """Lines that wait go in one body, byte for byte, and the cursor is stored behind them with their last number."""
    files = rig.stream([[1], [2, 3], [4]])
    assert await rig.ship(files) == 0
    (request,) = rig.sink.accepted
    lines = list(files.signal("logs").lines())
    assert request.body == otlp.merge("logs", lines)
    assert request.path == "/v1/logs"
    assert request.headers["X-Token"] == "secret"
    assert files.signal("logs").cursor() == Cursor(*end(files), sequence=4)
    assert (rig.counters.shipped, rig.counters.retried, rig.counters.refused) == (4, 0, 0)
    assert rig.shipper.drained(files)


async def test_spans_travel_alike(rig: Rig) -> None:
    """The shipper of traces counts spans and leaves their cursor without a number."""
    files = make(rig.root, line_of_spans([1, 2]) + line_of_spans([3]), signal="traces")
    rig.new("traces")
    assert await rig.ship(files) == 0
    assert rig.sink.accepted[0].path == "/v1/traces"
    assert rig.counters.shipped == 3
    assert files.signal("traces").cursor() == Cursor(*end(files, "traces"))


async def test_finished_segments_are_removed(rig: Rig) -> None:
    """A segment with a successor goes once all of it is accepted and the cursor is past it; the last one stays."""
    files = make(rig.root, line([1]), line([2]) + b'{"resourceLogs":[{"torn', line([3]))
    order: list[str] = []
    rig.sink.script = lambda request: order.append(f"{request.sequences} {files.signal('logs').numbers()}") or OK
    assert await rig.ship(files) == 0
    assert order == ["[1] [1, 2, 3]", "[2] [2, 3]", "[3] [3]"]
    assert files.signal("logs").numbers() == [3]
    assert stored(files) == end(files)


async def test_torn_tail_is_not_sent(rig: Rig) -> None:
    """What has no newline yet is neither sent nor waited for; once it is whole it is sent."""
    files = rig.stream(ones(2))
    whole = line([3])
    path = files.signal("logs").segment(1)
    path.write_bytes(path.read_bytes() + whole[:50])
    assert await rig.ship(files) == 50
    assert rig.shipper.drained(files)
    assert rig.sink.sequences == [1, 2]
    path.write_bytes(path.read_bytes() + whole[50:])
    assert not rig.shipper.drained(files)
    assert await rig.ship(files) == 0
    assert rig.sink.sequences == [1, 2, 3]


async def test_restart_goes_on_at_the_cursor(rig: Rig) -> None:
    """Another process sends nothing again that lies before the stored cursor."""
    files = rig.stream(ones(3))
    await rig.ship(files)
    path = files.signal("logs").segment(1)
    path.write_bytes(path.read_bytes() + line([4]))
    rig.new()
    await rig.ship(files)
    assert rig.sink.sequences == [1, 2, 3, 4]


async def test_crash_before_the_cursor_sends_identical_copies(rig: Rig) -> None:
    """Without a cursor, one that cannot be read included, everything is sent again, byte for byte."""
    files = rig.stream(ones(3))
    for content in (None, b"", b"{"):
        if content is not None:
            (files.signal("logs").folder / "cursor").write_bytes(content)
        rig.new()
        await rig.ship(files)
    assert len(rig.sink.accepted) == 3
    assert len({request.body for request in rig.sink.accepted}) == 1


async def test_streams_take_turns(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long backlog of one stream does not keep the others waiting; one request is in flight at a time."""
    monkeypatch.setattr(backlog.Backlog.read, "__defaults__", (1,))
    first, second = rig.stream(ones(3), "0192-a"), rig.stream([[11], [12], [13]], "0192-b")
    await rig.ship(first, second)
    assert rig.sink.sequences == [1, 11, 2, 12, 3, 13]


async def test_removed_stream_is_left_alone(rig: Rig) -> None:
    """A stream that was removed is neither read nor counted; adding one twice changes nothing."""
    files, other = rig.stream(ones(1), "0192-a"), rig.stream(ones(1), "0192-b")
    for stream in (files, files, other):
        rig.shipper.add(stream)
    assert rig.shipper.backlog_bytes() == 2 * len(line([1]))
    rig.shipper.remove(other)
    assert rig.shipper.backlog_bytes() == len(line([1]))
    await rig.ship()
    assert rig.sink.sequences == [1]


async def test_run_finds_what_is_written_later(rig: Rig) -> None:
    """`run` polls: it ships what was written since, stores the cursor within a second, and once more at its end."""
    files = rig.stream(ones(1))
    rig.shipper.add(files)
    task = asyncio.create_task(rig.shipper.run())
    await rig.sink.until(lambda: rig.sink.sequences == [1])
    path = files.signal("logs").segment(1)
    with path.open("ab") as file:
        file.write(line([2]))
    await rig.sink.until(lambda: rig.sink.sequences == [1, 2])
    while not rig.shipper.drained(files):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(files) == end(files)
    assert set(rig.slept) == {0.2}
    await rig.shipper.close()


async def test_cursor_is_stored_once_a_second(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While records flow a cursor costs its fsyncs once a second, not once a request."""
    monkeypatch.setattr(backlog.Backlog.read, "__defaults__", (1,))
    stores: list[float] = []
    store = backlog.Backlog.store
    monkeypatch.setattr(backlog.Backlog, "store", lambda self: (stores.append(rig.now), store(self)))

    def tick(_: Request) -> Answer:
        rig.now += 0.3
        return OK

    rig.sink.script = tick
    await rig.ship(rig.stream(ones(10)))
    assert stores == pytest.approx([1001.2, 1002.4, 1003.0])


async def test_memory_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog of 200 MB is read and sent in pieces of half a megabyte, none of it is kept, none is skipped."""
    per_line, lines = 64, 64
    block = b"".join(line(range(n * per_line, (n + 1) * per_line), "x" * 800) for n in range(lines))
    count = 200_000_000 // len(block) // 2
    files = make(rig.root, block * count, block * count)
    sizes: list[int] = []
    read = backlog.Backlog.read

    def measured(self: backlog.Backlog, limit: int = backlog.BODY) -> backlog.Batch:
        batch = read(self, limit)
        sizes.append(sum(map(len, batch.found.lines)) + sum(len(piece.text) for piece in self.pending))
        return batch

    monkeypatch.setattr(backlog.Backlog, "read", measured)
    bodies: list[int] = []

    def script(request: Request) -> Answer:
        bodies.append(len(request.body))
        rig.sink.requests.clear()
        rig.sink.accepted.clear()
        return OK

    rig.sink.script = script
    assert await rig.ship(files) == 0
    assert max(sizes) <= backlog.BODY
    assert max(bodies) <= backlog.BODY
    assert sum(sizes) == 2 * count * len(block)
    assert rig.counters.shipped == 2 * count * lines * per_line


# Retry
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
    await rig.sink.until(lambda: len(rig.slept) >= 9)
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


# Refused
async def test_one_poison_record_among_many(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """400 for one record of many lines: that one alone ends in `rejected/`, all the others are accepted."""
    rig.sink.script = poison(123)
    files = rig.stream([range(n * 8 + 1, n * 8 + 9) for n in range(32)])
    assert await rig.ship(files) == 0
    assert kept(files) == {"logs-123.json": [123]}
    assert sorted(rig.sink.sequences) == [n for n in range(1, 257) if n != 123]
    assert stored(files) == end(files)
    assert (rig.counters.shipped, rig.counters.refused, rig.counters.not_kept) == (255, 1, 0)
    assert len(rig.sink.requests) < 30  # found by halving
    assert rig.slept == []  # a refusal is no outage
    assert f"{rig.sink.url}/v1/logs refused logs-123 of stream 0192-a: 400 no; kept in rejected/" in caplog.text


@pytest.mark.parametrize("bad", [(1,), (64,), (1, 64), (7, 8, 9), tuple(range(1, 65))])
@pytest.mark.parametrize("status", [400, 422, 413])
async def test_poison_anywhere(rig: Rig, bad: tuple[int, ...], status: int) -> None:
    """Wherever the refused records stand, exactly they are refused and exactly the others accepted."""
    rig.sink.script = poison(*bad, status=status)
    files = rig.stream([range(n * 4 + 1, n * 4 + 5) for n in range(16)])
    assert await rig.ship(files) == 0
    assert {number for numbers in kept(files).values() for number in numbers} == set(bad)
    assert set(rig.sink.sequences) == set(range(1, 65)) - set(bad)
    assert rig.counters.refused == len(bad)
    assert len(rig.sink.requests) <= 8 * len(bad) + 24


async def test_partial_success(rig: Rig) -> None:
    """When some of a body were rejected, smaller ones find which; the others may be stored again, identical."""
    words = b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}'
    rig.sink.script = lambda request: Answer(200, words) if 5 in request.sequences else OK
    files = rig.stream([range(1, 9)])
    await rig.ship(files)
    assert kept(files) == {"logs-5.json": [5]}
    assert sorted(rig.sink.sequences) == [1, 2, 3, 4, 6, 7, 8]


async def test_too_large_only_halves(rig: Rig) -> None:
    """413 for the size makes bodies smaller, now and later, and refuses nothing that fits alone."""
    limit = 100_000
    rig.sink.script = lambda request: Answer(413) if len(request.body) > limit else OK
    files = rig.stream([range(n * 8 + 1, n * 8 + 9) for n in range(200)], body="x" * 500)
    await rig.ship(files)
    assert rig.sink.sequences == list(range(1, 1601))
    assert not files.rejected.exists()
    assert sum(len(request.body) > limit for request in rig.sink.requests) < 6


async def test_huge_line_is_parted_unasked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than any sink takes is sent in parts from the start."""
    monkeypatch.setattr("predictor.pace._LARGEST", 4000)
    rig.new()
    await rig.ship(rig.stream([range(1, 65)]))
    assert rig.sink.sequences == list(range(1, 65))
    assert max(len(request.body) for request in rig.sink.requests) <= 4000


async def test_refused_spans_have_names_of_their_own(rig: Rig) -> None:
    """Refused spans of one line do not overwrite each other: they are named by their place."""
    first = line_of_spans([1])
    files = make(rig.root, first + line_of_spans([2, 3, 4]), signal="traces")
    rig.sink.script = lambda request: (
        Answer(400) if request.body.count(b"startTime") > 1 or b"03" in request.body else OK
    )
    rig.new("traces")
    rig.sink.script = lambda request: Answer(400) if any(b'%032x"' % n in request.body for n in (3, 4)) else OK
    await rig.ship(files)
    names = sorted(path.name for path in files.rejected.iterdir())
    assert names == [f"traces-00000001-{len(first)}-{index}.json" for index in (1, 2)]


async def test_damaged_line_is_refused_as_it_is(rig: Rig) -> None:
    """A line that nobody can read does not stop the stream: it is kept whole, the next ones go on."""
    damaged = [b'{"resourceLogs":[{"sco\x00\r\x00pe\n', b'{"key":"prediction.stream.sequence","value":{"intValue":"x\n']
    files = make(rig.root, line([1]) + damaged[0] + damaged[1] + line([2]))
    rig.sink.script = lambda request: OK if request.parsed else Answer(400)
    assert await rig.ship(files) == 0
    assert rig.sink.sequences == [1, 2]
    at = len(line([1]))
    assert (files.rejected / f"logs-00000001-{at}-0.json").read_bytes() == damaged[0]
    assert (files.rejected / f"logs-00000001-{at + len(damaged[0])}-0.json").read_bytes() == damaged[1]


async def test_rejected_is_bounded(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond its bound `rejected/` keeps nothing more, which is counted and said; the stream goes on."""
    one = len(line([1])) + 10
    rig.rejected = Rejected(limit=2 * one)
    rig.new()
    rig.sink.script = lambda request: OK if request.sequences == [5] else Answer(400)
    files = rig.stream(ones(5))
    await rig.ship(files)
    assert sorted(kept(files)) == ["logs-1.json", "logs-2.json"]
    assert (rig.counters.refused, rig.counters.not_kept) == (4, 2)
    assert rig.sink.sequences == [5]
    assert len(caplog.records) == 1  # a minute has not passed
    rig.rejected.forget(files)
    assert not rig.rejected.keep(files, "logs-3", line([3]))  # what is there is counted by a new process too
    assert rig.rejected.keep(files, "logs-1", line([1]))  # again after a crash: not counted twice


async def test_refused_record_is_on_disk_before_the_cursor_passes(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """If `rejected/` cannot be written the record stays where it is and is tried again until it can."""
    places: list[tuple[int, int]] = []

    def full(files: StreamFiles, name: str, content: bytes) -> bool:
        places.append(stored(files))
        if len(places) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rig.rejected.keep(files, name, content)

    rig.new(reject=full)
    rig.sink.script = poison(1)
    files = rig.stream(ones(2))
    await rig.ship(files)
    assert places == [(1, 0)] * 3
    assert rig.slept == [0.5, 1.0]
    assert kept(files) == {"logs-1.json": [1]}
    assert rig.sink.sequences == [2]
    assert "cannot keep the refused logs-1: No space left on device" in caplog.text


# 500
async def test_poison_that_breaks_the_sink(rig: Rig) -> None:
    """A record answered 500 again and again while its neighbours are accepted is refused, and it alone."""
    rig.sink.script = poison(6, status=500)
    files = rig.stream([[1, 2], [3, 4], [5, 6, 7, 8], [9]])
    await rig.ship(files)
    assert kept(files) == {"logs-6.json": [6]}
    assert set(rig.sink.sequences) == {1, 2, 3, 4, 5, 7, 8, 9}
    assert rig.counters.refused == 1


async def test_two_poisons_side_by_side(rig: Rig) -> None:
    """A neighbour that is as bad is no proof of an outage: another one is asked the next time."""
    rig.sink.script = poison(2, 3, status=500)
    files = rig.stream(ones(4))
    await rig.ship(files)
    assert kept(files) == {"logs-2.json": [2], "logs-3.json": [3]}
    assert set(rig.sink.sequences) == {1, 4}


async def test_neighbour_in_another_stream(rig: Rig) -> None:
    """The only record of a stream is judged by another stream's."""
    rig.sink.script = poison(1, status=500)
    files, other = rig.stream(ones(1), "0192-a"), rig.stream([[2]], "0192-b")
    await rig.ship(files, other)
    assert kept(files) == {"logs-1.json": [1]}


async def test_broken_sink_refuses_nothing(rig: Rig) -> None:
    """A sink that answers 500 to everything is an outage, however long it lasts: nothing is refused for it."""
    rig.sink.answers(*[Answer(500)] * 40)
    files, other = rig.stream([[1, 2], [3]], "0192-a"), rig.stream([[4]], "0192-b")
    assert await rig.ship(files, other) == 0
    assert rig.counters.refused == 0
    assert set(rig.sink.sequences) == {1, 2, 3, 4}
    assert not files.rejected.exists()


async def test_sink_that_breaks_during_the_search(rig: Rig) -> None:
    """If the sink goes down while a 500 is searched for, only the record that truly breaks it is refused."""
    broken = iter([False] * 10 + [True] * 30)
    bad = poison(3, status=500)
    rig.sink.script = lambda request: Answer(500) if next(broken, False) else bad(request)
    files = rig.stream([range(1, 9), [9]])
    await rig.ship(files)
    assert kept(files) == {"logs-3.json": [3]}
    assert set(rig.sink.sequences) == {1, 2, 4, 5, 6, 7, 8, 9}


async def test_lone_record_with_500_waits(rig: Rig) -> None:
    """With no neighbour to compare it with, a record is not refused for 500; a later one decides."""
    rig.sink.script = poison(1, status=500)
    files = rig.stream(ones(1))
    rig.shipper.add(files)
    task = asyncio.create_task(rig.shipper.run())
    await rig.sink.until(lambda: len(rig.slept) > 20)
    assert rig.counters.refused == 0
    with files.signal("logs").segment(1).open("ab") as file:
        file.write(line([2]))
    await rig.sink.until(lambda: rig.counters.refused == 1 and rig.sink.sequences.count(2) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.shipper.close()
    assert kept(files) == {"logs-1.json": [1]}


# The disk
async def test_cursor_that_cannot_be_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk shipping goes on and accepted segments go, or nothing would ever make room."""

    def full(_: Path, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments, "replace_file", full)
    files = make(rig.root, line([1]), line([2]))
    assert await rig.ship(files) == 0
    assert rig.sink.sequences == [1, 2]
    assert files.signal("logs").numbers() == [2]
    assert "cannot store" in caplog.text
    monkeypatch.undo()
    rig.new()
    await rig.ship(files)
    assert rig.sink.sequences == [1, 2, 2]  # a copy


async def test_stream_that_cannot_be_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that fails under one stream does not stop the others."""
    bad, good = rig.stream(ones(1), "0192-a"), rig.stream([[2]], "0192-b")
    read = backlog.Backlog.read

    def failing(self: backlog.Backlog, limit: int = backlog.BODY) -> backlog.Batch:
        if self.files == bad:
            raise OSError(errno.EIO, "Input/output error")
        return read(self, limit)

    monkeypatch.setattr(backlog.Backlog, "read", failing)
    assert await rig.ship(bad, good) == len(line([1]))
    assert rig.sink.sequences == [2]
    assert f"cannot read {bad.path}: Input/output error" in caplog.text


def test_backlog_is_known_without_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer does not stop the status: what was read is counted."""
    walk = backlog.Backlog("logs", rig.stream(ones(2)), lambda: 0.0)
    walk.take(walk.read())

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(segments.SignalFiles, "backlog", failing)
    assert walk.size() == 2 * len(line([1]))
    monkeypatch.setattr(backlog.Backlog, "read", failing)
    assert walk.others(walk.pending[0]) == [line([2])]
    walk.settle(1)
    assert walk.others(walk.pending[0]) == []


async def test_stream_without_files(rig: Rig) -> None:
    """A stream whose signal has no folder yet, or no more, is drained."""
    files = make(rig.root, signal="traces")
    assert await rig.ship(files) == 0
    assert rig.shipper.drained(files)


def test_window_opens_no_wider_than_it_must() -> None:
    """However long all goes well, the number of pieces stays a number that a body can hold."""
    window = Window()
    window.failed()
    for _ in range(100):
        window.accepted(window.pieces)
    assert window.pieces == 1 << 16


def test_cursor_file_is_the_published_one(rig: Rig) -> None:
    """The cursor on disk has the three published fields."""
    files = rig.stream(ones(1))
    walk = backlog.Backlog("logs", files, lambda: 0.0)
    walk.take(walk.read())
    walk.settle(1)
    walk.store()
    raw = (files.signal("logs").folder / "cursor").read_bytes()
    assert msgspec.json.decode(raw) == {"segment": 1, "offset": len(line([1])), "sequence": 1}
