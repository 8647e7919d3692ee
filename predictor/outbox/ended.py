"""Which streams have ended on this outbox and are not named by a later one yet: `<outbox>/v1/ended.jsonl`.

A stream is entered before its folder goes, when the sink has all of it; where nothing is shipped, when it is closed, by
its own process or by the one that adopts it. Who opens a stream says in its first record which are here, and takes
these lines out once that record is synced: so a reader of the sink misses a stream of which nothing is there. Two may
name the same one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Annotated

import msgspec

from predictor import otlp
from predictor.outbox.layout import LAYOUT, open_regular, replace_file
from predictor.outbox.modes import open_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from predictor.outbox.layout import StreamFiles

STEM = "ended"
NAME = f"{STEM}.jsonl"
_MARK = "ended"
"""In the folder of a stream that was entered: one that is kept is adopted at each start."""
_MOST = 100
"""Streams that one record names: 20 KB, below what Loki takes as attributes of one record."""
_READ_BYTES = 1 << 20
_DIGEST = b'{"key":"prediction.stream.digest","value":{"stringValue":"'


_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class EndedStream(msgspec.Struct, frozen=True):
    """What is said of a stream that has ended."""

    stream: Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z-]{1,64}$")]
    last: _Number
    """Its last number."""
    digest: str
    """The digest of its last checkpoint if that is its last record, else empty."""
    ended_ns: int
    """When it was entered, Unix nanoseconds; of any size in a forged record."""
    kept: bool = False
    """Whether its folder stays in the outbox, since nothing is shipped from there."""


def enter(files: StreamFiles, *, kept: bool) -> None:
    """Enter a stream that has ended, once (blocking); raises OSError."""
    mark = files.path / _MARK
    if mark.exists():
        return
    last, digest = _end(files)
    entry = EndedStream(files.stream_id, last, digest, time.time_ns(), kept)
    with _exclusive(files.path.parent) as path:
        fd = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            torn = size and os.pread(fd, 1, size - 1) != b"\n"
            line = b"\n" * bool(torn) + msgspec.json.encode(entry) + b"\n"
            if os.write(fd, line) < len(line):
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(fd)
        finally:
            os.close(fd)
    os.close(open_file(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))


def unnamed(root: Path) -> list[EndedStream]:
    """Return the first streams that no other names yet, the oldest entry first (blocking); raises OSError."""
    return _entries(root / LAYOUT / NAME)[:_MOST]


def named(root: Path, streams: Collection[str]) -> None:
    """Take streams out that another one names now (blocking); raises OSError."""
    with _exclusive(root / LAYOUT) as path:
        left = [each for each in _entries(path) if each.stream not in streams]
        if left:
            replace_file(path, b"".join(msgspec.json.encode(each) + b"\n" for each in left))
        else:
            path.unlink(missing_ok=True)


def encoded(streams: Sequence[EndedStream]) -> str:
    """Return what a record says of streams, a JSON array; empty if there are none."""
    return msgspec.json.encode(streams).decode() if streams else ""


def decoded(text: str) -> tuple[list[EndedStream], bool]:
    """Return what a record says, and whether all of it can be read and be a stream's end."""
    try:
        every = msgspec.json.decode(text or "[]", type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return [], False
    found = [_read(each) for each in every]
    return [ended for ended in found if ended], None not in found


def _entries(path: Path) -> list[EndedStream]:
    try:
        with open_regular(path) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, EndedStream] = {}
    for line in lines:
        if entry := _read(line):
            found.setdefault(entry.stream, entry)
    return list(found.values())


def _read(text: bytes | msgspec.Raw) -> EndedStream | None:
    """Return an entry, None if it was cut off by a crash, or is none."""
    try:
        return msgspec.json.decode(text, type=EndedStream)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _end(files: StreamFiles) -> tuple[int, str]:
    """Return the last number of a stream and the digest in its last record, if that has one."""
    logs = files.signal("logs")
    sequence = logs.cursor().sequence
    for number in reversed(logs.numbers()):
        with open_regular(logs.segment(number)) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
            data = file.read()
        line = data[data.rfind(b"\n", 0, -1) + 1 :]
        if not otlp.well_formed("logs", line):
            continue
        at = line.rfind(_DIGEST)
        digest = line[at + len(_DIGEST) :].partition(b'"')[0].decode() if at >= 0 else ""
        last = otlp.last_sequence(line)
        return (last, digest) if last >= sequence else (sequence, "")
    return sequence, ""


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[Path]:
    """Let one process at a time write the file; yield its path."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield folder / NAME
    finally:
        os.close(fd)
