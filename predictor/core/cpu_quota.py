"""How many cores this process may use: those it is bound to, limited by the CPU quota of its control groups.

A quota (`cpu.max`, in Kubernetes the limit) does not take cores away: threads on all of them use it up at once, and
then all stand still until the next period. So there are no more threads than the quota pays for.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPED = re.compile(r"\\([0-7]{3})")  # as /proc writes a blank in a path


def usable(proc: Path = Path("/proc/self")) -> int:
    """Return the number of cores, at least 1: the quota rounded up, for what is left over would be wasted."""
    bound = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(bound, quota(proc))))


def quota(proc: Path = Path("/proc/self")) -> float:
    """Return the smallest quota of this process's control groups, in cores; infinite where none is set.

    Every group up to the topmost that can be seen is looked at (cgroups v1 and v2): a parent's quota bounds its
    children, whatever theirs say. What cannot be read sets no bound.
    """
    try:
        return min((min(_quota_v2(folder), _quota_v1(folder)) for folder in groups("cpu", proc)), default=math.inf)
    except (OSError, ValueError):  # no Linux, or a sandbox that writes these files in its own way
        return math.inf


def groups(controller: str, proc: Path = Path("/proc/self")) -> Iterator[Path]:
    """Yield the folders of the groups by which a controller bounds this process, each with those above it.

    Raises OSError or ValueError where /proc does not say.
    """
    memberships = (proc / "cgroup").read_text().splitlines()
    mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    for membership in memberships:
        number, controllers, path = membership.split(":", 2)
        version_2 = number == "0" and not controllers
        if not version_2 and controller not in controllers.split(","):
            continue
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            if kind == "cgroup2" if version_2 else (kind == "cgroup" and controller in options):
                yield from _upwards(_unescaped(mount[4]), _unescaped(mount[3]), path)


def _upwards(mounted: str, root: str, path: str) -> Iterator[Path]:
    """Yield the folder of the group `path` and those above, where `mounted` shows the hierarchy from `root` on."""
    top = Path(mounted)
    # Outside of what is mounted lies what a container may not see; the mount itself is then the nearest group.
    below = Path(path).relative_to(root) if Path(path).is_relative_to(root) and ".." not in path else Path()
    folder = top / below
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _quota_v2(folder: Path) -> float:
    limit, _, period = _content(folder / "cpu.max").partition(" ")
    return _cores(limit, period)


def _quota_v1(folder: Path) -> float:
    return _cores(_content(folder / "cpu.cfs_quota_us"), _content(folder / "cpu.cfs_period_us"))


def _cores(limit: str, period: str) -> float:
    """Return the quota in cores; `max` (v2) and -1 (v1) are none."""
    if limit.isdecimal() and period.isdecimal() and int(limit) and int(period):
        return int(limit) / int(period)
    return math.inf


def _content(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), path)
