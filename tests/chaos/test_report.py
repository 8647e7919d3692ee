"""The report of `make chaos`, as tables of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from chaos import judge, report
from chaos.plan import Fault
from tests.support.ledger import Ledger

if TYPE_CHECKING:
    from chaos.campaign import Campaign


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
