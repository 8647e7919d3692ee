"""The faults that `make chaos` puts inside the servers' processes are the faults that they say they are."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from chaos import switch
from chaos.switch import Switch
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Writes twice to a file inside and once to one outside, cuts, syncs, and says what came of each.
PROBE = """
import os, sys, time
def said(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return -error.errno
def opened(path):
    return os.open(path, os.O_CREAT | os.O_RDWR)
inside, outside = opened(sys.argv[1]), opened(sys.argv[2])
print(said(os.write, inside, b"12345678"), said(os.write, inside, b"abcdefgh"), said(os.write, outside, b"12345678"))
print(said(os.fsync, inside), said(os.fsync, outside), said(os.ftruncate, inside, 20))
print(time.time_ns(), time.time())
"""


@pytest.fixture
def switched(tmp_path: Path) -> Switch:
    """Return the switch of this test's probe."""
    return Switch(tmp_path / "switch")


def probe(folder: Path) -> list[list[str]]:
    """Run the probe with the faults inside; return the words of its lines."""
    outbox, other = folder / "outbox", str(folder / "file")
    outbox.mkdir()
    (folder / "probe.py").write_text(PROBE)
    done = subprocess.run(
        [sys.executable, "-m", "chaos.inside", *map(str, (folder / "switch", outbox, "probe", outbox / "file")), other],
        cwd=ROOT,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("fault", "writes", "rest", "left"),
    [
        (switch.NONE, [8, 8, 8], ["None", "None", "None"], b"12345678abcdefgh"),
        (switch.NO_SPACE, [4, -errno.ENOSPC, 8], ["None", "None", "None"], b"1234"),
        (switch.EIO_WRITE, [-errno.EIO, -errno.EIO, 8], ["None", "None", "None"], b"1234abcd"),
        (switch.EIO_TORN, [-errno.EIO, -errno.EIO, 8], ["None", "None", str(-errno.EIO)], b"1234abcd"),
        (switch.EIO_SYNC, [8, 8, 8], [str(-errno.EIO), "None", "None"], b"12345678abcdefgh"),
    ],
    ids=["none", "no space", "write", "torn", "sync"],
)
def test_the_disk_fails(
    tmp_path: Path, switched: Switch, fault: int, writes: list[int], rest: list[str], left: bytes
) -> None:
    """What fails leaves half of its bytes in the file and is counted; files elsewhere are not touched."""
    switched.fault = fault
    lines = probe(tmp_path)
    assert lines[0] == [str(each) for each in writes]
    assert lines[1] == rest
    cut = rest[2] == "None"
    assert (tmp_path / "outbox" / "file").read_bytes() == (left.ljust(20, b"\0") if cut else left)
    assert (tmp_path / "file").read_bytes() == b"12345678"
    failed = [each for each in [*writes, *rest] if str(each).startswith("-") or each == 4]
    assert switched.met == len(failed)


def test_the_clock_steps_back(tmp_path: Path, switched: Switch) -> None:
    """Both forms of the wall clock are the same hour early, and each reading is counted."""
    switched.clock_ns = -3600 * 10**9
    before = time.time_ns()
    nanoseconds, seconds = probe(tmp_path)[2]
    assert before <= int(nanoseconds) + 3600 * 10**9 <= time.time_ns()
    assert float(seconds) == pytest.approx(int(nanoseconds) / 1e9, abs=1.0)
    assert switched.met >= 2
