"""A real server in a control group of the kernel's with a limit of its memory, as in a pod."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from predictor.core.cpu_quota import groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ENTER = (
    "import os, runpy; open({file!r}, 'w').write(str(os.getpid())); runpy.run_module('predictor', None, '__main__')"
)
_V1, _V2 = "memory.limit_in_bytes", "memory.max"


class MemoryGroup(NamedTuple):
    """A control group, version 1 or 2."""

    path: Path

    def command(self) -> tuple[str, ...]:
        """Return Python's arguments for a server that enters the group before anything else."""
        return ("-c", _ENTER.format(file=str(self.path / "cgroup.procs")))

    def peak(self) -> int:
        """Return the most bytes that it has held, and -1 where the kernel does not say."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            with contextlib.suppress(OSError):
                return int((self.path / name).read_text())
        return -1


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """Make a control group with a limit of its memory, and remove it; skips the test where that cannot be."""
    try:
        parent = next(iter(groups("memory")))
        made = parent / f"predictor-test-{os.getpid()}-{time.monotonic_ns()}"
        made.mkdir()
    except (OSError, ValueError, StopIteration) as error:
        pytest.skip(f"no control group can be made here: {error!r}")
    try:
        name = _V1 if (made / _V1).exists() else _V2
        try:
            (made / name).write_text(str(limit))
        except OSError as error:  # in version 2 a process must not stand beside a group that has controllers
            pytest.skip(f"no control group can bound memory here: {error!r}")
        yield MemoryGroup(made)
    finally:
        made.rmdir()
