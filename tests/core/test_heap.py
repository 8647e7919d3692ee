"""Memory that was freed: some is kept for the next use, the rest goes back to the system however the heap is cut up."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from predictor.core.heap import give_back

_BLOCKS, _BYTES = 20_000, 2_000
_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has ways of its own")
_USED_AGAIN = """
import resource, sys
from predictor.core import heap
if sys.argv[1] == "keep":
    heap.keep()
faults = 0
for number in range(60):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [b"x" * (1 << 20) for _ in range(3)]
    del buffers
    if number >= 10:
        faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
_SERVER = """
import asyncio
from predictor.config.settings import load
from predictor.server import app
asyncio.run(app.runner(load()))
"""
_BEYOND = """
from predictor.core import heap
from tests.core.test_heap import resident
heap.keep()
before = resident()
buffers = [b"x" * (1 << 20) for _ in range(200)]
del buffers
print(resident() - before)
"""


def _printed(program: str, *arguments: str, **environ: str) -> int:
    """Return the number that a Python program prints: what it sets holds for a whole process."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, **environ})
    return int(done.stdout)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


@_GLIBC
def test_holes_in_the_heap_are_given_back() -> None:
    """What was freed below something that is still there is not in memory any more."""
    blocks = [bytes([1]) * _BYTES for _ in range(_BLOCKS)]
    kept = blocks[::1000]
    full = resident()
    del blocks
    give_back()
    assert len(kept) == _BLOCKS // 1000
    assert resident() < full - _BLOCKS * _BYTES // 2


@_GLIBC
def test_buffers_that_come_again_are_not_asked_of_the_system_again() -> None:
    """Memory for what is shipped is taken from the system once, not page by page for each body."""
    pages = 50 * 3 * (1 << 20) // 4096
    assert _printed(_USED_AGAIN, "") > pages // 2  # so would it be
    assert _printed(_USED_AGAIN, "keep") < pages // 100


@_GLIBC
def test_what_is_kept_has_a_bound() -> None:
    """Of a peak no more stays than the bound."""
    assert _printed(_BEYOND) < 40 << 20


@_GLIBC
@pytest.mark.parametrize(
    "environ",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}],
    ids=lambda environ: next(iter(environ)),
)
def test_an_operators_own_bounds_stay(environ: dict[str, str]) -> None:
    """A server whose environment says how much memory is kept gives back what lies beyond that, and otherwise keeps."""
    pages = 50 * 3 * (1 << 20) // 4096
    assert _printed(_SERVER + _USED_AGAIN, "") < pages // 100
    assert _printed(_SERVER + _USED_AGAIN, "", **environ) > pages // 2
