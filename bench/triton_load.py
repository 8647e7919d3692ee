"""Load by tritonclient, as applications send it: so many callers, each of whom asks again when he has his answer.

Over gRPC, too, where it is the one client.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.environments import ROOT
from bench.pinned import BenchError
from bench.wrk import Kind, Load

if TYPE_CHECKING:
    from collections.abc import Sequence

_PYTHON = ROOT / ".cache" / "clients" / "tritonclient" / "bin" / "python"
_PROGRAM = Path(__file__).parent / "peers" / "with_tritonclient.py"
_GRPC_PROGRAM = _PROGRAM.with_name("with_tritonclient_grpc.py")


def version() -> str:
    """Return tritonclient's name and version; raises BenchError with how to install it."""
    if not _PYTHON.exists():
        msg = "tritonclient is not installed: `make clients`"
        raise BenchError(msg)
    asked = [str(_PYTHON), "-c", "import importlib.metadata as m; print(m.version('tritonclient'))"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    return f"tritonclient {said}"


def run(url: str, requests: Path, connections: int, seconds: int, core: int, kind: Kind = "") -> Load:
    """Load `url` with the requests of a file on `core`; raises BenchError unless every answer is one."""
    if kind:
        msg = f"tritonclient has no load {kind!r}"
        raise BenchError(msg)
    command: Sequence[str] = ("taskset", "-c", str(core), str(_PYTHON), str(_PROGRAM), url, str(requests))
    done = subprocess.run([*command, str(connections), str(seconds)], capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"tritonclient failed: {done.stderr.strip()[-500:]}"
        raise BenchError(msg)
    return msgspec.json.decode(done.stdout, type=Load)


def run_grpc(place: str, model: str, requests: Path, connections: int, seconds: int, core: int) -> Load:
    """Load `place`, a host and a port, by gRPC on `core`; raises BenchError unless every answer is one."""
    return msgspec.json.decode(_grpc(core, place, model, requests, connections, seconds), type=Load)


def ask_grpc(place: str, model: str, requests: Path, core: int) -> dict[str, list[float]]:
    """Return the numbers that answer the first request of a file; raises BenchError."""
    return msgspec.json.decode(_grpc(core, place, model, requests), type=dict[str, list[float]])


def _grpc(core: int, *arguments: object) -> str:
    command = ("taskset", "-c", str(core), str(_PYTHON), str(_GRPC_PROGRAM), *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"tritonclient failed over gRPC: {done.stderr.strip()[-500:]}"
        raise BenchError(msg)
    return done.stdout
