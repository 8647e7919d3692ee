"""What may be sent is on disk before: the pace of the syncs, how far the shipper reads, what dead processes left."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import Outbox, OutboxError
from predictor.outbox.layout import Cursor, SignalFiles
from predictor.outbox.ownership import adopt, create
from predictor.outbox.quota import Usage
from predictor.outbox.writing import segment_sync, watermark
from predictor.outbox.writing.segment_contents import Contents
from predictor.shipping.backlog import Backlog
from tests.support import scripted_sink
from tests.support.server import serve, until
from tests.support.shipper_rig import Rig
from tests.support.stream_files import line, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from predictor.outbox.outbox import Fsync
    from predictor.outbox.writing.segment_file import SegmentFile
    from tests.support.faulty_disk import Faulty


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with scripted_sink.serve() as takes:
        yield Rig(takes, tmp_path)


def made(files: SignalFiles, disk: Faulty, fsync: Fsync = "second", **more: object) -> Outbox:
    """Return an outbox that ships, and keeps its pace."""
    outbox = Outbox(files, Usage(files.folder, 1 << 30), fsync=fsync, disk=disk, marks=True, **more)  # type: ignore[arg-type]
    outbox.keep_pace()
    return outbox


async def test_a_lone_line_is_synced_at_once(files: SignalFiles, disk: Faulty) -> None:
    """In mode `second` the first line after a second of rest is on disk without anybody asking, the next ones later."""
    outbox = made(files, disk)
    first, second = line([1]), line([2])
    outbox.append(first)
    await until(lambda: outbox.durable() == (1, len(first)))
    outbox.append(second)
    assert not outbox._writer.rested
    assert disk.syncs == 1
    outbox._writer._at_pace()  # the second is over
    await until(lambda: outbox.durable() == (1, len(first + second)))
    assert disk.syncs == 2
    outbox._writer._at_pace()
    assert outbox._writer.rested
    await outbox.aclose()


async def test_a_line_beside_a_running_look_is_synced(
    files: SignalFiles, disk: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that comes while the outbox only looks whether its file is there does not wait for the next one."""
    outbox = made(files, disk)
    looks, go_on = threading.Event(), threading.Event()

    def removed_of(_: object) -> list[SegmentFile]:
        looks.set()
        go_on.wait(10)
        return []

    monkeypatch.setattr(segment_sync, "removed_of", removed_of)
    looking = asyncio.create_task(outbox.maintain())
    await asyncio.to_thread(looks.wait, 10)
    outbox.append(line([1]))
    go_on.set()
    await looking
    await until(lambda: outbox.durable() == (1, len(line([1]))))
    await outbox.aclose()


async def test_nothing_is_durable_while_the_disk_fails(files: SignalFiles, disk: Faulty) -> None:
    """After a failed fsync nothing may be sent, until the lines stand once more elsewhere."""
    outbox = made(files, disk)
    disk.fail("fsync", errno.EIO, errno.EIO)
    outbox.append(line([1]))
    await until(lambda: outbox.problem is not None)
    await until(lambda: outbox._writer._syncing is None)
    assert outbox.durable() == (0, 0)
    await outbox.maintain()
    assert outbox.durable() == (max(files.numbers()), len(line([1])))
    assert outbox.problem is None
    await outbox.aclose()


