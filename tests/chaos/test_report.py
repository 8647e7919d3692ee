"""The report of `make chaos`, as tables of Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import pytest

from chaos import judge, report
from chaos.plan import Fault
from scripts import results
from tests.support.ledger import Ledger
from tests.support.server import ROOT

if TYPE_CHECKING:
    from chaos.campaign import Campaign

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_rows_of_a_power_cut_are_said_to_be_left_out() -> None:
    """The table of what is wrong says that a power cut's rows, counted above it, are not among the missing ones."""
    without = dict.fromkeys(Fault, "not here")
    compared = {"rows of the last second before a power cut, gone": 4}
    lines = report.lines([], cast("Campaign", None), without, compared, {judge.MISSING: []})
    (note,) = [at for at, line in enumerate(lines) if "are not counted as missing" in line]
    assert note < lines.index("| wrong | |") < lines.index(f"| {judge.MISSING} | 0 |")
    assert "| rows of the last second before a power cut, gone | 4 |" in lines[:note]


def test_the_counts_add_up() -> None:
    """The records at the sink are those of acknowledged rows, of rows without an answer, and events of the streams."""
    verdict = judge.Verdict(acknowledged=30, records=33, answered=26, unanswered=2, events=5, refused=1)
    verdict.cut = {("a", 0), ("a", 1), ("a", 2)}
    counts = report.counts(verdict, [Ledger()])
    parts = [count for name, count in counts.items() if name.startswith("… ")]
    assert sum(parts) == counts["records at the sink"]
    rest = counts["records refused by the sink, and kept"] + len(verdict.cut)
    assert counts["rows acknowledged as logged"] == counts["… of acknowledged rows"] + rest


def test_the_page_shows_the_run_of_the_promises() -> None:
    """docs/reliability.md shows the run whose figures docs/promises.md has, unless that one found something wrong."""
    (kept,) = [each for each in results.every() if each.run == "chaos"]
    if any(kept.figures["wrong"].values()):
        pytest.skip("the last run found something wrong, and the page keeps the one before")
    _, _, shown = PAGE.partition(report.MARKS[0])
    shown = shown.partition(report.MARKS[1])[0]
    command, day = re.findall(r"^`(make chaos [^`]*)`, ([\d-]+)", shown, re.MULTILINE)[0]
    assert kept.command.replace(" --write docs/reliability.md", "") == command
    assert kept.ended.startswith(day)
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d,]+) \|", shown, re.MULTILINE))
    for table in kept.figures.values():
        assert {name: f"{count:,.0f}" for name, count in table.items()}.items() <= rows.items()
