"""What a prediction costs each part of the way to the sink, and what that makes at 100, 10,000 and 1,000,000 a second.

docs/benchmarks.md has the figures, docs/operations.md what follows from them: `python -m bench.report.sizing` writes
the latter between its marks, and a test holds it to the former.
"""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.report.store import PartResult

_ROOT = Path(__file__).parents[2]
PAGE, GUIDE = _ROOT / "docs" / "benchmarks.md", _ROOT / "docs" / "operations.md"
MARKS = ("<!-- sizing: written by bench/report/sizing.py from docs/benchmarks.md -->\n", "<!-- sizing end -->\n")
RATES = (100, 10_000, 1_000_000)
_BUSY = 0.6
"""Of a core: a pod that is fuller has no room for a peak, nor to catch up after an outage."""
_SHIPPED = 5_000
"""Records a second that one pod ships to a Loki that others share: one request is under way at a time."""
_OUTBOX = 4 << 30
"""Bytes that a pod of the component `durable` holds."""
_DAY = 86_400
_ROW = re.compile(r"^\| (.+?) \| ([\d,.]+) (µs|B) \|", re.MULTILINE)

COLLECTOR, LOKI, CHUNKS = 48.0, 86.0, 300.0
"""Microseconds and bytes a record, measured with a Collector before a real Loki: see docs/operations.md."""
NAMES = {
    "server": "server: processor time, one row a request, shipped, 5 % traced",
    "collector": "Collector before Loki: processor time",
    "loki": "Loki, one process for all: processor time",
    "outbox": "outbox, written once and removed when it is shipped",
    "wire": "wire from server to Collector, uncompressed",
    "chunks": "Loki's chunks",
}


class Figures(NamedTuple):
    """What one record takes: microseconds of a core, and bytes."""

    server: float
    collector: float
    loki: float
    outbox: float
    wire: float
    chunks: float


def figures(results: Mapping[str, PartResult]) -> Figures | None:
    """Return them from what was measured, None without the part `alone`."""
    alone = results.get("alone")
    costs = alone.costs.get("traced5") if alone else None
    if not costs:
        return None
    server = statistics.median(cost.cpu for cost in costs) * 1000
    outbox, wire = (statistics.median(getattr(cost, name) for cost in costs) for name in ("disk", "wire"))
    return Figures(server, COLLECTOR, LOKI, outbox or wire, wire, CHUNKS)  # a file system in memory writes nothing


def inputs(results: Mapping[str, PartResult]) -> list[str]:
    """Return the table of the figures."""
    found = figures(results)
    return table(found) if found else ["Not measured yet: `python -m bench --parts alone`."]


def table(found: Figures) -> list[str]:
    """Return the figures as a table, from which `read` has them back."""
    units = {name: "µs" if name in {"server", "collector", "loki"} else "B" for name in found._fields}
    rows = [f"| {NAMES[name]} | {value:,.0f} {units[name]} |" for name, value in found._asdict().items()]
    return ["| a record takes | |", "|---|---:|", *rows]


def read(page: str) -> Figures:
    """Return the figures that a page has; raises KeyError if one is missing."""
    rows = {text: float(number.replace(",", "")) for text, number, _ in _ROW.findall(page)}
    return Figures(*(rows[NAMES[name]] for name in Figures._fields))


class Need(NamedTuple):
    """What a rate needs."""

    server: float
    """Cores, as all of these."""
    pods: int
    collector: float
    loki: float
    wire: float
    """Bytes a second."""
    outbox: float
    """Bytes that an hour without a sink leaves."""
    bridged: float
    """Seconds until the outboxes of the component `durable` are full."""
    chunks: float
    """Bytes a day."""


def need(found: Figures, rate: int) -> Need:
    """Return what so many predictions a second need."""
    server = rate * found.server / 1e6
    pods = max(2, math.ceil(server / _BUSY), math.ceil(rate / _SHIPPED))
    return Need(
        server,
        pods,
        rate * found.collector / 1e6,
        rate * found.loki / 1e6,
        rate * found.wire,
        rate * found.outbox * 3600,
        pods * _OUTBOX / (rate * found.outbox),
        rate * found.chunks * _DAY,
    )


def section(found: Figures) -> str:
    """Return the tables of docs/operations.md."""
    needs = [need(found, rate) for rate in RATES]
    rows = [
        ("cores of servers", [_cores(each.server) for each in needs]),
        ("pods of one core, two at least", [f"{each.pods:,}" for each in needs]),
        ("cores of Collectors, over all nodes", [_cores(each.collector) for each in needs]),
        ("cores of Loki", [_cores(each.loki) for each in needs]),
        ("from servers to Collectors", [f"{_bytes(each.wire)}/s" for each in needs]),
        ("outboxes after an hour without a sink, together", [_bytes(each.outbox) for each in needs]),
        ("an outage that 4 GiB a pod (`durable`) bridge", [_time(each.bridged) for each in needs]),
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


def _cores(number: float) -> str:
    return f"{number:.3f}" if number < 0.1 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds > 2 * 3600 else f"{seconds / 60:.0f} min"


def _bytes(number: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}" if number < 100 * size else f"{number / size:,.0f} {unit}"
    return f"{number / 1e3:.0f} kB"


if __name__ == "__main__":
    write()
