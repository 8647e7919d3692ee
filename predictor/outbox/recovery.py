"""What a dead process left of its stream, made whole: the torn tail cut, the closing record added."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from predictor import otlp
from predictor.outbox.disk import Disk, Segment
from predictor.outbox.segments import Cursor, file_size, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.outbox.segments import SignalFiles, StreamFiles

Closing = Callable[[bytes, int], bytes]
CLOSED = "prediction.stream.closed"
_READ_BYTES = 1 << 20


class _Last(NamedTuple):
    """The last record's number and event name, and where the last good line of the last segment ends."""

    sequence: int
    event: str
    end: int


def repair(files: StreamFiles, closing: Closing, *, disk: Disk | None = None) -> None:
    """Cut the torn tail and append `closing(head, last number + 1)` unless the stream is closed (blocking).

    After a power cut also whole lines at the end that are damaged are cut; one with good lines after it stays, for
    the sink to refuse. Killed at any point, doing it again ends in the same. Raises OSError, and ValueError if
    `closing` did not return a line.
    """
    files.reserve.unlink(missing_ok=True)  # the room for the closing record on a full disk
    logs = files.signal("logs")
    logs.folder.mkdir(mode=0o700, exist_ok=True)
    number = max(logs.numbers(), default=0)
    if number and _ends_closed(logs.segment(number)):
        return  # a gigabyte that is kept need not be read again at every start
    cursor = logs.cursor()
    last = _last(logs, cursor, number)
    if last.event == CLOSED:
        line = b""
    else:
        line = closing(files.lock.read_bytes(), last.sequence + 1)
        if not otlp.well_formed("logs", line):
            message = "its lock does not hold the beginning of a line"
            raise ValueError(message)
    disk = disk or Disk()
    # Nothing is written where the cursor has passed already, it would not be read, nor behind half a line.
    path = logs.segment(number)
    new = (cursor.segment, cursor.offset) > (number, file_size(path))
    if not new:
        new = _inside_line(path, last.end)
        _write(Segment(disk, path, keep=last.end), b"" if new else line)
    if new and line:
        number = max(number + 1, cursor.segment + (cursor.offset > 0))
        _write(Segment(disk, logs.segment(number)), line)
    sync_directory(logs.folder)


def _write(segment: Segment, line: bytes) -> None:
    try:
        segment.append(line)
        segment.sync()
    finally:
        segment.close()


def _inside_line(path: Path, offset: int) -> bool:
    """Tell whether `offset` is not the end of a line: garbage has taken the place of what the cursor has passed."""
    if offset == 0:
        return False
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) != b"\n"


def _last(logs: SignalFiles, cursor: Cursor, number: int) -> _Last:
    """Read every line after the cursor; the numbers need not ascend: copies follow a failed fsync."""
    sequence, event = cursor.sequence, ""
    segment, offset = cursor.segment, cursor.offset
    end = offset if segment == number else 0
    while (batch := logs.read(segment, offset, _READ_BYTES)).lines:
        lines, segment, offset = batch
        at = offset - sum(map(len, lines))
        for line in lines:
            at += len(line)
            if not otlp.well_formed("logs", line):
                continue
            if (found := otlp.last_sequence(line)) >= sequence:
                sequence, event = found, otlp.last_event(line)
            if segment == number:
                end = at
    return _Last(sequence, event, end)


def _ends_closed(path: Path) -> bool:
    """Tell whether the file's last line is whole and is the closing record."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
        data = file.read()
    line = data[data.rfind(b"\n", 0, -1) + 1 :]
    return otlp.well_formed("logs", line) and otlp.last_event(line) == CLOSED
