"""A row without a server: ONNX Runtime runs the model in a loop on the server's core, in the same rounds."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from bench.model_repository import file_of, repository
from bench.pinned import BenchError, core_time
from bench.running import Measured
from bench.variants import ROOT
from bench.wrk import Load

if TYPE_CHECKING:
    from pathlib import Path

    from bench.running import Cores
    from bench.setting import Setting
    from bench.variants import Variant


class _Seen(Load, frozen=True):
    """What the loop saw."""

    cpu: float = 0.0
    """Microseconds of processor time a run."""


class RuntimeLoop:
    """The loop, with what rounds ask of a server."""

    answer = b""

    def __init__(self, variant: Variant, folder: Path, cores: Cores) -> None:
        """Start nothing: each measurement is a process of its own."""
        self.variant = variant
        self._models = repository(folder)
        self._cores = cores

    def check(self, setting: Setting) -> bytes:  # noqa: ARG002 - it is the measure of what is right
        """Check nothing."""
        return b""

    def measure(self, setting: Setting, seconds: int) -> Measured:
        """Return one measurement; raises BenchError if the loop fails."""
        core = self._cores.server
        command = ["taskset", "-c", str(core), sys.executable, "-m", "bench.runtime_loop"]
        file = file_of(self._models, setting.model)
        before = core_time(core)
        done = subprocess.run(
            [*command, str(file), str(seconds)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        after = core_time(core)
        if done.returncode:
            msg = f"ONNX Runtime alone failed: {done.stderr.strip()[-500:]}"
            raise BenchError(msg)
        seen = msgspec.json.decode(done.stdout, type=_Seen)
        busy = after.share_since(before) * (after.whole - before.whole)
        own = max(seen.microseconds / 1e6, seen.cpu * seen.requests / 1e6)
        return Measured(
            rate=seen.rate,
            cpu=seen.cpu,
            p50=seen.p50,
            p99=seen.p99,
            others=max(0.0, own - seen.cpu * seen.requests / 1e6) / max(busy, own),
            load_core=0.0,
            shipped=1.0,
            collector_cpu=0.0,
            acknowledged=seen.requests,
            recorded=0,
        )

    def pause(self) -> None:
        """Have nothing to pause."""

    def end(self) -> None:
        """Have nothing to end."""
