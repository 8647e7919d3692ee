"""The shipper and what the sink accepts: bodies, cursors, segments, streams, memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from predictor import otlp
from predictor.outbox.layout import Cursor
from predictor.shipping import backlog
from tests.support.scripted_sink import OK, Answer, Request, serve
from tests.support.shipper_rig import Rig, end, ones, stored
from tests.support.stream_files import line, line_of_spans, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


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

    def script(request: Request) -> Answer:
        order.append(f"{request.sequences} {files.signal('logs').numbers()}")
        return OK

    rig.sink.script = script
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
    await rig.until(lambda: rig.shipper.drained(files))
    assert rig.sink.sequences == [1]
    path = files.signal("logs").segment(1)
    with path.open("ab") as file:
        file.write(line([2]))
    await rig.until(lambda: rig.shipper.drained(files))
    assert rig.sink.sequences == [1, 2]
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

    def counted(self: backlog.Backlog) -> None:
        stores.append(rig.now)
        store(self)

    monkeypatch.setattr(backlog.Backlog, "store", counted)

    def tick(_: Request) -> Answer:
        rig.now += 0.3
        return OK

    rig.sink.script = tick
    rig.shipper.add(rig.stream(ones(10)))
    rig.now += 60  # at first it is stored sooner
    await rig.ship()
    assert stores == pytest.approx([1060.3, 1061.5, 1062.7, 1063.0])


async def test_crash_loop_sends_little_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that live for less than a second ship a backlog: each sends an eighth of another's again at most."""
    monkeypatch.setattr(backlog.Backlog.read, "__defaults__", (1,))
    store = backlog.Backlog.store
    end, lives = 0.0, 0

    def until_its_death(self: backlog.Backlog) -> None:
        if rig.now < end:
            store(self)

    monkeypatch.setattr(backlog.Backlog, "store", until_its_death)

    def tick(_: Request) -> Answer:
        rig.now += 0.02
        return OK

    def dead() -> bool:
        return rig.now >= end or 300 in rig.sink.sequences

    rig.sink.script = tick
    files = rig.stream(ones(300))
    while set(rig.sink.sequences) != set(range(1, 301)):
        end, lives = rig.now + 0.9, lives + 1
        assert lives < 10, "it gets on"
        rig.new().add(files)
        process = asyncio.create_task(rig.shipper.run())
        await rig.sink.until(dead)
        process.cancel()
        with pytest.raises(asyncio.CancelledError):
            await process
        await rig.shipper.close()
    assert len(rig.sink.sequences) - 300 <= 300 / 8 + 2 * lives


async def test_memory_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog of 200 MB is read two megabytes at a time and sent by half of one, none is kept, none is skipped."""
    per_line, lines = 64, 64
    block = b"".join(line(range(n * per_line, (n + 1) * per_line), "x" * 800) for n in range(lines))
    count = 200_000_000 // len(block) // 2
    files = make(rig.root, block * count, block * count)
    sizes: list[int] = []
    read = backlog.Backlog.read

    def measured(self: backlog.Backlog, limit: int = backlog.READ) -> backlog.ReadLines:
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
    assert backlog.BODY < max(sizes) <= backlog.READ
    assert max(bodies) <= backlog.BODY
    assert sum(sizes) == 2 * count * len(block)
    assert rig.counters.shipped == 2 * count * lines * per_line
