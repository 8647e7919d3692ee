"""What was measured, one file a part: `bench/results/<part>.json` is what the pages are written from.

While a part is being measured its rounds so far are in `.cache/bench/rounds/<part>.json`, from which it can go on.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.alone import Cost, Costs
from bench.environments import ROOT
from bench.rounds import Results
from bench.running import Measured
from bench.setting import Setting  # noqa: TC001 - its fields are decoded
from scripts import results as project

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = ROOT / "bench" / "results"
UNDER_WAY = ROOT / ".cache" / "bench" / "rounds"
_PACKAGES = ("aiohttp", "uvloop", "msgspec", "numpy", "onnxruntime", "opentelemetry-sdk")
_DIGITS = 5
"""Of each figure: the spread between rounds is a thousand times as wide."""


class Series(msgspec.Struct):
    """One variant in one setting."""

    variant: str
    setting: Setting
    rounds: list[Measured]


class Step(msgspec.Struct):
    """A part of the way of a request, in microseconds of processor time."""

    name: str
    microseconds: float


class Way(msgspec.Struct):
    """Where the time goes in one setting."""

    variant: str
    setting: Setting
    whole: float
    """Microseconds a request."""
    steps: list[Step]


class Reading(msgspec.Struct):
    """What one reader of the log took."""

    name: str
    records: int
    seconds: float
    processor: float
    memory: int
    """Bytes at most."""


class PartResult(msgspec.Struct):
    """A part that was measured."""

    part: str
    command: str
    date: str
    revision: str
    circumstances: list[str]
    """What machine, and the versions of what took part."""
    seconds: int = 0
    """Of load a measurement."""
    version: str = ""
    """Of the project."""
    series: list[Series] = []
    costs: dict[str, list[Cost]] = {}
    ways: list[Way] = []
    readings: list[Reading] = []
    failed: dict[str, str] = {}

    @property
    def results(self) -> Results:
        """Return the rounds as tables want them."""
        found = Results(defaultdict(list), dict(self.failed))
        for each in self.series:
            found.measured[each.variant, each.setting] = list(each.rounds)
        return found

    @property
    def alone(self) -> Costs:
        """Return what each server took by itself."""
        return Costs(self.costs, self.failed)

    @property
    def rounds(self) -> int:
        """Return how many rounds each row has at least."""
        many: list[list[Any]] = [*(each.rounds for each in self.series), *self.costs.values()]
        return min(map(len, many), default=0)


def begun(part: str, tools: Sequence[str], seconds: int) -> PartResult:
    """Return the empty result of a part that is measured now."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    source = revision(), circumstances(tools), seconds, project.version()
    return PartResult(part, command_line(), day, *source)


def with_rounds(whole: PartResult, results: Results) -> PartResult:
    """Return a result with these rounds, in as many digits as mean anything."""
    series = [
        Series(variant, setting, [Measured(*map(_rounded, each)) for each in rounds])
        for (variant, setting), rounds in results.measured.items()
    ]
    return msgspec.structs.replace(whole, series=series, failed=dict(results.failed))


def with_costs(whole: PartResult, costs: Costs) -> PartResult:
    """Return a result with what each server took by itself."""
    rounded = {name: [Cost(*map(_rounded, each)) for each in several] for name, several in costs.measured.items()}
    return msgspec.structs.replace(whole, costs=rounded, failed=dict(costs.failed))


def write(result: PartResult, folder: Path = RESULTS) -> None:
    """Write a result, whole or not at all, in a form whose changes can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.part}.json"
    lines = msgspec.json.encode(result).replace(b'{"variant"', b'\n{"variant"')
    new = path.with_suffix(".new")
    new.write_bytes(lines + b"\n")
    new.replace(path)


def read(part: str, folder: Path = RESULTS) -> PartResult | None:
    """Return the result of a part, None if there is none."""
    path = folder / f"{part}.json"
    return msgspec.json.decode(path.read_bytes(), type=PartResult) if path.exists() else None


def under_way(fresh: PartResult) -> PartResult | None:
    """Return the rounds of the same part that were measured so far, of the same source and for as long."""
    found = read(fresh.part, UNDER_WAY)
    same = found and (found.revision, found.seconds) == (fresh.revision, fresh.seconds)
    return found if same else None


def finish(part: str) -> None:
    """Forget the rounds under way."""
    (UNDER_WAY / f"{part}.json").unlink(missing_ok=True)


def command_line() -> str:
    """Return the command as a person would type it."""
    return " ".join(["python", "-m", "bench", *sys.argv[1:]])


def circumstances(tools: Sequence[str]) -> list[str]:
    """Return on what is measured: the machine, and the versions of what takes part."""
    machine = f"{_processor()}, Linux {platform.release()}, Python {platform.python_version()}."
    return [machine, ", ".join([*(f"{name} {version(name)}" for name in _PACKAGES), *tools]) + "."]


def revision() -> str:
    """Return the commit, with a word if there are changes."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"


def _rounded(figure: Any) -> Any:  # noqa: ANN401 - a number or None
    return float(f"{figure:.{_DIGITS}g}") if isinstance(figure, float) else figure
