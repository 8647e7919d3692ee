"""The outbox's files for readers: where they are, which lines they hold, how far they were shipped.

Layout of one stream (the write side is `outbox.py`)::

    <outbox>/v1/<stream id>/lock                      flock held by the owner; its content names resource and scope
    <outbox>/v1/<stream id>/reserve                   space for the last words while the stream is being written
    <outbox>/v1/<stream id>/{logs,traces}/00000001.jsonl
    <outbox>/v1/<stream id>/{logs,traces}/cursor      how far the sink has accepted
    <outbox>/v1/<stream id>/undeclared                lost numbers that the process could not declare before it ended
    <outbox>/v1/<stream id>/ended                     a mark: it is, or was, in `ended.jsonl`
    <outbox>/v1/ended.jsonl                           streams that have ended and that no later one names yet
    <outbox>/v1/<stream id>/rejected/<name>.json      what the sink refused for its content, one file an item
    <outbox>/v1/<stream id>/rejected/<name>.reason.json  what the sink answered to it
    <outbox>/v1/<stream id>/accept-rejections         an operator's word that the refusals which wait are to be believed

What has one of these names and is no regular file (a FIFO, a folder) is passed over: opening it could take for ever.
A line is complete when its newline is there; the writer may be adding to the last segment while we read.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from predictor import otlp
from predictor.outbox import segment_names
from predictor.outbox.modes import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

LAYOUT = "v1"
Signal = otlp.Signal
SIGNALS: tuple[Signal, ...] = ("logs", "traces")
_CURSOR_BYTES = 1024  # as much of a cursor is read; one has 60
_LINE_BYTES = 1 << 20  # before a cursor as much is looked at
# Nothing that is counted here comes near: a file of 8 PiB, or 10,000 records a second for 28,000 years.
_MOST = (1 << 53) - 1
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]


class Cursor(msgspec.Struct, frozen=True):
    """What lies before (segment, offset) needs no sending; `sequence` is the last number before it."""

    segment: Annotated[int, msgspec.Meta(ge=1, le=_MOST)] = 1
    offset: _Count = 0
    sequence: _Count = 0


class LineSlice(NamedTuple):
    """Complete lines as they are in one segment, newline included, and where reading goes on."""

    lines: list[bytes]
    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class SignalFiles:
    """The segments and the cursor of one signal of one stream."""

    folder: Path

    def segment(self, number: int) -> Path:
        """Return the path of segment `number` (from 1)."""
        return self.folder / segment_names.name(number)

    def numbers(self) -> list[int]:
        """Return the numbers of the segments that exist, ascending; empty if there is no folder."""
        return [number for number, regular in segment_names.found(self.folder) if regular]

    def irregular(self) -> list[Path]:
        """Return what is named as a segment and is no regular file: a FIFO, a folder, a link to nothing."""
        return [self.segment(number) for number, regular in segment_names.found(self.folder) if not regular]

    def read(self, segment: int, offset: int, limit: int) -> LineSlice:
        """Return complete lines from one segment: up to `limit` bytes, but always one line if there is one.

        No lines means that there is nothing more for now.
        A segment that is gone, or that ends in a torn line and has a successor, is passed over.
        """
        numbers = self.numbers()  # before reading: a segment that has a successor now gets no more lines
        for number in numbers:
            if number < segment:
                continue
            start = offset if number == segment else 0
            lines, end = _complete_lines(self.segment(number), start, limit)
            if lines or number == numbers[-1]:
                return LineSlice(lines, number, end)
        return LineSlice([], segment, offset)

    def lines(self, cursor: Cursor | None = None) -> Iterator[bytes]:
        """Iterate over all complete lines from `cursor` (default: the oldest kept) on."""
        segment, offset = (cursor.segment, cursor.offset) if cursor else (1, 0)
        while (batch := self.read(segment, offset, 1 << 20)).lines:
            yield from batch.lines
            _, segment, offset = batch

    def backlog(self, cursor: Cursor) -> int:
        """Return how many bytes lie after `cursor`."""
        total = 0
        for number in self.numbers():
            if number >= cursor.segment:
                size = file_size(self.segment(number))
                total += max(0, size - cursor.offset) if number == cursor.segment else size
        return total

    def cursor(self) -> Cursor:
        """Return the stored cursor, or the beginning if there is none that can be true of the files.

        Sending again is harmless: copies are byte-identical. Even then its `sequence` is kept, if that can be one:
        a number must not be given twice.
        """
        text = self._cursor_text()
        while True:
            try:
                cursor = msgspec.json.decode(text, type=Cursor)
            except msgspec.MsgspecError:
                cursor = Cursor()
            if self._fits(cursor):
                return cursor
            before, text = text, self._cursor_text()
            if text == before:  # otherwise its process stored another one, and then removed segments
                return Cursor(sequence=cursor.sequence)

    def store_cursor(self, cursor: Cursor) -> None:
        """Replace the cursor so that a crash leaves the old or the new one; raises OSError."""
        replace_file(self.folder / "cursor", msgspec.json.encode(cursor))

    def mend_cursor(self, cursor: Cursor) -> None:
        """Store `cursor` if another one is stored, which could not be: the files may grow to it; raises OSError."""
        text = self._cursor_text()
        if text and text != msgspec.json.encode(cursor):
            self.store_cursor(cursor)

    def number_before(self, cursor: Cursor) -> int | None:
        """Return the number of the last record in the line before `cursor`, 0 if there is none that can be read.

        None if no line ends where it stands. Raises OSError if the segment cannot be read.
        """
        segment, offset = cursor.segment, cursor.offset
        if not offset:
            segment = max((number for number in self.numbers() if number < segment), default=0)
            if not segment:
                return 0
        with open_regular(self.segment(segment)) as file:
            end = offset or file.seek(0, os.SEEK_END)
            begin = max(0, end - _LINE_BYTES)
            file.seek(begin)
            data = file.read(end - begin)
        if offset and not (len(data) == end - begin and data.endswith(b"\n")):
            return None
        data = data[: data.rfind(b"\n") + 1]
        try:
            return otlp.last_sequence(data[data.rfind(b"\n", 0, -1) + 1 :])
        except ValueError:  # damaged by a power cut
            return 0

    def _cursor_text(self) -> bytes:
        try:
            with open_regular(self.folder / "cursor") as file:
                return file.read(_CURSOR_BYTES)
        except OSError:
            return b""

    def _fits(self, cursor: Cursor) -> bool:
        """Tell whether there is such a place: between two lines, and none before it has a later number."""
        if cursor.segment > max(self.numbers(), default=0) + 1:
            return False
        try:
            number = self.number_before(cursor)
        except OSError:
            return False
        return number is not None and number <= cursor.sequence


@dataclass(frozen=True, slots=True)
class StreamFiles:
    """The directory of one stream."""

    path: Path

    @property
    def stream_id(self) -> str:
        """The stream's id, which is the directory's name."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """The file whose flock tells that a process owns the stream."""
        return self.path / "lock"

    @property
    def reserve(self) -> Path:
        """Space kept for the last words of a stream; it is there while the stream is being written."""
        return self.path / "reserve"

    @property
    def undeclared(self) -> Path:
        """What an orderly end could not declare as lost; the next process on the outbox does."""
        return self.path / "undeclared"

    @property
    def rejected(self) -> Path:
        """Where refused records are kept."""
        return self.path / "rejected"

    @property
    def accept_rejections(self) -> Path:
        """An operator makes this file to have the refusals believed that wait; the stream's owner removes it."""
        return self.path / "accept-rejections"

    def signal(self, signal: Signal) -> SignalFiles:
        """Return the files of `signal`."""
        return SignalFiles(self.path / signal)


