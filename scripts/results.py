"""The last result of each run that proves a promise: `docs/results/<run>.json`, written by the run itself."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "results"
_NOT_TRIED = ("docs", "bench/results", "README.md")
"""What runs write their figures into, and no run tries: a change there leaves the commit what it is."""


class Result(msgspec.Struct):
    """What a run found, of which source, when and where."""

    run: str
    command: str
    """Repeats it, from the project's folder."""
    ended: str
    """A time of UTC."""
    version: str
    """Of the project."""
    commit: str
    """Abbreviated, with `-dirty` if files differed from it; empty where there is no git."""
    machine: str
    minutes: float
    figures: dict[str, dict[str, float]]
    """Numbers by table and name; what they mean is the run's own."""


def write(run: str, command: str, seconds: float, figures: dict[str, dict[str, float]]) -> None:
    """Write the result of a run that just ended, whole or not at all."""
    minutes = round(seconds / 60, 1)
    ended = f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}"
    result = Result(run, command, ended, version(), commit(), machine(), minutes, figures)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{run}.json"
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    new.replace(path)


def every() -> list[Result]:
    """Return the last result of each run that is kept, the newest first."""
    found = [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(FOLDER.glob("*.json"))]
    return sorted(found, key=lambda result: result.ended, reverse=True)


def version(root: Path = ROOT) -> str:
    """Return the project's version, of the source and not of what is installed."""
    project = msgspec.toml.decode((root / "pyproject.toml").read_bytes())["project"]
    return str(project["version"])


def commit() -> str:
    """Return the commit that is checked out, with `-dirty` if what a run tries differs from it."""
    found = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in _NOT_TRIED))
    return f"{found}-dirty" if changed else found


def machine() -> str:
    """Return on what a run ran."""
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607 - git as it is on the PATH
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