async def test_without_fsync_the_highest_number_is_durable_first(
    files: SignalFiles, disk: Faulty, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In mode `never` what may be sent is bounded by the stored number; if that cannot be stored, writing goes on."""
    outbox = made(files, disk, "never")
    outbox.append(line([1, 2]))
    await until(lambda: outbox.durable() == (1, len(line([1, 2]))))
    assert watermark.stored(files) == 2
    assert disk.syncs == 0

    def store(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(watermark, "store", store)
        outbox.append(line([3]))
        outbox._writer._at_pace()
        await until(lambda: outbox.problem is not None)
    assert outbox.full is None
    assert outbox.durable() == (1, len(line([1, 2])))
    assert "nothing newer is shipped: Input/output error" in caplog.text
    await outbox.aclose()
    assert watermark.stored(files) == 3


async def test_a_removed_file_that_cannot_be_read_is_declared(files: SignalFiles, disk: Faulty) -> None:
    """What a removed file held and memory no longer has is named by its numbers; what is in memory is written anew."""
    outbox = Outbox(files, Usage(files.folder, 1 << 30), fsync="second", disk=disk)
    outbox.append(line([1, 2]))
    outbox.append(line([3]))
    await outbox.maintain()
    outbox.append(line([4, 5]))
    files.segment(1).unlink()
    disk.fail("read", errno.EIO)
    await outbox.maintain()
    assert list(files.lines()) == [line([4, 5])]
    assert await outbox.lost(lambda: 1) == [(2, 3)]
    assert await outbox.lost(lambda: 1) == []
    await outbox.aclose()


async def test_what_the_shipper_has_removed_is_not_lost(files: SignalFiles, disk: Faulty) -> None:
    """Only complete segments that nobody has read are lost when they are gone, and only once."""
    outbox = Outbox(files, Usage(files.folder, 1 << 30), fsync="batch", disk=disk, segment_bytes=1)
    for number in range(1, 6):
        outbox.append(line([number]))
    files.segment(1).unlink()
    assert await outbox.lost(lambda: 0) == [], "it is in memory"
    await outbox.synced()
    again = files.numbers()[-1]
    assert list(files.lines())[-5:] == [line([number]) for number in range(1, 6)]
    for number in (2, 3, 4):
        files.segment(number).unlink()
    assert await outbox.lost(lambda: 3) == [], "they are in the new one too"
    outbox.append(line([6]))
    await outbox.synced()
    files.segment(again).unlink()
    assert await outbox.lost(lambda: 3) == [(4, 5)]
    await outbox.aclose()


def test_contents_forget_what_was_read() -> None:
    """A segment that was read to its end is no longer missed, and one without records never was."""
    contents = Contents()
    contents.complete(1, 4)
    contents.complete(2, 4)
    contents.complete(3, 9)
    assert contents.before(None) == {1, 3}
    assert contents.before(9) == {1}
    assert contents.lost({1}, 4) == []
    assert contents.before(None) == {3}
    assert contents.lost({3}, 6) == [(7, 9)]
    assert contents.before(None) == set()


@pytest.mark.parametrize(
    ("durable", "read"),
    [((0, 0), []), ((1, 1), [1]), ((1, 2), [1, 2]), ((2, 0), [1, 2]), ((2, 1), [1, 2, 3]), ((9, 0), [1, 2, 3, 4])],
)
def test_no_line_is_read_before_it_is_durable(tmp_path: Path, durable: tuple[int, int], read: list[int]) -> None:
    """The backlog of a stream that is written ends where its durable part ends, in the middle of a segment or not."""
    one = len(line([1]))
    backlog = Backlog("logs", make(tmp_path, line([1]) + line([2]), line([3]) + line([4])), lambda: 0.0)
    backlog.durable = lambda: (durable[0], durable[1] * one)
    found: list[bytes] = []
    while (batch := backlog.read()).found.lines:
        found += batch.found.lines
        backlog.take(batch)
    backlog.take(batch)
    assert found == [line([number]) for number in read]
    assert not backlog.behind
    assert not backlog.drained()
    assert backlog.reached() == max(read, default=0)


async def test_the_shipper_waits_for_the_disk(rig: Rig) -> None:
    """What is not durable stays, counts as left, and goes as soon as it is."""
    files = rig.stream([[1], [2]])
    rig.shipper.add(files)
    rig.shipper.hold_back(files, lambda: (1, len(line([1]))))
    assert await rig.shipper.drain(30) == len(line([2]))
    assert rig.sink.sequences == [1]
    assert not rig.shipper.drained(files)
    rig.shipper.hold_back(files, lambda: (2, 0))
    assert await rig.ship() == 0
    assert rig.sink.sequences == [1, 2]


async def test_a_removed_cursor_is_stored_again(rig: Rig) -> None:
    """The cursor is written anew although it has not moved: the number of the last record must not be forgotten."""
    files = rig.stream([[1], [2]])
    rig.shipper.add(files)
    await rig.shipper.drain(30)
    before = files.signal("logs").cursor()
    (files.signal("logs").folder / "cursor").unlink()
    await rig.ship()
    assert files.signal("logs").cursor() == before != Cursor()


def closing(_: bytes, sequence: int, __: object = ()) -> bytes:
    """Close a stream."""
    return line([sequence])


def dead(root: Path, *segments: bytes) -> SignalFiles:
    """Leave a stream as a killed process would."""
    owned = create(root, "0192-a", b"head")
    for number, content in enumerate(segments, start=1):
        owned.files.signal("logs").segment(number).write_bytes(content)
    owned.release()
    return owned.files.signal("logs")


def test_what_a_dead_process_left_is_synced_first(tmp_path: Path, disk: Faulty) -> None:
    """All segments that are not shipped are synced at the adoption, before any of it may be sent."""
    logs = dead(tmp_path, line([1]), line([2]), line([3]))
    logs.store_cursor(Cursor(2, 0, 1))
    disk.syncs = 0
    (owned,) = adopt(tmp_path, closing, disk=disk)
    assert owned.secured
    assert disk.syncs == 3, "the closing record, then both segments behind the cursor"
    owned.release()


def test_what_cannot_be_synced_is_written_once_more(
    tmp_path: Path, disk: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    """A segment whose fsync fails is copied; until then the stream is not sent, though a second fsync passes."""
    logs = dead(tmp_path, line([1]), line([2]))
    disk.fail("fsync", 0, errno.EIO, errno.EIO)
    before = logs.segment(1).stat().st_ino
    (owned,) = adopt(tmp_path, closing, disk=disk)
    assert not owned.secured
    assert owned.unsure == {1}
    assert "is not sent before that: Input/output error" in caplog.text
    owned.secure(disk)
    assert owned.secured
    assert owned.unsure == set()
    assert logs.segment(1).stat().st_ino != before
    assert list(logs.lines()) == [line([1]), line([2]), line([3])]
    assert sorted(path.name for path in logs.folder.iterdir()) == ["00000001.jsonl", "00000002.jsonl"]
    owned.release()


async def test_a_stream_is_sent_when_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that adopts a stream which it cannot sync tries again, and ships it then."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr("predictor.server.log_service._ADOPT_TICKS", 1)
    outbox = tmp_path / "outbox"
    dead(outbox, line([1]))
    broken = True

    def secure(*_: object) -> None:
        if broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("predictor.outbox.ownership.secure", secure)
    async with (
        scripted_sink.serve() as takes,
        serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=takes.url, OTEL_TRACES_EXPORTER="none") as here,
    ):
        await here.post("/predict", json={"data": [[1, 2, 3, 4]]})
        await takes.until(lambda: 2 in takes.sequences)
        assert b"setosa 0.971" not in b"".join(request.body for request in takes.accepted)
        broken = False
        await takes.until(lambda: b"setosa 0.971" in takes.accepted[-1].body)


async def test_urgent_lines_wait_too(files: SignalFiles, disk: Faulty) -> None:
    """While a removed file is written once more, nothing is taken, so that no line gets into the old one."""
    outbox = made(files, disk)
    outbox.append(line([1]))
    await until(lambda: outbox.durable() == (1, len(line([1]))))
    files.segment(1).unlink()
    disk.fail("open", errno.EROFS)
    outbox._writer.rested = True
    await outbox.maintain()
    assert outbox.full == "disk"
    for urgent in (False, True):
        with pytest.raises(OutboxError):
            outbox.append(line([2]), urgent=urgent)
    await outbox.maintain()
    assert outbox.full is None
    assert list(files.lines()) == [line([1])]
    await outbox.aclose()


async def test_a_segment_that_cannot_be_begun_moves_no_bound(files: SignalFiles, disk: Faulty) -> None:
    """What is durable ends in the segment that was synced, whatever number the next one was to have.

    `make chaos` found it: on a disk that went read-only a line was shipped that no sync had covered.
    """
    outbox = made(files, disk, segment_bytes=1)
    outbox.append(line([1]))
    disk.fail("open", errno.EROFS)
    with pytest.raises(OutboxError):
        outbox.append(line([2]))
    await until(lambda: outbox.durable() == (1, len(line([1]))))
    await outbox.aclose()
