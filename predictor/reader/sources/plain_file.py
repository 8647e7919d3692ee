"""Opens what a log may be read from: a regular file, or a pipe that somebody writes to, such as standard input."""

from __future__ import annotations

import io
import os
import stat
from typing import IO, TYPE_CHECKING, cast

from predictor.outbox.layout import open_regular
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 1 << 16


class _Pipe(io.RawIOBase):
    """A pipe of which some bytes were read already."""

    def __init__(self, fd: int, first: bytes) -> None:
        """Take the pipe, which is closed with this, and these bytes."""
        self._file = os.fdopen(fd, "rb", buffering=0)
        self._first = first

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def fileno(self) -> int:
        """Return the pipe's descriptor."""
        return self._file.fileno()

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        """Read what comes next, waiting for it."""
        if not self._first:
            return self._file.readinto(buffer)
        some, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        buffer[: len(some)] = some
        return len(some)

    def close(self) -> None:
        """Close the pipe."""
        self._file.close()
        super().close()


def is_pipe(path: Path) -> bool:
    """Tell whether a path is a pipe; False for one that is not there."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, without waiting for anybody who might write to a pipe.

    Raises OSError, SourceError for a pipe that nobody writes to and for what is neither file nor pipe.
    """
    if not is_pipe(path):
        return open_regular(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        first = _first(fd, path)
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return cast("IO[bytes]", io.BufferedReader(_Pipe(fd, first), _BYTES))


def _first(fd: int, path: Path) -> bytes:
    """Return what a pipe holds, nothing if its writer has not written yet."""
    try:
        first = os.read(fd, _BYTES)
    except BlockingIOError:
        return b""
    if not first:
        raise SourceError(str(path), "a pipe that nobody writes to")
    return first
