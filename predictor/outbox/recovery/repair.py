"""Repairs a dead process's stream: cuts the torn tail, adds the closing record."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from predictor import otlp
from predictor.outbox.layout import Cursor, file_size, open_regular, sync_directory
from predictor.outbox.modes import make_folder
from predictor.outbox.recovery.gaps import Seen
from predictor.outbox.recovery.undeclared import undeclared
from predictor.outbox.writing import watermark
from predictor.outbox.writing.last_resort import bring_back
from predictor.outbox.writing.segment_file import DiskCalls, SegmentFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from predictor.outbox.layout import SignalFiles, StreamFiles
    from predictor.outbox.recovery.undeclared import Undeclared, UndeclaredRange

log = logging.getLogger(__name__)
CLOSED = "prediction.stream.closed"
_READ_BYTES = 1 << 20


class Closing(Protocol):
    """Makes the last line of a dead process's stream."""

    def __call__(self, head: bytes, sequence: int, lost: Sequence[UndeclaredRange], /) -> bytes:
        """Return a line under `head` that declares these ranges lost and closes; `sequence` is its first number."""


class _Last(NamedTuple):
    """The last record: number, event name; where the last good line of the last segment ends; all numbers."""

    sequence: int
    event: str
    end: int
    seen: Seen


def repair(files: StreamFiles, closing: Closing, *, disk: DiskCalls | None = None) -> None:
    """Cut the torn tail and append what `closing` returns unless the stream is closed (blocking).

    After a power cut also whole lines at the end that are damaged are cut; one with good lines after it stays, for
    the sink to refuse. No number is given twice: where cursor or watermark know of later ones than the files, where
    the files have a gap, or the process left lost ones undeclared, the closing line declares them. A cursor
    that cannot be is replaced. Killed at any point, doing it again ends in the same. Raises OSError, and ValueError if
    `closing` did not return a line.
    """
    files.reserve.unlink(missing_ok=True)  # the room for the closing record on a full disk
    logs = files.signal("logs")
    make_folder(logs.folder, exist_ok=True)
    number = max(logs.numbers(), default=0)
    cursor = logs.cursor()
    # A gigabyte that is kept need not be read again at every start.
    if not (number and _ends_closed(logs.segment(number))):
        if rescued := bring_back(files, disk or DiskCalls()):
            log.info("stream %s: took back what was rescued to %s", files.stream_id, rescued)
            number = max(logs.numbers())
        _close(files, closing, cursor, number, disk or DiskCalls())
    files.undeclared.unlink(missing_ok=True)
    logs.mend_cursor(cursor)


def close_shipped(files: StreamFiles, closing: Closing, disk: DiskCalls | None = None) -> None:
    """Put what `closing` returns in the place of a stream of which the sink has all that is there (blocking).

    For a disk that has no room for the closing record: nothing else would ever make any. Raises as `repair` does.
    """
    disk = disk or DiskCalls()
    logs = files.signal("logs")
    number = max(logs.numbers(), default=0)
    path, cursor = logs.segment(number), logs.cursor()
    last = _last(logs, cursor, number)
    if last.event == CLOSED or (number and _ends_closed(path)):
        return
    line = _closing_line(files, closing, cursor, last)
    if file_size(path) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    # Over what has its place on the disk, and cut afterwards: killed in between, the closing record is there.
    disk.overwrite(path, line)
    for shipped in logs.numbers():
        if shipped < number:
            logs.segment(shipped).unlink(missing_ok=True)
    sync_directory(logs.folder)
    files.undeclared.unlink(missing_ok=True)


def _closing_line(files: StreamFiles, closing: Closing, cursor: Cursor, last: _Last) -> bytes:
    left = undeclared(files)
    logs = files.signal("logs")
    next_one = max(last.sequence, left.sequence, watermark.stored(logs)) + 1
    lost = [*left.lost, *_unknown(logs, cursor, last), *_gone(logs, cursor, last, left, next_one)]
    line = closing(_head(files), next_one, lost)
    if not otlp.well_formed("logs", line):
        message = "its lock does not hold the beginning of a line"
        raise ValueError(message)
    return line


def _close(files: StreamFiles, closing: Closing, cursor: Cursor, number: int, disk: DiskCalls) -> None:
    logs = files.signal("logs")
    last = _last(logs, cursor, number)
    line = b"" if last.event == CLOSED else _closing_line(files, closing, cursor, last)
    # Nothing is written before the cursor, it would not be read.
    if number and cursor.segment <= number:
        _write(SegmentFile(disk, logs.segment(number), keep=last.end), line)
    elif line:
        number += 1
        while os.path.lexists(logs.segment(number)):  # no file, so it is no segment
            number += 1
        _write(SegmentFile(disk, logs.segment(number)), line)
    sync_directory(logs.folder)


def _head(files: StreamFiles) -> bytes:
    with open_regular(files.lock) as file:
        return file.read()


def _unknown(logs: SignalFiles, cursor: Cursor, last: _Last) -> list[UndeclaredRange]:
    """Return the numbers up to the cursor's that the files should hold and do not."""
    if last.sequence > cursor.sequence or logs.number_before(cursor) == cursor.sequence:
        return []
    highest = _last(logs, Cursor(), 0).sequence
    return [(highest + 1, cursor.sequence, "disk")] if 0 < highest < cursor.sequence else []


def _gone(logs: SignalFiles, cursor: Cursor, last: _Last, left: Undeclared, before: int) -> list[UndeclaredRange]:
    """Return the numbers after the cursor's, and below `before`, that were given and are in no file and not declared.

    A power cut, or whoever removed a segment, has taken them; the sink may have some.
    """
    for first, end, _ in left.lost:
        last.seen.add(first, end)
    # Without a cursor nobody knows what was shipped and removed before the oldest segment that is left.
    whole = cursor.sequence or logs.numbers()[:1] in ([], [1])
    after = cursor.sequence if whole else last.seen.first - 1
    return [(first, end, "disk") for first, end in last.seen.gaps(after, before)]


def _write(segment: SegmentFile, line: bytes) -> None:
    try:
        segment.append(line)
        segment.sync()
    finally:
        segment.close()


def _last(logs: SignalFiles, cursor: Cursor, number: int) -> _Last:
    """Read every line after the cursor; the numbers need not ascend: copies follow a failed fsync."""
    sequence, event, seen = cursor.sequence, "", Seen()
    segment, offset = cursor.segment, cursor.offset
    end = offset if segment == number else 0
    while (batch := logs.read(segment, offset, _READ_BYTES)).lines:
        lines, segment, offset = batch
        at = offset - sum(map(len, lines))
        for line in lines:
            at += len(line)
            if not otlp.well_formed("logs", line):
                continue
            seen.add_line(line)
            if (found := otlp.last_sequence(line)) >= sequence:
                sequence, event = found, otlp.last_event(line)
            if segment == number:
                end = at
    return _Last(sequence, event, end, seen)


def _ends_closed(path: Path) -> bool:
    """Tell whether the file's last line is whole and is the closing record."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
        data = file.read()
    line = data[data.rfind(b"\n", 0, -1) + 1 :]
    return otlp.well_formed("logs", line) and otlp.last_event(line) == CLOSED
