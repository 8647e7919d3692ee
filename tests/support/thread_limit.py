"""A real process that gets no more threads: by its user's limit, or as root, whom that does not bind, by a group's."""

from __future__ import annotations

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


@contextmanager
def no_more_threads(pid: int) -> Iterator[None]:
    """Let every further thread of a process fail ("can't start new thread"); skips the test where that cannot be."""
    if os.geteuid() != 0:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (1, resource.prlimit(pid, resource.RLIMIT_NPROC)[1]))
        yield
        return
    with group(1) as made:
        (made / "cgroup.procs").write_text(str(pid))
        yield
        _leave(made)


@contextmanager
def group(most: int) -> Iterator[Path]:
    """Make a control group of the kernel's for at most so many threads, and remove it once it is empty."""
    made = _PIDS / f"predictor-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        made.mkdir()
        (made / "pids.max").write_text(str(most))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield made
    finally:
        _leave(made)
        made.rmdir()


def _leave(made: Path) -> None:
    for pid in (made / "cgroup.procs").read_text().split():
        (_PIDS / "cgroup.procs").write_text(pid)
