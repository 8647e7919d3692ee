"""The report of `make chaos`, as tables of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from chaos import judge, report
from chaos.plan import Fault

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
