"""What a prediction costs each part of the way to the sink, and what that makes at 100, 10,000 and 1,000,000 a second.

docs/benchmarks.md has the figures, docs/operations.md what follows from them: `python -m bench.report.sizing` writes
the latter between its marks, and a test holds it to the former.

Rows that run together share a run of the model and the resource of their line, so a prediction costs most where one
caller waits for each answer, and least under full load. Both are reckoned.
"""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.report.store import PartResult

_ROOT = Path(__file__).parents[2]
PAGE, GUIDE = _ROOT / "docs" / "benchmarks.md", _ROOT / "docs" / "operations.md"
MARKS = ("<!-- sizing: written by bench/report/sizing.py from docs/benchmarks.md -->\n", "<!-- sizing end -->\n")
RATES = (100, 10_000, 1_000_000)
_BUSY = 0.6
"""Of what a pod can do: one that does more has no room for a peak, nor to catch up after an outage."""
_SHIPPED = 5_000
"""Records a second that one pod ships to a Loki that others share: one request is under way at a time."""
_OUTBOX = 4 << 30
"""Bytes that a pod of the component `durable` holds."""
_DAY = 86_400
_ROW = re.compile(r"^\| (.+?) \| ([\d,.]+) (µs|B) \|", re.MULTILINE)

COLLECTOR, LOKI, CHUNKS, LONE_LINE = 48.0, 86.0, 300.0, 3_100.0
"""Microseconds and bytes a record, measured with a Collector before a real Loki: see docs/operations.md."""
NAMES = {
    "server": "server: processor time, one row a request, shipped, 5 % traced; 32 callers at once",
    "lone": "server: the same, one caller who waits for each answer",
    "collector": "Collector before Loki: processor time",
    "loki": "Loki, one process for all: processor time",
    "outbox": "outbox, written once and removed when it is shipped; 32 callers at once",
    "wire": "wire from server to Collector, uncompressed; 32 callers at once",
    "line": "outbox and wire, each record alone in its line, with a pod's attributes",
    "chunks": "Loki's chunks",
}
_TIMES = frozenset({"server", "lone", "collector", "loki"})


class Figures(NamedTuple):
    """What one record takes: microseconds of a core, and bytes."""

    server: float
    """Under full load, as `outbox` and `wire`."""
    lone: float
    """Of the server, where one caller waits for each answer."""
    collector: float
    loki: float
    outbox: float
    wire: float
    line: float
    """Of outbox and wire, where each record is alone in its line."""
    chunks: float


def figures(results: Mapping[str, PartResult]) -> Figures | None:
    """Return them from what was measured, None without the parts `alone` and `connections`."""
    alone, connections = results.get("alone"), results.get("connections")
    costs = alone.costs.get("traced5") if alone else None
    measured = connections.results.measured.get(("traced5", Setting(1, 1))) if connections else None
    if not (costs and measured):
        return None
    server = statistics.median(cost.cpu for cost in costs) * 1000
    lone = statistics.median(each.cpu for each in measured)
    outbox, wire = (statistics.median(getattr(cost, name) for cost in costs) for name in ("disk", "wire"))
    outbox = outbox or wire  # a file system in memory writes nothing
    return Figures(server, lone, COLLECTOR, LOKI, outbox, wire, LONE_LINE, CHUNKS)


def inputs(results: Mapping[str, PartResult]) -> list[str]:
    """Return the table of the figures."""
    found = figures(results)
    return table(found) if found else ["Not measured yet: `python -m bench --parts connections alone`."]


def table(found: Figures) -> list[str]:
    """Return the figures as a table, from which `read` has them back."""
    units = {name: "µs" if name in _TIMES else "B" for name in found._fields}
    rows = [f"| {NAMES[name]} | {value:,.0f} {units[name]} |" for name, value in found._asdict().items()]
    return ["| a record takes | |", "|---|---:|", *rows]


def read(page: str) -> Figures:
    """Return the figures that a page has; raises KeyError if one is missing."""
    rows = {text: float(number.replace(",", "")) for text, number, _ in _ROW.findall(page)}
    return Figures(*(rows[NAMES[name]] for name in Figures._fields))


class Span(NamedTuple):
    """What something takes under full load, and with one caller at a time."""

    least: float
    most: float


class Need(NamedTuple):
    """What a rate needs."""

    server: Span
    """Cores, as `collector` and `loki`."""
    pods: int
    collector: float
    loki: float
    wire: Span
    """Bytes a second."""
    outbox: Span
    """Bytes that an hour without a sink leaves."""
    bridged: float
    """Seconds until the outboxes of the component `durable` are full, at least."""
    chunks: float
    """Bytes a day."""


def need(found: Figures, rate: int) -> Need:
    """Return what so many predictions a second need.

    Pods are counted by what they do under full load: a pod with fewer callers at once takes more of its core for each,
    and less as soon as more come.
    """
    server = Span(rate * found.server / 1e6, rate * found.lone / 1e6)
    pods = max(2, math.ceil(server.least / _BUSY), math.ceil(rate / (_BUSY * _SHIPPED)))
    return Need(
        server,
        pods,
        rate * found.collector / 1e6,
        rate * found.loki / 1e6,
        Span(rate * found.wire, rate * found.line),
        Span(rate * found.outbox * 3600, rate * found.line * 3600),
        pods * _OUTBOX / (rate * found.line),
        rate * found.chunks * _DAY,
    )


def section(found: Figures) -> str:
    """Return the tables of docs/operations.md."""
    needs = [need(found, rate) for rate in RATES]
    rows = [
        ("cores of servers, many callers at once to one at a time", [_span(each.server, _cores) for each in needs]),
        ("pods of one core, two at least", [f"{each.pods:,}" for each in needs]),
        ("cores of Collectors, over all nodes", [_cores(each.collector) for each in needs]),
        ("cores of Loki", [_cores(each.loki) for each in needs]),
        ("from servers to Collectors, a second", [_span(each.wire, _bytes) for each in needs]),
        ("outboxes after an hour without a sink, together", [_span(each.outbox, _bytes) for each in needs]),
        ("an outage that 4 GiB a pod (`durable`) bridge at least", [_time(each.bridged) for each in needs]),
        ("Loki's chunks a day", [_bytes(each.chunks) for each in needs]),
        ("… in a week", [_bytes(7 * each.chunks) for each in needs]),
    ]
    lines = [
        "| predictions a second, one row a request | " + " | ".join(f"{rate:,}" for rate in RATES) + " |",
        "|---|" + "---:|" * len(RATES),
        *(f"| {text} | {' | '.join(cells)} |" for text, cells in rows),
    ]
    return "\n".join(lines) + "\n"


def rewritten(guide: str, page: str) -> str:
    """Return the guide with the tables that a page's figures give."""
    before, _, rest = guide.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return before + MARKS[0] + section(read(page)) + MARKS[1] + after


def write() -> None:
    """Write the guide's tables."""
    guide = GUIDE.read_text(encoding="utf-8")
    GUIDE.write_text(rewritten(guide, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _span(of: Span, text: Callable[[float], str]) -> str:
    return f"{text(of.least)} to {text(of.most)}"


def _cores(number: float) -> str:
    return f"{number:.3f}" if number < 0.1 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def _time(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 10 * 3600 else f"{seconds / 3600:.0f} h"


def _bytes(number: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}" if number < 100 * size else f"{number / size:,.0f} {unit}"
    return f"{number / 1e3:.0f} kB"


if __name__ == "__main__":
    write()
