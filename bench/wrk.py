"""wrk, the load generator (https://github.com/wg/wrk)."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bench.pinned import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCRIPT = Path(__file__).with_name("predict.lua")
Kind = Literal["", "traceparent", "livez"]
_PATIENCE = 20  # s; a slow answer is one


class Load(msgspec.Struct, frozen=True):
    """What wrk saw; p50 and p99 are microseconds."""

    requests: int
    microseconds: int
    p50: float
    p99: float
    unanswered: int
    refused: int
    odd: int = 0
    """Requests sent that are no predictions."""

    @property
    def errors(self) -> int:
        """Requests without an answer, or with another than 2xx or 3xx."""
        return self.unanswered + self.refused

    @property
    def predictions(self) -> int:
        """Predictions answered at least; one more for each connection whose last request was odd."""
        return self.requests - self.odd

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.microseconds * 1e6


def version() -> str:
    """Return wrk's version; raises BenchError with how to install it."""
    if not shutil.which("wrk"):
        msg = "wrk is not installed: `apt install wrk` (Debian, Ubuntu), `brew install wrk`"
        raise BenchError(msg)
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return said.split("[")[0].strip()


def run(url: str, requests: Path, connections: int, seconds: int, core: int, kind: Kind = "") -> Load:
    """Load `url` with the lines of a file, one thread on `core`; raises BenchError unless every answer was a 200.

    `kind` "traceparent" gives each request a trace of its own; "livez" makes one in 100, at random, a GET /livez.
    """
    load = load_with(("taskset", "-c", str(core)), url, requests, connections, seconds, kind)
    if load.errors or not load.requests:
        msg = f"of {load.requests} requests {load.unanswered} had no answer and {load.refused} another than 2xx or 3xx"
        raise BenchError(msg)
    return load


def load_with(before: Sequence[str], url: str, requests: Path, connections: int, seconds: int, kind: Kind = "") -> Load:
    """Load `url` with the lines of a file; `before` stands before the command; raises BenchError if wrk fails."""
    command = [*before, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT)]
    command += [f"--timeout={_PATIENCE}s", url, "--", str(requests), kind, str(random.randrange(1 << 31))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"requests"')]
    if not lines:
        msg = f"wrk failed: {done.stdout} {done.stderr}"
        raise BenchError(msg)
    return msgspec.json.decode(lines[0], type=Load)
