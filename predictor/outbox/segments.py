"""The files of the outbox, read side: where they are, which lines they hold, how far they were shipped.

Layout of one stream (the write side is `writer.py`)::

    <outbox>/v1/<stream id>/lock                      flock held by the owner; its content names resource and scope
    <outbox>/v1/<stream id>/reserve                   space for the last words while the stream is being written
    <outbox>/v1/<stream id>/{logs,traces}/00000001.jsonl
    <outbox>/v1/<stream id>/{logs,traces}/cursor      how far the sink has accepted
    <outbox>/v1/<stream id>/rejected/                 what the sink refused for its content

A line is complete when its newline is there; the writer may be adding to the last segment while we read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYOUT = "v1"
Signal = Literal["logs", "traces"]
SIGNALS: tuple[Signal, ...] = ("logs", "traces")
_SUFFIX = ".jsonl"


class Cursor(msgspec.Struct, frozen=True):
    """What lies before (segment, offset) needs no sending; `sequence` is the last number before it."""

    segment: int = 1
    offset: int = 0
    sequence: int = 0


class Lines(NamedTuple):
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
        return self.folder / f"{number:08d}{_SUFFIX}"

    def numbers(self) -> list[int]:
        """Return the numbers of the segments that exist, ascending; empty if there is no folder."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        return sorted(int(stem) for stem in stems if stem.isdecimal())  # not what an editor or a copy left beside

    def read(self, segment: int, offset: int, limit: int) -> Lines:
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
                return Lines(lines, number, end)
        return Lines([], segment, offset)

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
        """Return the stored cursor, or the beginning if there is none that can be read."""
        try:
            return msgspec.json.decode((self.folder / "cursor").read_bytes(), type=Cursor)
        except (OSError, msgspec.MsgspecError):
            return Cursor()  # sending again is harmless: copies are byte-identical

    def store_cursor(self, cursor: Cursor) -> None:
        """Replace the cursor so that a crash leaves the old or the new one; raises OSError."""
        replace_file(self.folder / "cursor", msgspec.json.encode(cursor))


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
    def rejected(self) -> Path:
        """Where refused records are kept."""
        return self.path / "rejected"

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


def replace_file(path: Path, content: bytes) -> None:
    """Write, fsync, rename, fsync the directory: the file is whole at any moment; raises OSError."""
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
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
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            if b"\n" not in data and len(data) == limit:  # one line longer than the limit
                data += file.readline()
    except FileNotFoundError:
        return [], offset
    lines, start = [], 0
    while end := data.find(b"\n", start) + 1:  # not splitlines: it would also part a damaged line at a carriage return
        lines.append(data[start:end])
        start = end
    return lines, offset + start
