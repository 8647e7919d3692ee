"""The outbox's promises: whole lines or nothing, what was synced stays, a full or failing disk is said and mended."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import Outbox, OutboxError
from predictor.outbox import outbox as outbox_module
from predictor.outbox.layout import SignalFiles
from predictor.outbox.quota import Usage
from predictor.outbox.writing import segment_sync, segment_writer
from predictor.outbox.writing.segment_file import RESERVE_BYTES
from tests.support import external_programs
from tests.support.server import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.faulty_disk import Faulty

LIMIT = 1 << 30


@pytest.fixture
def usage(tmp_path: Path) -> Usage:
    """Return a bound that is far away."""
    return Usage(tmp_path, LIMIT)


def lines(count: int, size: int = 20) -> list[bytes]:
    """Return distinct lines of `size` bytes."""
    return [f"{number:0{size - 1}d}\n".encode() for number in range(count)]


def names(folder: Path) -> set[str]:
    """Return what is in a folder."""
    return {path.name for path in folder.iterdir()}


def kept(files: SignalFiles) -> list[bytes]:
    """Return what a reader finds."""
    return list(files.lines())


async def test_append_is_read_back(files: SignalFiles, usage: Usage) -> None:
    """What was appended is what a reader finds, at once and in order, over several segments."""
    outbox = Outbox(files, usage, fsync="second", segment_bytes=100)
    for line in lines(30):
        outbox.append(line)
    assert kept(files) == lines(30)
    assert files.numbers() == [1, 2, 3, 4, 5, 6]
    assert usage.used == 600
    assert outbox.full is None
    await outbox.aclose()
    assert (files.segment(1).stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize("stop", [0, 1, 19])
async def test_short_write_leaves_nothing(files: SignalFiles, usage: Usage, disk: Faulty, stop: int) -> None:
    """A line that was written in part is cut away before anything else is written, and its caller is told."""
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    first, second, third = lines(3)
    outbox.append(first)
    disk.short = [stop]
    with pytest.raises(OutboxError, match=f"No space left on device after {stop} of 20 bytes") as raised:
        outbox.append(second)
    assert raised.value.reason == outbox.full == "disk"
    assert files.segment(1).read_bytes() == first
    await outbox.maintain()
    outbox.append(third)
    assert kept(files) == [first, third]
    assert files.numbers() == [1]
    await outbox.aclose()


async def test_failed_truncation_abandons_the_segment(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """A torn line that cannot be cut away stays alone at a segment's end: the next line begins a new segment."""
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    first, second, third = lines(3)
    outbox.append(first)
    disk.short = [7]
    disk.fail("ftruncate", errno.EIO)
    with pytest.raises(OutboxError):
        outbox.append(second)
    await outbox.maintain()
    assert outbox.full is None
    outbox.append(third)
    assert files.segment(1).read_bytes() == first + second[:7]
    assert kept(files) == [first, third]
    await outbox.aclose()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
async def test_failed_write_is_full_until_mended(files: SignalFiles, usage: Usage, disk: Faulty, number: int) -> None:
    """After a failed write nothing touches the disk until `maintain` has mended the outbox."""
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    first, second = lines(2)
    disk.fail("write", number)
    with pytest.raises(OutboxError, match=os.strerror(number)):
        outbox.append(first)
    disk.fail("write", errno.ENOTTY)  # would be seen if anything were written
    with pytest.raises(OutboxError, match=os.strerror(number)):
        outbox.append(first)
    assert outbox.full == "disk"
    disk.faults.clear()
    await outbox.maintain()
    assert outbox.full is None
    outbox.append(second)
    assert kept(files) == [second]
    await outbox.aclose()


async def test_space_is_probed_before_lines_are_taken_again(
    files: SignalFiles, usage: Usage, disk: Faulty, tmp_path: Path
) -> None:
    """A disk without room for as much as the reserve again stays full, though a reserve is still there."""
    outbox = Outbox(files, usage, fsync="second", disk=disk, reserve=tmp_path / "reserve")
    disk.fail("write", errno.ENOSPC)
    disk.fail("allocate", errno.ENOSPC)
    with pytest.raises(OutboxError):
        outbox.append(lines(1)[0])
    await outbox.maintain()
    assert outbox.full == "disk"
    await outbox.maintain()
    assert outbox.full is None
    assert names(tmp_path) == {"logs", "reserve"}
    await outbox.aclose()


