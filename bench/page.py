"""The page: each part of the results stands between marks of its own, so that one part can be measured anew."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from bench import tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.alone import Costs
    from bench.rounds import Results
    from bench.setting import Setting
    from bench.variants import Variant

_PACKAGES = ("aiohttp", "uvloop", "msgspec", "numpy", "onnxruntime", "opentelemetry-sdk")


def marks(part: str) -> tuple[str, str]:
    """Return the lines between which a part's results stand."""
    return f"<!-- {part}: written by bench/__main__.py from here on -->", f"<!-- {part}: to here -->"


def write(path: Path, part: str, lines: Sequence[str]) -> None:
    """Put the lines between the marks of the part; the page is kept as it is around them."""
    begin, end = marks(part)
    before, found, rest = path.read_text().partition(begin)
    if not found:
        before, rest = before.rstrip("\n") + "\n\n", end + "\n"
    path.write_text("\n".join((before + begin, *lines, end)) + rest.partition(end)[2])


def rounds_page(
    variants: Sequence[Variant],
    settings: Sequence[Setting],
    results: Results,
    tools: Sequence[str],
    bases: tables.Bases,
) -> list[str]:
    """Return the lines of a part whose servers ran side by side."""
    rounds = min(len(measured) for measured in results.measured.values())
    lines = head(rounds, tools)
    for setting in settings:
        lines += ["", f"### {setting.title}", ""]
        lines += tables.side_by_side(variants, setting, results, bases)
    return [*lines, "", *_circumstances(variants, settings[-1], results)]


def costs_page(variants: Sequence[Variant], connections: int, costs: Costs, tools: Sequence[str]) -> list[str]:
    """Return the lines of the part whose servers ran alone."""
    rounds = min((len(several) for several in costs.measured.values()), default=0)
    title = f"### Each alone, {connections} connections"
    return [*head(rounds, tools), "", title, "", *tables.costs(variants, costs)]


def noise(results: Results) -> float:
    """Return the share of the server's core that something else took, in the median measurement."""
    return statistics.median(measured.others for series in results.measured.values() for measured in series)


def others(results: Results) -> str:
    """Return a sentence about what else ran on the server's core."""
    worst = max(measured.others for series in results.measured.values() for measured in series)
    return f"Other processes took {noise(results):.1%} of the server's core in the median, {worst:.1%} at worst."


def head(rounds: int, tools: Sequence[str]) -> list[str]:
    """Return the lines that say by which command, when and on what it was measured."""
    return [
        f"`{command_line()}`, {datetime.now(UTC):%Y-%m-%d}, {rounds} rounds.",
        f"{_processor()}, Linux {platform.release()}, Python {platform.python_version()}.",
        ", ".join([*(f"{name} {version(name)}" for name in _PACKAGES), *tools]) + ".",
    ]


def _circumstances(variants: Sequence[Variant], setting: Setting, results: Results) -> Iterator[str]:
    """Yield what a reader needs to judge the figures: noise, and whether wrk or the shipper was the limit."""
    yield others(results)
    series = {name: several for (name, at), several in results.measured.items() if at == setting}
    loaded = max(statistics.median(m.load_core for m in several) for several in series.values())
    yield f"The core of wrk and the sinks was in use {loaded:.0%} of the time at the most, in the last table."
    for variant in variants:
        if variant.sink == "up" and variant.ours and variant.name in series:
            shipped = statistics.median(m.shipped for m in series[variant.name])
            collector = statistics.median(m.collector_cpu for m in series[variant.name])
            yield (
                f"{variant.title}: {shipped:.0%} was at the Collector when the load ended; "
                f"the Collector took {collector:.0f} µs a request."
            )


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - no path of ours
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"


def command_line() -> str:
    """Return the command as a person would type it."""
    return " ".join(["python", "-m", "bench", *sys.argv[1:]])
