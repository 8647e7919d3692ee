"""Write the README's table of costs from the tables of docs/benchmarks.md: `python -m scripts.readme_figures`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKS = ("<!-- figures: written by scripts/readme_figures.py from docs/benchmarks.md -->\n", "<!-- figures end -->\n")
CONNECTIONS = ("1", "8", "32")
ROWS = {
    "bare": "bare aiohttp on uvloop",
    "off": "this server, prediction log off",
    "on": "every prediction logged",
    "shipped": "… and shipped to a live Collector",
    "traced5": "… and 5 % of the requests traced",
    "traced100": "… and every request traced",
    "obvious": "the usual wiring: OpenTelemetry's SDK and exporters in the process, every request traced",
    "kserve-agent": "KServe, its agent logs",
    "litserve": "LitServe, its Logger",
    "bentoml": "BentoML, its monitor",
}
"""The rows of the README by their names in docs/benchmarks.md: each is a log of predictions, or what one is held to."""


MANY_ROWS = ("16", "256")
"""Rows a request, of the sentence above the table; each has a table of its own at 32 connections."""
PEERS = {
    "kserve-agent": "KServe with its agent",
    "kserve": "KServe without a log",
    "mlserver": "MLServer without a log",
    "litserve": "LitServe",
    "bentoml": "BentoML",
}
"""The other servers, by their names in docs/benchmarks.md."""


def measured(page: str, connections: str) -> dict[str, list[str]]:
    """Return the cells of each row of the table for so many connections, by the row's name.

    `connections` is how many, or the table's whole heading.

    Raises:
        ValueError: the page has no such table.
    """
    found = re.search(rf"^### {connections}(?: connections?)?\n+((?:\|.*\n)+)", page, re.MULTILINE)
    if found is None:
        message = f"docs/benchmarks.md has no table for {connections} connections"
        raise ValueError(message)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()[2:]]
    return {row[1]: row for row in rows}


def table(page: str) -> str:
    """Return the README's table: requests per second as a multiple of bare aiohttp's, and processor time."""
    tables = {connections: measured(page, connections) for connections in CONNECTIONS}
    lines = [many_rows(page), "", "| | 1 connection | 8 | 32 | CPU µs a request at 32 |", "|---|---:|---:|---:|---:|"]
    for name, text in ROWS.items():
        ratios = ["1" if name == "bare" else median(tables[each][name][3]) for each in CONNECTIONS]
        lines.append(f"| {text} | {' | '.join(ratios)} | {median(tables['32'][name][5])} |")
    return "\n".join(lines) + "\n"


def many_rows(page: str) -> str:
    """Return the sentences about many rows a request, and about the tables in which other servers answer more."""
    few, many = (measured(page, f"32 connections, {each} rows a request") for each in MANY_ROWS)
    ours = [median(each["traced5"][3]) for each in (few, many)]
    there = {name: median(many[name][3]) for name in PEERS if name in many and many[name][3]}
    faster = [f"{PEERS[name]} {ratio}" for name, ratio in there.items() if float(ratio) > float(ours[1])]
    where = "docs/benchmarks.md#where-others-are-faster"
    sentence = "With many rows a request each row still has a record, and with 5 % traced the ratio is"
    sentence += f" {ours[0]} at {MANY_ROWS[0]} rows and {ours[1]} at {MANY_ROWS[1]}."
    there_is = f" [At {MANY_ROWS[1]} rows others are faster]({where}): {', '.join(faster)}."
    sentence += there_is if faster else " Other servers have less."
    if tables := _elsewhere(page):
        sentence += f" With fewer rows [another is faster]({where}) in {len(tables)} tables: {'; '.join(tables)}."
    return sentence


def _elsewhere(page: str) -> list[str]:
    """Return the titles of the tables with fewer rows a request in which another server answers more requests."""
    section = page.partition("\n## Where others are faster\n")[2].partition("\n## ")[0]
    titles = dict.fromkeys(re.findall(r"^- (.+?): ", section, re.MULTILINE))
    return [title for title in titles if f"{MANY_ROWS[1]} rows a request" not in title]


def median(cell: str) -> str:
    """Return the median of a cell that has its quartiles too."""
    return cell.split(maxsplit=1)[0].strip("*")


def rewritten(readme: str, page: str) -> str:
    """Return the README with the table that the page gives."""
    before, _, rest = readme.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return before + MARKS[0] + table(page) + MARKS[1] + after


if __name__ == "__main__":
    path = ROOT / "README.md"
    figures = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    path.write_text(rewritten(path.read_text(encoding="utf-8"), figures), encoding="utf-8")