async def test_segment_that_cannot_be_opened(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """An outbox whose first segment cannot be made begins as full and is mended like any other."""
    disk.fail("open", errno.ENOSPC, errno.ENOSPC)
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    assert outbox.full == "disk"
    with pytest.raises(OutboxError, match="No space"):
        outbox.append(lines(1)[0])
    await outbox.maintain()
    assert outbox.full == "disk"
    await outbox.maintain()
    outbox.append(lines(1)[0])
    assert kept(files) == lines(1)
    await outbox.aclose()


async def test_roll_that_fails_refuses_the_line(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """A line for which no new segment can be made is refused; the ones before it stay."""
    outbox = Outbox(files, usage, fsync="second", disk=disk, segment_bytes=20)
    first, second = lines(2)
    outbox.append(first)
    disk.fail("open", errno.EMFILE)
    with pytest.raises(OutboxError, match="Too many open files"):
        outbox.append(second)
    await outbox.maintain()
    outbox.append(second)
    assert kept(files) == [first, second]
    await outbox.aclose()


async def test_bound_refuses_until_there_is_room_again(files: SignalFiles, disk: Faulty, tmp_path: Path) -> None:
    """At the bound lines are refused; they are taken again when a little more than nothing is free."""
    outbox = Outbox(files, bound := Usage(tmp_path, 6400), fsync="second", disk=disk)
    line = b"x" * 63 + b"\n"
    for _ in range(100):
        outbox.append(line)
    assert outbox.full == "bytes"
    with pytest.raises(OutboxError, match="6400 of 6400 bytes") as raised:
        outbox.append(line)
    assert raised.value.reason == "bytes"
    await outbox.maintain()
    assert outbox.full == "bytes"
    os.truncate(files.segment(1), 6400 - 99)  # another process shipped a little
    await outbox.maintain()
    assert outbox.full == "bytes", "less than a 64th of the bound is free"
    os.truncate(files.segment(1), 6400 - 100)
    await outbox.maintain()
    assert outbox.full is None
    assert bound.used == 6300
    outbox.append(line)
    await outbox.aclose()


async def test_urgent_lines_pass_the_bound_by_the_reserve(files: SignalFiles, tmp_path: Path) -> None:
    """Stream events are written past the bound, as far as the reserve reaches, and no further; a part is for the end.

    Whatever others write there meanwhile takes nothing of it.
    """
    outbox = Outbox(files, usage := Usage(tmp_path, 1 << 20), fsync="second", reserve=tmp_path / "reserve")
    usage.add(4 << 20)
    line = b"x" * 65535 + b"\n"
    for _ in range(3):
        outbox.append(line[100:], urgent=True)
    with pytest.raises(OutboxError, match="1048576 bytes"):
        outbox.append(line[100:], urgent=True)
    outbox.begin_last_words()
    outbox.append(line[100:], urgent=True)
    with pytest.raises(OutboxError, match="1048576 bytes"):
        outbox.append(line, urgent=True)
    assert len(kept(files)) == 4
    with pytest.raises(OutboxError):
        outbox.append(b"\n")
    await outbox.maintain()  # counts again: there is room
    outbox.append(line)
    usage.add(4 << 20)
    outbox.append(line[100:], urgent=True)
    await outbox.aclose()


async def test_urgent_line_takes_the_reserve_of_a_full_disk(
    files: SignalFiles, usage: Usage, disk: Faulty, tmp_path: Path
) -> None:
    """On a full disk a stream event takes the place of the reserve, ordinary lines do not, and it is made again."""
    outbox = Outbox(files, usage, fsync="second", disk=disk, reserve=tmp_path / "reserve")
    first, second = lines(2)
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    disk.fail("write", errno.ENOSPC)
    outbox.append(first, urgent=True)
    assert not (tmp_path / "reserve").exists()
    with pytest.raises(OutboxError):
        outbox.append(second)
    disk.fail("write", errno.ENOSPC)
    with pytest.raises(OutboxError):
        outbox.append(second, urgent=True)
    await outbox.maintain()
    assert (tmp_path / "reserve").exists()
    outbox.append(second)
    assert kept(files) == [first, second]
    await outbox.aclose()
    assert not (tmp_path / "reserve").exists()


async def test_urgent_line_that_fails_twice_is_refused(
    files: SignalFiles, usage: Usage, disk: Faulty, tmp_path: Path
) -> None:
    """A stream event for which even the reserve is too small is refused and leaves nothing."""
    outbox = Outbox(files, usage, fsync="second", disk=disk, reserve=tmp_path / "reserve")
    disk.fail("write", errno.ENOSPC, errno.ENOSPC)
    with pytest.raises(OutboxError, match="No space"):
        outbox.append(lines(1)[0], urgent=True)
    assert kept(files) == []
    disk.fail("allocate", errno.ENOSPC, 0)
    await outbox.maintain()
    assert outbox.full == "disk"
    await outbox.maintain()
    assert outbox.full is None
    await outbox.aclose()


async def test_missing_reserve_is_made_again(files: SignalFiles, usage: Usage, tmp_path: Path) -> None:
    """A reserve that somebody removed is there again a second later."""
    outbox = Outbox(files, usage, fsync="never", reserve=tmp_path / "reserve")
    (tmp_path / "reserve").unlink()
    await outbox.maintain()
    assert (tmp_path / "reserve").stat().st_size == RESERVE_BYTES
    await outbox.aclose()


async def test_synced_shares_fsyncs(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """While one fsync runs all who come share the next one, and each waits until its own line is on disk."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    disk.gate.clear()
    done: list[int] = []

    async def write(number: int, line: bytes) -> None:
        outbox.append(line)
        await outbox.synced()
        done.append(number)

    tasks = [asyncio.create_task(write(0, lines(1)[0]))]
    await asyncio.to_thread(disk.entered.wait, 10)
    tasks += [asyncio.create_task(write(number, line)) for number, line in enumerate(lines(50), start=1)]
    await asyncio.sleep(0)
    assert done == []
    disk.gate.set()
    await asyncio.gather(*tasks)
    assert disk.syncs == 2
    assert done[0] == 0
    await outbox.synced()
    assert disk.syncs == 2, "nothing new, nothing to wait for"
    await outbox.aclose()


async def test_cancelled_waiter_harms_nobody(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """A caller that goes away while the fsync runs does not take it from the others."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    disk.gate.clear()
    outbox.append(lines(1)[0])
    leaves, stays = asyncio.create_task(outbox.synced()), asyncio.create_task(outbox.synced())
    await asyncio.to_thread(disk.entered.wait, 10)
    leaves.cancel()
    disk.gate.set()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await leaves
    await outbox.aclose()


@pytest.mark.parametrize("mode", ["second", "never"])
async def test_synced_waits_in_mode_batch_only(files: SignalFiles, usage: Usage, disk: Faulty, mode: str) -> None:
    """In the other modes an answer never waits for the disk; `second` syncs with `maintain`, `never` never."""
    outbox = Outbox(files, usage, fsync=mode, disk=disk, segment_bytes=20)  # type: ignore[arg-type]
    for line in lines(3):
        outbox.append(line)
    await outbox.synced()
    assert disk.syncs == 0
    await outbox.maintain()
    assert disk.syncs == (3 if mode == "second" else 0), "the rolled segments and the current one"
    await outbox.maintain()
    await outbox.aclose()
    assert disk.syncs == (3 if mode == "second" else 0), "nothing new"


@pytest.mark.parametrize("call", ["fsync", "sync_directory"])
async def test_failed_fsync_writes_once_more(files: SignalFiles, usage: Usage, disk: Faulty, call: str) -> None:
    """After a failed fsync what was written since the last good one stands again, byte for byte, in a new segment."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    first, second, third = lines(3)
    if call == "fsync":
        outbox.append(first)
        await outbox.synced()
    disk.fail(call, errno.EIO)
    outbox.append(second)
    outbox.append(third)
    await outbox.synced()
    assert files.segment(2).read_bytes() == second + third
    assert outbox.full is None
    syncs = disk.syncs
    outbox.append(first)
    await outbox.synced()
    assert disk.syncs == syncs + 1, "the failed segment is never synced again"
    assert files.segment(2).read_bytes() == second + third + first
    await outbox.aclose()


async def test_failed_fsync_of_a_rolled_segment_writes_all_once_more(
    files: SignalFiles, usage: Usage, disk: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of every segment since the last good fsync are written once more, whichever of them failed."""
    outbox = Outbox(files, usage, fsync="second", disk=disk, segment_bytes=40)
    monkeypatch.setattr(segment_sync, "_COPY_BYTES", 50)
    for line in lines(5):
        outbox.append(line)
    disk.fail("fsync", 0, errno.EIO)
    await outbox.maintain()
    assert files.numbers() == [1, 2, 3, 4]
    assert files.segment(4).read_bytes() == b"".join(lines(5))
    await outbox.aclose()


async def test_lines_are_refused_while_they_are_written_once_more(
    files: SignalFiles, usage: Usage, disk: Faulty
) -> None:
    """Between a failed fsync and its repair nothing is taken, however urgent, so that no line can be left out."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    outbox.append(lines(1)[0])
    disk.fail("fsync", errno.EIO, errno.EIO)
    with pytest.raises(OutboxError, match="Input/output error"):
        await outbox.synced()
    for urgent in (False, True):
        outbox._failure = None  # as it is while the copy is being written
        assert outbox.full == "disk"
        with pytest.raises(OutboxError, match="once more"):
            outbox.append(lines(1)[0], urgent=urgent)
    await outbox.aclose()
    assert files.segment(max(files.numbers())).read_bytes() == lines(1)[0]


async def test_second_failure_is_told_and_mended_later(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """If writing once more fails too, all who wait are told; the lines are kept and brought to disk later."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    for line in lines(3):
        outbox.append(line)
    disk.fail("fsync", errno.EIO, errno.EIO)
    results = await asyncio.gather(*(outbox.synced() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OutboxError] * 3
    assert outbox.full == "disk"
    disk.fail("write", errno.ENOSPC)
    await outbox.maintain()
    assert outbox.full == "disk"
    assert files.numbers() == [1], "a copy that failed leaves nothing behind"
    await outbox.maintain()
    assert outbox.full is None
    await outbox.synced()
    assert files.segment(max(files.numbers())).read_bytes() == b"".join(lines(3))
    await outbox.aclose()


async def test_line_appended_while_a_failing_fsync_runs_is_not_left_out(
    files: SignalFiles, usage: Usage, disk: Faulty
) -> None:
    """A line that came while the fsync ran which then failed is written once more with the others."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    first, second = lines(2)
    outbox.append(first)
    disk.gate.clear()
    disk.fail("fsync", errno.EIO)
    waiting = [asyncio.create_task(outbox.synced())]
    await asyncio.to_thread(disk.entered.wait, 10)
    outbox.append(second)
    waiting.append(asyncio.create_task(outbox.synced()))
    disk.gate.set()
    await asyncio.gather(*waiting)
    assert files.segment(2).read_bytes() == first + second
    await outbox.aclose()


async def test_fsync_too_far_behind_is_full(
    files: SignalFiles, usage: Usage, disk: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that wait for fsync take no more memory than is allowed: then the outbox is full, until they are synced."""
    monkeypatch.setattr(outbox_module, "UNSYNCED_BYTES", 50)
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    for line in lines(3):
        outbox.append(line)
    assert outbox.full == "sync"
    with pytest.raises(OutboxError, match="behind"):
        outbox.append(lines(1)[0])
    await outbox.maintain()
    assert outbox.full is None
    outbox.append(lines(1)[0])
    await outbox.aclose()


@pytest.mark.parametrize("fault", [0, errno.EIO])
async def test_much_is_synced_before_the_second_is_over(
    files: SignalFiles, usage: Usage, disk: Faulty, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """A fast writer is not refused for what the disk was not yet asked to sync; a failure of that sync is mended."""
    monkeypatch.setattr(segment_writer, "SYNC_BYTES", 50)
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    if fault:
        disk.fail("fsync", fault)
    first, *_ = written = lines(3)
    for line in written:
        outbox.append(line)
    assert disk.syncs == 0  # it runs in a thread, which the loop starts
    await until(lambda: outbox._writer.unsynced_bytes == 0)
    assert disk.syncs == (2 if fault else 1)
    assert outbox.full is None
    outbox.append(first)
    assert outbox._writer.unsynced_bytes == len(first)
    await outbox.aclose()
    assert kept(files) == [*(written if fault else []), *written, first]


async def test_dropping_the_oldest(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """With `drop_oldest` nothing is refused for bytes or synced: the oldest segments go, and the bytes stay bounded."""
    outbox = Outbox(files, tight := Usage(files.folder, 10), fsync="never", disk=disk, drop_oldest=True, own_limit=400)
    for line in lines(100):
        outbox.append(line)
        assert files.backlog(files.cursor()) <= 400
    assert outbox.full is None
    found = kept(files)
    assert found == lines(100)[-len(found) :]
    assert len(found) >= 15
    await outbox.maintain()
    await outbox.aclose()
    assert disk.syncs == 0
    assert tight.used == usage.used == 0, "a sample costs no record"


async def test_age_begins_a_new_segment(files: SignalFiles, usage: Usage) -> None:
    """A segment that is old enough is completed, so that a ring can let it go; an empty one stays."""
    now = 0.0
    outbox = Outbox(files, usage, fsync="second", segment_age=60, clock=lambda: now)
    now = 61
    await outbox.maintain()
    assert files.numbers() == [1]
    outbox.append(lines(1)[0])
    await outbox.maintain()
    assert files.numbers() == [1, 2]
    await outbox.aclose()


async def test_errors_are_said_once_a_minute(
    files: SignalFiles, usage: Usage, disk: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    """A lasting fault is one line a minute with its cause and path; that it is over is said too."""
    caplog.set_level(logging.INFO, "predictor.outbox")
    now = 0.0
    outbox = Outbox(files, usage, fsync="second", disk=disk, clock=lambda: now)
    for moment in (1.0, 2.0, 61.5):
        now = moment
        disk.fail("write", errno.EIO)
        with pytest.raises(OutboxError):
            outbox.append(lines(1)[0])
        await outbox.maintain()
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(";")[0] for message in messages] == [
        f"{files.folder} cannot be written: Input/output error",
        f"{files.folder} is written again",
        f"{files.folder} cannot be written: Input/output error",
        f"{files.folder} is written again",
    ]
    disk.fail("fsync", errno.EIO)
    outbox.append(lines(1)[0])
    await outbox.maintain()
    assert "fsync" in caplog.messages[-1]
    await outbox.aclose()


async def test_unknown_usage_is_said(
    files: SignalFiles, usage: Usage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that cannot be counted stops nothing, and is said."""

    def scan() -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(usage, "scan", scan)
    outbox = Outbox(files, usage, fsync="second")
    await outbox.maintain()
    assert "Permission denied" in caplog.text
    outbox.append(lines(1)[0])
    await outbox.aclose()


async def test_closing_syncs_and_refuses_then(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """Closing brings all to disk; closing again does nothing; nothing is taken any more."""
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    outbox.append(lines(1)[0])
    await outbox.aclose()
    assert disk.syncs == 1
    await outbox.aclose()
    assert disk.syncs == 1
    for urgent in (False, True):
        with pytest.raises(OutboxError, match="closed"):
            outbox.append(lines(1)[0], urgent=urgent)
    await outbox.maintain()
    assert outbox.full == "disk"


async def test_closing_tells_what_is_not_on_disk(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """Closing on a failing disk tries once more and then says so."""
    outbox = Outbox(files, usage, fsync="second", disk=disk)
    outbox.append(lines(1)[0])
    disk.fail("fsync", errno.EIO, errno.EIO)
    with pytest.raises(OutboxError, match="Input/output"):
        await outbox.aclose()


def test_closing_without_a_loop(files: SignalFiles, usage: Usage, disk: Faulty) -> None:
    """`close` does the same where no event loop runs."""
    outbox = Outbox(files, usage, fsync="batch", disk=disk)
    outbox.append(lines(1)[0])
    outbox.close()
    assert disk.syncs == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        [external_programs.on_path("mount"), "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_real_full_disk(small_disk: Path) -> None:
    """On a disk that is really full: no torn line, the last words fit into the reserve, and room mends it."""
    files = SignalFiles(small_disk / "logs")
    files.folder.mkdir()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    outbox = Outbox(files, Usage(small_disk, LIMIT), fsync="batch", reserve=small_disk / "reserve")
    line = b"x" * 1999 + b"\n"  # no divisor of the page: the disk ends in the middle of a line
    with pytest.raises(OutboxError, match="No space left on device"):  # noqa: PT012 - which one fails is the disk's
        for taken in range(1000):  # noqa: B007 - the count is what is asked for
            outbox.append(line)
    assert taken > 100
    assert files.segment(1).stat().st_size == taken * len(line)
    await outbox.maintain()
    assert outbox.full == "disk"
    last_words = b"last words" * 1000 + b"\n"
    outbox.append(last_words, urgent=True)
    await outbox.synced()
    assert kept(files) == [line] * taken + [last_words]
    await outbox.maintain()
    assert outbox.full == "disk"
    ballast.unlink()
    await outbox.maintain()
    assert outbox.full is None
    assert (small_disk / "reserve").exists()
    outbox.append(line)
    await outbox.synced()
    assert len(kept(files)) == taken + 2
    await outbox.aclose()


WRITER = """
import sys
from pathlib import Path
from predictor.outbox.quota import Usage
from predictor.outbox import Outbox
from predictor.outbox.layout import SignalFiles
outbox = Outbox(SignalFiles(Path(sys.argv[1])), Usage(Path(sys.argv[1]), 1 << 30), fsync="second", segment_bytes=5000)
number = 0
while True:
    outbox.append(b"%d " % number + b"x" * (number % 300) + b"\\n")
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("reported", [1, 40, 400])
def test_killed_writer_loses_nothing_that_it_reported(files: SignalFiles, reported: int) -> None:
    """A process killed with SIGKILL in the middle of its work has left every line that it had said was written."""
    with subprocess.Popen([sys.executable, "-c", WRITER, files.folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(reported):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        reported += len(process.stdout.read().splitlines())
    numbers = [int(line.split()[0]) for line in kept(files)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= reported
