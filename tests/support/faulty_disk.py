"""A disk of which any call can be made to fail, or to wait."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from predictor.outbox.layout import sync_directory
from predictor.outbox.writing.segment_file import DiskCalls

if TYPE_CHECKING:
    from pathlib import Path


class Faulty(DiskCalls):
    """A disk of which any call can be made to fail: an errno, or for `write` a number of bytes to stop after."""

    def __init__(self) -> None:
        """Fail nothing, count the fsyncs."""
        self.faults: dict[str, list[int]] = {}
        self.short: list[int] = []
        self.syncs = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def fail(self, call: str, *errnos: int) -> None:
        """Let the next calls of `call` fail, one for each errno; 0 lets one pass."""
        self.faults.setdefault(call, []).extend(errnos)

    def _check(self, call: str) -> None:
        if (pending := self.faults.get(call)) and (number := pending.pop(0)):
            raise OSError(number, os.strerror(number))

    def open(self, path: Path, *, create: bool) -> int:
        """Open, unless told to fail."""
        self._check("open")
        return super().open(path, create=create)

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        """Write, unless told to fail or to stop early."""
        self._check("write")
        return os.write(fd, data[: self.short.pop(0)] if self.short else data)

    def ftruncate(self, fd: int, size: int) -> None:
        """Truncate, unless told to fail."""
        self._check("ftruncate")
        os.ftruncate(fd, size)

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        """Sync when the gate is open, unless told to fail."""
        self.syncs += 1
        self.entered.set()
        self.gate.wait(10)
        self._check("fsync")
        os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        """Sync a directory, unless told to fail."""
        self._check("sync_directory")
        sync_directory(path)

    def allocate(self, path: Path, size: int) -> None:
        """Allocate, unless told to fail."""
        self._check("allocate")
        super().allocate(path, size)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read, unless told to fail."""
        self._check("read")
        return os.pread(fd, size, offset)
