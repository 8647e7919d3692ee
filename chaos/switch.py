"""A few numbers in a file that the harness writes and the servers read without a system call: which fault is on."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NUMBER = struct.Struct("<q")
_FAULT, _CLOCK, _MET, _SIZE = 0, 8, 16, 24

NONE, NO_SPACE, EIO_WRITE, EIO_TORN, EIO_SYNC = range(5)


class Switch:
    """Shared by the harness and every process of the servers."""

    def __init__(self, path: Path) -> None:
        """Map the file, which is made if it is not there."""
        with path.open("a+b") as file:
            file.truncate(_SIZE)
            self._shared = mmap.mmap(file.fileno(), _SIZE)

    @property
    def fault(self) -> int:
        """Which system calls on the outbox fail, one of the constants above."""
        return self._get(_FAULT)

    @fault.setter
    def fault(self, value: int) -> None:
        self._put(_FAULT, value)

    @property
    def clock_ns(self) -> int:
        """What is added to the wall clock, in nanoseconds."""
        return self._get(_CLOCK)

    @clock_ns.setter
    def clock_ns(self, value: int) -> None:
        self._put(_CLOCK, value)

    @property
    def met(self) -> int:
        """How often a process met a fault; two at once may count as one."""
        return self._get(_MET)

    def meet(self) -> None:
        """Count one."""
        self._put(_MET, self.met + 1)

    def _get(self, at: int) -> int:
        number: int = _NUMBER.unpack_from(self._shared, at)[0]
        return number

    def _put(self, at: int, value: int) -> None:
        _NUMBER.pack_into(self._shared, at, value)
