"""Memory that was freed goes back to the system, however the heap is cut up."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from predictor.core.heap import give_back

_BLOCKS, _BYTES = 20_000, 2_000


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has ways of its own")
def test_holes_in_the_heap_are_given_back() -> None:
    """What was freed below something that is still there is not in memory any more."""
    blocks = [bytes([1]) * _BYTES for _ in range(_BLOCKS)]
    kept = blocks[::1000]
    full = resident()
    del blocks
    give_back()
    assert len(kept) == _BLOCKS // 1000
    assert resident() < full - _BLOCKS * _BYTES // 2
