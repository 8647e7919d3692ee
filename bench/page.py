"""The results as a page of Markdown: medians, and ratios within the same round with their quartiles."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from variants import BARE, OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rounds import Results
    from running import Measured
    from variants import Variant

BEGIN, END = "<!-- written by bench/run.py from here on -->", "<!-- to here -->"
_PACKAGES = ("aiohttp", "uvloop", "msgspec", "numpy", "onnxruntime", "opentelemetry-sdk")
_HEAD = (
    "| | requests/s | ÷ bare | ÷ logging off | CPU µs a request | CPU ÷ bare | p50 ms | p99 ms | p99 ÷ bare |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def write(path: Path, lines: Sequence[str]) -> None:
    """Put the lines between the marks of the page, which is kept as it is around them."""
    before, _, rest = path.read_text().partition(BEGIN)
    path.write_text("\n".join((before + BEGIN, *lines, END)) + rest.partition(END)[2])


def page(
    variants: Sequence[Variant], connections: Sequence[int], results: Results, tools: Sequence[str], command: str
) -> list[str]:
    """Return the lines of the page."""
    rounds = min(len(measured) for measured in results.values())
    lines = [
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {rounds} rounds.",
        f"{_processor()}, Linux {platform.release()}, Python {platform.python_version()}.",
        ", ".join([*(f"{name} {version(name)}" for name in _PACKAGES), *tools]) + ".",
    ]
    for count in connections:
        lines += ["", f"## {count} connection{'s' if count > 1 else ''}", "", *_HEAD]
        lines += [_row(variant, count, results) for variant in variants]
    return [*lines, "", *_circumstances(variants, max(connections), results)]


def _row(variant: Variant, count: int, results: Results) -> str:
    mine = results[variant.name, count]

    def median(value: Callable[[Measured], float], form: str) -> str:
        return format(statistics.median(map(value, mine)), form)

    def ratio(value: Callable[[Measured], float], base: str) -> str:
        if variant.name == base or (base == OFF and variant.name == BARE) or (base, count) not in results:
            return ""
        return spread([value(m) / value(b) for m, b in zip(mine, results[base, count], strict=True)])

    cells = (
        variant.title,
        median(lambda m: m.rate, ",.0f"),
        ratio(lambda m: m.rate, BARE),
        ratio(lambda m: m.rate, OFF),
        spread([m.cpu for m in mine], ".0f"),
        ratio(lambda m: m.cpu, BARE),
        median(lambda m: m.p50 / 1000, ".2f"),
        median(lambda m: m.p99 / 1000, ".2f"),
        ratio(lambda m: m.p99, BARE),
    )
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median with the quartiles in brackets."""
    if len(values) < 2:
        return format(values[0], form)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"**{middle:{form}}** ({low:{form}}-{high:{form}})"


def noise(results: Results) -> float:
    """Return the share of the server's core that something else took, in the median measurement."""
    return statistics.median(measured.others for series in results.values() for measured in series)


def _circumstances(variants: Sequence[Variant], count: int, results: Results) -> Iterator[str]:
    """Yield what a reader needs to judge the figures: noise, and whether wrk or the shipper was the limit."""
    worst = max(measured.others for series in results.values() for measured in series)
    yield f"Other processes took {noise(results):.1%} of the server's core in the median, {worst:.1%} at worst."
    loaded = max(statistics.median(m.load_core for m in results[variant.name, count]) for variant in variants)
    yield f"The core of wrk and the Collector was in use {loaded:.0%} of the time at the most, at {count} connections."
    for variant in variants:
        if variant.ships:
            series = results[variant.name, count]
            shipped = statistics.median(m.shipped for m in series)
            collector = statistics.median(m.collector_cpu for m in series)
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
    return " ".join(["python", "bench/run.py", *sys.argv[1:]])
