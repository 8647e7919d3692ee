"""How many batches run at once by default: what the process is bound to and what its control groups pay for."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from predictor.core import cpu_quota
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_V1 = Path("/sys/fs/cgroup/cpu")


def machine(folder: Path, memberships: str, *mounts: str, **files: str) -> Path:
    """Write a /proc/self and the files of control groups (`a__b="…"` is a/b) below `folder`; return the former."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(memberships)
    plain = "22 1 0:1 / / rw - ext4 /dev/root rw"
    (proc / "mountinfo").write_text("\n".join([plain, *(mount.format(folder) for mount in mounts), ""]))
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return proc


V2 = "30 22 0:26 / {}/cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 22 0:27 / {}/cg rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("200000 100000", 2.0), ("150000 100000", 1.5), ("50000 100000", 0.5), ("max 100000", math.inf), ("", math.inf)],
)
def test_quota_of_a_container(tmp_path: Path, given: str, wanted: float) -> None:
    """In a container that sees its own group as the topmost, `cpu.max` there is the quota."""
    proc = machine(tmp_path, "0::/\n", V2, cg__cpu_dot_max=given)
    assert cpu_quota.quota(proc) == wanted


@pytest.mark.parametrize(("pod", "container", "wanted"), [("300000", "200000", 2), ("100000", "max", 1)])
def test_smallest_quota_up_the_tree(tmp_path: Path, pod: str, container: str, wanted: float) -> None:
    """A parent's quota bounds its children, whatever their own says; a group without the file sets no bound."""
    files = {"cg__pods__a__cpu_dot_max": f"{pod} 100000", "cg__pods__a__main__cpu_dot_max": f"{container} 100000"}
    proc = machine(tmp_path, "0::/pods/a/main\n", V2, **files)
    assert cpu_quota.quota(proc) == wanted


def test_quota_of_version_1(tmp_path: Path) -> None:
    """The old hierarchy has two files for it, in the group and above, and -1 for none; other controllers are not it."""
    proc = machine(
        tmp_path,
        "9:cpuset:/\n5:cpu,cpuacct:/docker/x\n0::/\n",
        V1,
        cg__docker__x__cpu_dot_cfs_quota_us="-1",
        cg__docker__x__cpu_dot_cfs_period_us="100000",
        cg__docker__cpu_dot_cfs_quota_us="250000",
        cg__docker__cpu_dot_cfs_period_us="100000",
    )
    assert cpu_quota.quota(proc) == 2.5


@pytest.mark.parametrize("path", ["/docker/x", "/../other"])
def test_part_of_the_hierarchy_that_is_mounted(tmp_path: Path, path: str) -> None:
    """Where only a part of the hierarchy is mounted, the process's group is found in it, or the mount stands for it."""
    mount = r"31 22 0:27 /docker/x {}/my\040cg rw - cgroup cgroup rw,cpu"
    (tmp_path / "my cg").mkdir()
    (tmp_path / "my cg" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "my cg" / "cpu.cfs_period_us").write_text("50000\n")
    assert cpu_quota.quota(machine(tmp_path, f"4:cpu:{path}\n", mount)) == 2


def test_no_control_groups(tmp_path: Path) -> None:
    """Where nothing can be read there is no quota, and the cores that the process is bound to count."""
    assert cpu_quota.quota(tmp_path) == math.inf
    assert cpu_quota.usable(tmp_path) == len(os.sched_getaffinity(0))
    assert cpu_quota.quota(machine(tmp_path, "what is this\n")) == math.inf


def test_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota is rounded up to whole threads, at least one, and never beyond the cores that the process is bound to."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    proc = machine(tmp_path, "0::/\n", V2)
    for quota, threads in (("10000", 1), ("100000", 1), ("110000", 2), ("400000", 4), ("900000", 4)):
        (tmp_path / "cg").mkdir(exist_ok=True)
        (tmp_path / "cg" / "cpu.max").write_text(f"{quota} 100000")
        assert cpu_quota.usable(proc) == threads


@contextmanager
def limited(quota: int) -> Iterator[Path]:
    """Make a control group of the kernel's with a quota of so many microseconds in 100,000; remove it."""
    group = _V1 / f"predictor-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


def test_quota_of_a_real_group() -> None:
    """In a control group of the kernel's own the quota is found as it was set."""
    code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); from predictor.core import cpu_quota; "
    with limited(50_000) as group:
        arguments = [
            sys.executable,
            "-c",
            code + "print(cpu_quota.quota(), cpu_quota.usable())",
            str(group / "cgroup.procs"),
        ]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.5", "1"]
