"""A peer's own environment: made on demand in .cache/bench/<peer> from bench/peers/<peer>.txt."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from bench.pinned import BenchError

ROOT = Path(__file__).parent.parent
_CACHE = ROOT / ".cache" / "bench"
_PIP = ROOT / "requirements" / "pip.txt"
_NEWEST = {"mlserver": (3, 12)}  # what its metadata allows; pip refuses it elsewhere
_INSTALL = 900.0  # s; BentoML brings a hundred packages
AGENT_VERSION = "0.20.0"
AGENT = Path(os.environ.get("KSERVE_AGENT", _CACHE / "kserve-agent" / "agent"))


def python(peer: str) -> Path:
    """Return the Python of the peer's environment, installed if it is not yet; raises BenchError with why not."""
    lock, folder = _lock(peer), _CACHE / peer
    stamp = folder / ".holds"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    found = folder / "bin" / "python"
    if not (stamp.exists() and stamp.read_text() == wanted):
        base = _base(peer)
        print(f"installing {lock.relative_to(ROOT)} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        _do([base, "-m", "venv", "--clear", str(folder)], peer)
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes"]
        for one in (_PIP, lock):  # the first installs: as in scripts/venv
            _do([str(found), "-m", "pip", "install", *options, "--requirement", str(one)], peer)
        stamp.write_text(wanted)
    return found


def described(peer: str) -> str:
    """Return package, version and Python of a peer that is installed."""
    asked = [str(python(peer)), "-c", "import platform; print(platform.python_version())"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    return f"{peer} {version(peer)} on Python {said}"


def _base(peer: str) -> str:
    """Return the Python to make the environment with: our own, or the newest that the peer allows."""
    newest = _NEWEST.get(peer)
    if newest is None or sys.version_info < (*newest, 999):
        return sys.executable
    ready = "import sys, ensurepip, venv; print(sys.executable)"
    for minor in range(newest[1], 10, -1):
        for folder in os.environ["PATH"].split(os.pathsep):  # a command that exists may not run: a shim of pyenv
            try:
                done = subprocess.run([f"{folder}/python3.{minor}", "-c", ready], capture_output=True, text=True)  # noqa: PLW1510
            except OSError:
                continue
            if done.returncode == 0:
                return done.stdout.strip()
    msg = f"not installed: {peer} {version(peer)} needs Python 3.{newest[1]} or older, and none is there that runs"
    raise BenchError(msg)


def agent() -> Path:
    """Return KServe's agent; raises BenchError with how to get it."""
    if not AGENT.exists():
        msg = (
            f"not installed: KServe's agent {AGENT_VERSION} is a Go program, wanted as .cache/bench/kserve-agent/agent"
        )
        raise BenchError(msg)
    return AGENT


def version(peer: str) -> str:
    """Return the version that the lock pins."""
    pinned = re.search(rf"^{peer}==(\S+)", _lock(peer).read_text(), re.MULTILINE)
    return pinned[1] if pinned else "unknown"


def _lock(peer: str) -> Path:
    return ROOT / "bench" / "peers" / f"{peer}.txt"


def _do(command: list[str], peer: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:]
        msg = f"not installed: {peer} {version(peer)}: {' '.join(last)}"
        raise BenchError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"not installed: {peer} {version(peer)} took more than {_INSTALL:.0f} s"
        raise BenchError(msg) from error
