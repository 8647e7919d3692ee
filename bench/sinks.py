"""What servers ship to: a real Collector or a receiver of CloudEvents, directly, behind a relay, or nothing at all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.live_collector import LiveCollector
from bench.pinned import YIELDING, Pinned, free_port
from bench.variants import ROOT

if TYPE_CHECKING:
    from bench.variants import Variant

_MEMORY = Path("/dev/shm")
_ROOM = 6 << 30
"""Bytes: what all sinks of a part hold at once, several times."""
_SLOW = 1.0  # s before an answer of a slow sink reaches the server; its exporters give up after ten


def _in_memory() -> Path | None:
    """Return a new folder of a file system in memory, None if there is none with room."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM or _available() < _ROOM:
        return None
    return Path(tempfile.mkdtemp(prefix="bench-sinks-", dir=_MEMORY))


def _available() -> int:
    """Return the bytes of memory that can be had."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


class Receiver:
    """A receiver of CloudEvents on `core`, as LiveCollector is one of OTLP."""

    def __init__(self, folder: Path, port: int, core: int) -> None:
        """Start it and wait until it listens."""
        folder.mkdir(parents=True)
        self.files = (folder / "events",)
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [*YIELDING, sys.executable, str(ROOT / "bench" / "events.py"), str(port), str(self.files[0])]
        self._process = Pinned("the receiver", command, core, os.environ, folder / "output", folder)
        self._process.wait_for(f"{self.endpoint}/", b"")

    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        return self._process.cpu()

    def size(self) -> int:
        """Return how many bytes it has written since `clear`."""
        return self.files[0].stat().st_size

    def clear(self) -> None:
        """Cut the file to nothing."""
        os.truncate(self.files[0], 0)

    def end(self) -> None:
        """End it."""
        self._process.end()


class Relayed:
    """A sink behind a relay that counts what it gets, and holds its answers back if it is to be slow."""

    def __init__(self, sink: LiveCollector | Receiver, folder: Path, core: int, *, slow: bool) -> None:
        """Start the relay; the sink ends with it."""
        self._sink = sink
        self.files = sink.files
        self._counter = folder / "wire"
        port, target = free_port(), sink.endpoint.rpartition(":")[2]
        self.endpoint = f"http://127.0.0.1:{port}"
        delay = str(_SLOW if slow else 0.0)
        command = [sys.executable, str(ROOT / "bench" / "relay.py"), str(port), target, delay, str(self._counter)]
        self._process = Pinned("the relay", command, core, os.environ, folder / "relay-output", folder)
        path = "/v1/logs" if isinstance(sink, LiveCollector) else "/"
        self._process.wait_for(f"{self.endpoint}{path}", b"{}" if path != "/" else b"")

    def cpu(self) -> float:
        """Return the sink's seconds of processor time."""
        return self._sink.cpu()

    def size(self) -> int:
        """Return how many bytes the sink has written."""
        return self._sink.size()

    def clear(self) -> None:
        """Cut the sink's files, unless the server may still be sending what it is behind with."""

    def wire(self) -> int:
        """Return how many bytes have gone to the sink."""
        return int(self._counter.read_text())

    def end(self) -> None:
        """End both."""
        self._process.end()
        self._sink.end()


Sink = LiveCollector | Receiver | Relayed


class Sinks:
    """The sinks of one run: one Collector and one receiver shared by all, one more for each that is slow."""

    def __init__(self, folder: Path, core: int) -> None:
        """Start nothing yet; what the sinks write is in memory if there is room: the disk is the servers'."""
        self._in_memory = _in_memory()
        self._folder, self._core = self._in_memory or folder, core
        self._shared: dict[str, Sink] = {}
        self._own: list[Sink] = []

    def of(self, variant: Variant, *, counted: bool = False) -> Sink | None:
        """Return what the variant ships to, None if it ships nothing or nobody is there."""
        if variant.sink in {"", "down"}:
            return None
        if variant.sink == "slow" or counted:
            folder = self._folder / f"sink-{variant.name}"
            sink: Sink = Relayed(self._new(variant, folder), folder, self._core, slow=variant.sink == "slow")
            self._own.append(sink)
            return sink
        if variant.records not in self._shared:
            self._shared[variant.records] = self._new(variant, self._folder / f"sink-{variant.records}")
        return self._shared[variant.records]

    def end(self) -> None:
        """End them all."""
        for sink in [*self._shared.values(), *self._own]:
            sink.end()
        if self._in_memory:
            shutil.rmtree(self._in_memory, ignore_errors=True)

    def _new(self, variant: Variant, folder: Path) -> LiveCollector | Receiver:
        kind = Receiver if variant.records == "events" else LiveCollector
        return kind(folder, free_port(), self._core)
