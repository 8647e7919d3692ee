"""One segment file, which takes whole lines, and the reserve of disk space for a stream's last records.

The system calls stand in one class, so that a test can make any of them fail on demand.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from predictor.outbox.layout import sync_directory
from predictor.outbox.modes import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESERVE_BYTES = 256 * 1024  # a few hundred stream events of half a kilobyte
_READ_BYTES = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskCalls:
    """The system calls; each raises OSError."""

    def open(self, path: Path, *, create: bool) -> int:
        """Open a segment for appending; with `create` it must not exist yet."""
        # Readable too: what a removed file holds can be had back for as long as it is open.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return open_file(path, flags)

    def overwrite(self, path: Path, content: bytes) -> None:
        """Make `content` all that a file holds that has at least as many bytes, without asking for new space."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.pwrite(fd, content, 0) != len(content):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            os.fsync(fd)
            os.ftruncate(fd, len(content))
            os.fsync(fd)
        finally:
            os.close(fd)

    write = staticmethod(os.write)  # the hot path: no frame of ours in between
    read = staticmethod(os.pread)
    ftruncate = staticmethod(os.ftruncate)
    fsync = staticmethod(os.fsync)
    sync_directory = staticmethod(sync_directory)
    close = staticmethod(os.close)

    def allocate(self, path: Path, size: int) -> None:
        """Make `path` a file whose `size` bytes have their place on the disk."""
        fd = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)


class SegmentFile:
    """One file that is appended to; `torn` says that its end could not be mended and nothing more may be added."""

    __slots__ = ("_disk", "_fd", "_write", "path", "size", "torn")

    def __init__(self, disk: DiskCalls, path: Path, *, keep: int | None = None) -> None:
        """Create `path`, or with `keep` open it and cut it to that many bytes; raises OSError."""
        self.path = path
        self.size = keep or 0
        self.torn = False
        self._disk = disk
        self._write = disk.write
        self._fd = disk.open(path, create=keep is None)
        if keep is not None:
            try:
                disk.ftruncate(self._fd, keep)
            except OSError:
                disk.close(self._fd)
                raise

    def append(self, data: bytes) -> None:
        """Write `data` whole or not at all; raises OSError."""
        try:
            written = self._write(self._fd, data)
            if written != len(data):
                # On a regular file a short write is a disk, a quota or a file size limit that has been reached.
                message = f"{os.strerror(errno.ENOSPC)} after {written} of {len(data)} bytes"
                raise OSError(errno.ENOSPC, message)  # noqa: TRY301 - both ways of failing end below
        except OSError:
            try:
                self._disk.ftruncate(self._fd, self.size)
            except OSError:
                self.torn = True
            raise
        self.size += written

    def sync(self) -> None:
        """Return when everything appended is on disk (blocking); raises OSError."""
        self._disk.fsync(self._fd)

    def linked(self) -> bool:
        """Tell whether `path` still names this file (blocking); raises OSError where that cannot be known."""
        try:
            there = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return os.path.samestat(os.fstat(self._fd), there)

    def content(self) -> Iterator[bytes]:
        """Yield the whole lines of the open file, named or not, some at a time (blocking); raises OSError."""
        at, rest = 0, b""
        while at < self.size and (read := self._disk.read(self._fd, min(_READ_BYTES, self.size - at), at)):
            at += len(read)
            whole, newline, rest = (rest + read).rpartition(b"\n")
            if newline:
                yield whole + newline

    def close(self) -> None:
        """Close the file; what its file system has to say now was asked by `sync`."""
        with contextlib.suppress(OSError):  # the descriptor is gone on Linux whatever close() answers
            self._disk.close(self._fd)
        self._fd = -1  # the number may become another file's


class Reserve:
    """Space that is kept on the disk for what must be written when there is none left."""

    def __init__(self, disk: DiskCalls, path: Path | None) -> None:
        """Allocate nothing yet; without a `path` there is never a reserve."""
        self._disk = disk
        self._path = path
        self.size = RESERVE_BYTES if path else 0

    @property
    def missing(self) -> bool:
        """Whether there should be a reserve and is none."""
        return self._path is not None and not self._path.exists()

    def free(self) -> bool:
        """Give the space back to the disk; False if there was none."""
        try:
            if self._path is not None:
                self._path.unlink()
                return True
        except OSError:
            pass
        return False

    def renew(self) -> None:
        """Prove that there is room for as much again, and keep it if the reserve is missing; raises OSError."""
        if self._path is None:
            return
        probe = self._path.with_suffix(".new")
        try:
            self._disk.allocate(probe, self.size)
            if self.missing:
                probe.rename(self._path)
        finally:
            probe.unlink(missing_ok=True)
