"""How much memory this process may use: what the machine has, and no more than its control groups allow."""

from __future__ import annotations

import os
from pathlib import Path

from predictor.core.cpu_quota import groups


def usable(proc: Path = Path("/proc/self")) -> int:
    """Return bytes: the smallest limit of this process's control groups (v1 and v2), or the machine's memory."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    try:
        for folder in groups("memory", proc):
            limits += [_limit(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    except (OSError, ValueError):  # no Linux, or a sandbox that writes these files in its own way
        pass
    return min(limit for limit in limits if limit)


def _limit(file: Path) -> int:
    """Return the bytes that a file says, 0 for none."""
    try:
        content = file.read_text().strip()
    except OSError:
        return 0
    return int(content) if content.isdecimal() else 0
