"""What came out, as tables of Markdown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chaos.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from chaos.campaign import Campaign
    from chaos.judge import Verdict
    from tests.support.ledger import Ledger

MARKS = "<!-- written by make chaos from here on -->", "<!-- to here -->"


def write(path: Path, text: Sequence[str], marks: tuple[str, str] = MARKS) -> None:
    """Put the report between the marks of a page, which is kept as it is around them; raises ValueError without."""
    begin, end = marks
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        msg = f"{path} has no place for it: {begin} … {end}"
        raise ValueError(msg)
    path.write_text("\n".join((before + begin, "", *text, "", end)) + after, encoding="utf-8")


def lines(
    head: Iterable[str],
    happened: Campaign,
    without: Mapping[Fault, str],
    compared: Mapping[str, int],
    findings: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return the report: what it ran on, the faults, what there was to compare, and what is wrong."""
    return [
        *head,
        "",
        "| fault | times | met by |",
        "|---|---:|---:|",
        *(_fault(fault, happened, without) for fault in Fault),
        "",
        "| compared | |",
        "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in compared.items()),
        "",
        "An acknowledged row is at the sink, kept as refused by it, gone with a power cut, or missing.",
        "The rows of the last second before a power cut are not counted as missing here.",
        "More rows can be answered as not logged than numbers are declared as lost.",
        "A process that is killed before it declares them takes them with it, and its stream ends with `crash`.",
        "Numbers are also declared for rows whose caller had no answer, and for those in a file that was removed.",
        "",
        "| wrong | |",
        "|---|---:|",
        *(f"| {kind} | {len(found):,} |" for kind, found in findings.items()),
    ]


def figures(
    happened: Campaign,
    without: Mapping[Fault, str],
    compared: Mapping[str, int],
    findings: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, float]]:
    """Return the three tables as numbers; faults that cannot be had here are left out."""
    return {
        "faults": {fault.value: happened.struck[fault] for fault in Fault if fault not in without},
        "compared": dict(compared),
        "wrong": {kind: len(found) for kind, found in findings.items()},
    }


def _fault(fault: Fault, happened: Campaign, without: Mapping[Fault, str]) -> str:
    if fault in without:
        return f"| {fault.value} | 0 | {without[fault]} |"
    met = happened.met[fault]
    return f"| {fault.value} | {happened.struck[fault]} | {f'{met:,} {_UNITS[fault]}' if met else ''} |"


def counts(verdict: Verdict, ledgers: Sequence[Ledger]) -> dict[str, int]:
    """Return what there was to compare, under the names of the report."""
    refused = sum((ledger.refusals for ledger in ledgers), Counter())
    return {
        "rows acknowledged as logged": verdict.acknowledged,
        "rows answered as not logged": sum(ledger.logged[False] for ledger in ledgers),
        **{f"requests refused: `{word}`": times for word, times in sorted(refused.items())},
        "requests without an answer": sum(ledger.cut for ledger in ledgers),
        "records at the sink": verdict.records,
        "… of acknowledged rows": verdict.answered,
        "… of rows whose caller had no answer": verdict.unanswered,
        "… events of the streams": verdict.events,
        "copies of them": verdict.copies,
        "numbers declared as lost": verdict.lost,
        "records refused by the sink, and kept": verdict.refused,
        "rows of the last second before a power cut, gone": len(verdict.cut),
        **{f"streams closed: `{reason}`": times for reason, times in sorted(verdict.streams.items())},
    }


_REQUESTS = "requests"
_CALLS = "system calls"
_UNITS = {
    Fault.DISK_FULL: "rows and requests",
    Fault.WRITE_NO_SPACE: _CALLS,
    Fault.WRITE_EIO: _CALLS,
    Fault.WRITE_TORN: _CALLS,
    Fault.SYNC_EIO: _CALLS,
    Fault.CLOCK_BACK: "readings of the clock",
    Fault.SLOW: _REQUESTS,
    Fault.LATE: _REQUESTS,
    Fault.BUSY: _REQUESTS,
    Fault.UNAVAILABLE: _REQUESTS,
    Fault.ALL_REFUSED: _REQUESTS,
    Fault.ONE_REFUSED: "records",
    Fault.CUT: _REQUESTS,
    Fault.CUT_STORED: _REQUESTS,
    Fault.HALF: _REQUESTS,
}
