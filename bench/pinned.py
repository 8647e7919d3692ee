"""A child process with all that it starts on one core, and how much of the machine they use."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

YIELDING = ("chrt", "--idle", "0")
"""Before a sink's command: it shares a core with wrk, and a load that has to wait for it would measure the sink."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START = 120.0  # s for a server to answer: BentoML takes 20 s on a quiet machine when it was just installed
_END = 10.0  # s to leave on SIGTERM; KServe's agent would wait 30 s for Kubernetes


class BenchError(Exception):
    """One sentence that says why the figures would not be what they claim."""


class Pinned:
    """A process that runs on one core with its threads and children; stopped for good by `end`."""

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

    def wait_for(self, url: str, body: bytes | None = None, binary: bytes = b"") -> bytes:
        """Return the first answer 200; raises BenchError if there is none in time; `binary` follows the JSON."""
        headers = {"Content-Type": "application/json"}
        if body is not None and binary:
            headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(body))}
            body += binary
        request = urllib.request.Request(url, body, headers)
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
        """Raise BenchError if any of the threads may run elsewhere."""
        for thread in (thread for pid in self.tree() for thread in _listed(Path(f"/proc/{pid}/task"))):
            if os.sched_getaffinity(int(thread)) != {self._core}:
                msg = f"thread {thread} of {self.name} is not pinned to core {self._core}"
                raise BenchError(msg)

    def tree(self) -> list[int]:
        """Return the process and its descendants: peers serve with several processes, some in sessions of their own."""
        parents = {int(entry): _parent(int(entry)) for entry in _listed(Path("/proc")) if entry.isdigit()}
        found = [self.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self) -> float:
        """Return the seconds of processor time used so far, all threads of all processes, user and system."""
        fields = [_stat(pid) for pid in self.tree()]
        return sum(int(each[11]) + int(each[12]) for each in fields if each) / _TICKS

    def resident(self) -> int:
        """Return the resident bytes, summed over the processes."""
        pages = 0
        for pid in self.tree():
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        return pages * _PAGE

    def written(self) -> int:
        """Return the bytes that the processes have had written to storage."""
        total = 0
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines():
                if line.startswith("write_bytes:"):
                    total += int(line.split()[1])
        return total

    def pause(self) -> None:
        """Stop it where it is, so that its housekeeping takes nothing from the one that is measured."""
        self._signal(signal.SIGSTOP, self.tree())

    def go_on(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT, self.tree())

    def end(self) -> None:
        """End all of it and wait for it."""
        tree = self.tree()
        self._signal(signal.SIGCONT, tree)
        self._process.terminate()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._signal(signal.SIGKILL, tree[1:])  # what it left behind

    @staticmethod
    def _signal(number: signal.Signals, tree: list[int]) -> None:
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, hundreds of times a round
    except FileNotFoundError:
        return []


def _stat(pid: int) -> list[str]:
    """Return the fields after the name, none if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - read often, no path of ours
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


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
