"""A child process on one core, and how much processor time it used."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")
_START = 30.0  # s for a server to answer, with an import of ONNX Runtime on a busy machine


class BenchError(Exception):
    """One sentence that says why the figures would not be what they claim."""


class Pinned:
    """A process whose threads all run on one core; stopped for good by `end`."""

    def __init__(
        self, name: str, command: Sequence[str], core: int, environ: Mapping[str, str], output: Path, cwd: Path
    ) -> None:
        """Start it; what it prints goes to the file `output`."""
        self.name = name
        self._core = core
        self._output = output
        here = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # a child inherits it from its first instruction on
        try:
            with output.open("wb") as out:
                self._process = subprocess.Popen(command, env=environ, cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
        finally:
            os.sched_setaffinity(0, here)
        self.pid = self._process.pid

    def wait_for(self, url: str, body: bytes | None = None) -> bytes:
        """Return the first answer 200; raises BenchError if there is none in time."""
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        until = time.monotonic() + _START
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(request, timeout=_START) as answer:
                    content: bytes = answer.read()
                    return content
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        msg = f"{self.name} does not answer at {url}; it said: {self.said()}"
        raise BenchError(msg)

    def said(self) -> str:
        """Return the end of what it printed."""
        return self._output.read_text(errors="replace")[-2000:].strip()

    def check_core(self) -> None:
        """Raise BenchError if any of its threads may run elsewhere."""
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            if os.sched_getaffinity(int(thread.name)) != {self._core}:
                msg = f"thread {thread.name} of {self.name} is not pinned to core {self._core}"
                raise BenchError(msg)

    def cpu(self) -> float:
        """Return the seconds of processor time used so far, all threads, user and system."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - read twice a round, no path
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def pause(self) -> None:
        """Stop it where it is, so that its housekeeping takes nothing from the one that is measured."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after `pause`."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End it and wait for it."""
        self.go_on()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Busy(NamedTuple):
    """Seconds since the machine's start that a core was busy, and all of them."""

    busy: float
    whole: float

    def share_since(self, before: Busy) -> float:
        """Return the share of the time since `before` that the core was busy."""
        return (self.busy - before.busy) / max(self.whole - before.whole, 1 / _TICKS)


def core_time(core: int) -> Busy:
    """Return how busy a core was, whoever used it (time that the hypervisor took counts)."""
    with open("/proc/stat", encoding="utf-8") as file:  # noqa: PTH123 - read twice a round
        line = next(line for line in file if line.startswith(f"cpu{core} "))
    user, nice, system, idle, iowait, irq, softirq, steal = (int(word) for word in line.split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return Busy(busy / _TICKS, (busy + idle + iowait) / _TICKS)
