"""Runs a module of Python whose disk and wall clock fail on demand: `python -m chaos.inside SWITCH FOLDER MODULE …`.

The faults stand where Python asks the system: `os.write`, `os.fsync` and `os.ftruncate` on files under FOLDER, and
`time.time` and `time.time_ns`. What is below, libc and the kernel, is not what fails; half of a write that fails in
its middle is really written.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys
import time
from pathlib import Path

from chaos.switch import EIO_SYNC, EIO_TORN, EIO_WRITE, NO_SPACE, Switch


def install(switch: Switch, folder: str) -> None:
    """Put the faults before the system's calls, in this process and those that it forks."""
    real_write, real_fsync, real_ftruncate = os.write, os.fsync, os.ftruncate
    short = False

    def write(fd: int, data: bytes) -> int:
        nonlocal short
        fault = switch.fault
        if fault not in {NO_SPACE, EIO_WRITE, EIO_TORN} or not _under(folder, fd):
            return real_write(fd, data)
        switch.meet()
        if fault == NO_SPACE:
            # As a full disk does it: what still fits is written, and only the next call is told why.
            short = not short
            if short and len(data) > 1:
                return real_write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real_write(fd, data[: len(data) // 2])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def fsync(fd: int) -> None:
        _fail(EIO_SYNC, fd)
        real_fsync(fd)

    def ftruncate(fd: int, length: int) -> None:
        _fail(EIO_TORN, fd)
        real_ftruncate(fd, length)

    def _fail(fault: int, fd: int) -> None:
        if switch.fault == fault and _under(folder, fd):
            switch.meet()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    os.write, os.fsync, os.ftruncate = write, fsync, ftruncate  # type: ignore[assignment] # all that the server passes
    _set_back(switch)


def _set_back(switch: Switch) -> None:
    real_time, real_time_ns = time.time, time.time_ns

    def stepped() -> int:
        back = switch.clock_ns
        if back:
            switch.meet()
        return back

    def now() -> float:
        return real_time() + stepped() / 1e9

    def now_ns() -> int:
        return real_time_ns() + stepped()

    time.time, time.time_ns = now, now_ns


def _under(folder: str, fd: int) -> bool:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(folder)
    except OSError:
        return False


def main() -> None:
    """Install the faults and become the module."""
    path, folder, module, *arguments = sys.argv[1:]
    install(Switch(Path(path)), folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