def streams(root: Path) -> list[StreamFiles]:
    """Return the streams under the outbox `root`, oldest first (their ids are UUIDv7).

    A hidden directory is a stream that is still being made.
    """
    try:
        paths = sorted((root / LAYOUT).iterdir())
    except FileNotFoundError:
        return []
    return [StreamFiles(path) for path in paths if path.is_dir() and not path.name.startswith(".")]


def file_size(path: Path) -> int:
    """Return the size in bytes, 0 if the file is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, without waiting for a writer as a FIFO would; raises OSError if it is no file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(fd, "rb")


def replace_file(path: Path, content: bytes) -> None:
    """Write, fsync, rename, fsync the directory: the file is whole at any moment; raises OSError."""
    temporary = path.with_suffix(".new")
    fd = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    try:
        while content:  # a write may be short
            content = content[os.write(fd, content) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make created, renamed and removed names in `path` durable; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _complete_lines(path: Path, offset: int, limit: int) -> tuple[list[bytes], int]:
    """Return the complete lines from `offset` and the offset after them."""
    try:
        with open_regular(path) as file:
            file.seek(offset)
            data = file.read(limit)
            if b"\n" not in data and len(data) == limit:  # one line longer than the limit
                data += file.readline()
    except FileNotFoundError:
        return [], offset
    except OSError as error:
        error.filename = str(path)  # which reading does not say
        raise
    lines, start = [], 0
    while end := data.find(b"\n", start) + 1:  # not splitlines: it would also part a damaged line at a carriage return
        lines.append(data[start:end])
        start = end
    return lines, offset + start
