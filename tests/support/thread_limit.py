"""A real process that gets no more threads: by its user's limit, or as root, whom that does not bind, by a group's."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIDS = Path("/sys/fs/cgroup/pids")  # cgroup v1; in v2 a process must not stand beside a group that has controllers


class ThreadLimit:
    """A control group of the kernel's for at most so many threads; those that a process has already stay."""

    def __init__(self, most: int = 1) -> None:
        """Make it; raises OSError where that is not possible."""
        self.path = _PIDS / f"predictor-test-{os.getpid()}-{time.monotonic_ns()}"
        self.path.mkdir()
        try:
            (self.path / "pids.max").write_text(str(most))
        except OSError:
            self.path.rmdir()
            raise

    def take(self, pid: int) -> None:
        """Let every further thread of a process fail ("can't start new thread"); one that has ended is passed over."""
        with contextlib.suppress(ProcessLookupError):
            (self.path / "cgroup.procs").write_text(str(pid))

    def end(self) -> None:
        """Free the processes in it and remove it."""
        for pid in (self.path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (_PIDS / "cgroup.procs").write_text(pid)
        self.path.rmdir()


def unavailable() -> str:
    """Return why no group can be made here; empty if it can."""
    try:
        ThreadLimit().end()
    except OSError as error:
        return f"no control group can be made here: {error}"
    return ""


@contextmanager
def no_more_threads(pid: int) -> Iterator[None]:
    """Let every further thread of a process fail; skips the test where that cannot be."""
    if os.geteuid() != 0:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (1, resource.prlimit(pid, resource.RLIMIT_NPROC)[1]))
        yield
        return
    with group(1) as made:
        (made / "cgroup.procs").write_text(str(pid))
        yield


@contextmanager
def group(most: int) -> Iterator[Path]:
    """Make a control group for at most so many threads, and remove it; skips the test where that cannot be."""
    try:
        limit = ThreadLimit(most)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield limit.path
    finally:
        limit.end()
