"""The long run as it stands in the docs: a picture and what it says in figures."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chaos import report
from chaos.picture import Band, Panel, picture
from scripts import results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.wrk import Load

_DOCS = Path(__file__).parent.parent / "docs"
MARKS = "<!-- written by make chaos, long, from here on -->", "<!-- to here, long -->"


class Look(NamedTuple):
    """What was seen at the end of one slice of load."""

    minute: float
    load: Load
    resident: int
    descriptors: int
    outbox: int


def write(looks: Sequence[Look], bands: Sequence[Band], arrived: int, arguments: str) -> None:
    """Write docs/long-run.svg, the lines about it in docs/reliability.md, and the figures of docs/promises.md."""
    (_DOCS / "long-run.svg").write_text(draw(looks, bands), encoding="utf-8")
    report.write(_DOCS / "reliability.md", list(_lines(looks, arrived, arguments)), MARKS)
    seconds = looks[-1].minute * 60
    results.write("long", f"make chaos ARGS='{arguments} --write'", seconds, {"load": _figures(looks, arrived)})


def draw(looks: Sequence[Look], bands: Sequence[Band]) -> str:
    """Return the picture."""
    loads = [look.load for look in looks]
    panels = (
        Panel("requests a second", {"": [load.rate for load in loads]}),
        Panel("latency, ms", {"p99": [load.p99 / 1000 for load in loads], "p50": [load.p50 / 1000 for load in loads]}),
        Panel("resident memory, MiB", {"": [look.resident / 2**20 for look in looks]}),
        Panel("open files", {"": [look.descriptors for look in looks]}),
        Panel("outbox, MiB", {"": [look.outbox / 2**20 for look in looks]}),
    )
    return picture([look.minute for look in looks], panels, bands)


def _figures(looks: Sequence[Look], arrived: int) -> dict[str, float]:
    resident = [look.resident >> 20 for look in looks]
    return {
        "records that arrived": arrived,
        "requests a second, median": round(statistics.median(look.load.rate for look in looks)),
        "resident MiB at least": min(resident),
        "resident MiB at most": max(resident),
    }


def _lines(looks: Sequence[Look], arrived: int, arguments: str) -> Iterator[str]:
    resident = [look.resident / 2**20 for look in looks]
    rate = statistics.median(look.load.rate for look in looks)
    p99 = statistics.median(look.load.p99 for look in looks) / 1000
    yield f"`make chaos ARGS='{arguments} --write'`, {datetime.now(UTC):%Y-%m-%d}."
    yield f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}."
    yield f"In the median {rate:,.0f} requests a second, p99 {p99:.1f} ms; all {arrived:,} records arrived."
    yield f"Memory {min(resident):.0f} to {max(resident):.0f} MiB; in the coloured times there was no Collector."
    yield ""
    yield "![requests a second, latency, memory, open files and outbox over time](long-run.svg)"
