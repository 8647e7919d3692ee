"""How much memory the process may use, which bounds its connections: the smallest limit of its control groups."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from predictor.core import memory_limit
from predictor.http import limits

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def group(folder: Path, name: str, limit: str) -> Path:
    """Write a /proc/self of a group with a limit of its memory below `folder`, and return it."""
    proc, mounted = folder / "proc", folder / "cg"
    proc.mkdir()
    mounted.mkdir()
    version_2 = name == "memory.max"
    (proc / "cgroup").write_text("0::/\n" if version_2 else "3:memory:/\n")
    kind = "cgroup2 cgroup2 rw" if version_2 else "cgroup cgroup rw,memory"
    (proc / "mountinfo").write_text(f"30 22 0:26 / {mounted} rw - {kind}\n")
    (mounted / name).write_text(limit + "\n")
    return proc


@pytest.mark.parametrize("name", ["memory.max", "memory.limit_in_bytes"])
@pytest.mark.parametrize(
    ("limit", "wanted"), [("536870912", 512 << 20), ("max", MACHINE), ("9223372036854771712", MACHINE)]
)
def test_limit_of_a_group(tmp_path: Path, name: str, limit: str, wanted: int) -> None:
    """In both versions of control groups the limit counts where it is less than the machine has."""
    assert memory_limit.usable(group(tmp_path, name, limit)) == min(wanted, MACHINE)


def test_no_control_groups(tmp_path: Path) -> None:
    """Where nothing can be read the machine's memory counts."""
    assert memory_limit.usable(tmp_path) == MACHINE


def test_connections_by_memory_and_by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default memory and open files bound the connections; a setting stands for the former, never for the latter."""
    monkeypatch.setattr(memory_limit, "usable", lambda: 512 << 20)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert limits.most_connections() == 512
    assert limits.most_connections(5000) == 5000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert limits.most_connections(5000) == 824
    monkeypatch.setattr(memory_limit, "usable", lambda: 1 << 40)
    assert limits.most_connections() == 824
