"""A replay as one page of HTML: plots as SVG in it, nothing from elsewhere, so it can be mailed and kept."""

from __future__ import annotations

import html
import time
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from predictor.reader import time_range
from predictor.reader.replay import report_svg, report_text
from predictor.reader.spreadsheet import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from predictor.reader.output import TextColumn
    from predictor.reader.record import ModelVersion
    from predictor.reader.replay.statistics import ReplayStatistics

_TEMPLATE = Path(__file__).with_name("replay_page.html")
_MOST_LABELS = 12  # a side of the table of labels that fits a page; of more only what changed is listed


def page(model: ModelVersion, source: str, tally: ReplayStatistics) -> str:
    """Return the page; what the log says is escaped, since callers and operators have written it."""
    same = tally.same
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        model=_text(str(model)),
        digest=_text(model.digest),
        source=_text(source),
        tone="" if not same.replayed else "bad" if same.unequal else "good",
        verdict=_text(_capital(report_text.verdict(tally))),
        figures="".join(_figures(tally)),
        sections="\n".join(_sections(tally)),
        made=time_range.shown(time.time_ns(), digits=3),
    )


def _figures(tally: ReplayStatistics) -> Iterator[str]:
    replayed = tally.total("replayed")
    logged, now = report_text.micros(tally)
    for name, value in (
        ("predictions", f"{tally.predictions:,}"),
        ("replayed", f"{replayed:,}"),
        ("labels changed", _share(tally.total("labels"), replayed)),
        ("outliers changed", _share(tally.total("outliers"), replayed)),
        ("fail now", _share(tally.total("failed"), replayed)),
        ("inference a row", f"{now}<small>{logged} when logged</small>" if replayed else "none"),
    ):
        yield f"<div><dt>{name}</dt><dd>{value}</dd></div>"


def _sections(tally: ReplayStatistics) -> Iterator[str]:
    pictures = tally.pictures
    if tally.models:
        labels = _section("Labels", "Rows: as logged. Columns: now.", _labels(tally))
        yield f'<div class="pair">{labels}{_changes(tally)}</div>'
        confidence = _figure(
            "Probability of the logged label",
            "On the line nothing changed; below it the model is less sure of what was said. Stronger is more rows.",
            report_svg.confidence(pictures),
        )
        yield f'<div class="pair">{confidence}{_scores(tally)}</div>'
        yield _figure(
            "Over time",
            "All rows, and in the other colour those with another label now.",
            report_svg.timeline(pictures),
        )
    for title, words, columns, rows in (
        (
            "Unequal",
            "This very model has logged them, so every number should be the same.",
            report_text.CHANGES,
            list(map(report_text.row, tally.unequal.sorted())),
        ),
        (
            "Largest changes",
            "By the probability of the label that was logged.",
            report_text.CHANGES,
            list(map(report_text.row, tally.changed.sorted())),
        ),
        ("Outlier verdicts that changed", "", report_text.LABELS, report_text.outliers(tally)),
        ("By the model that logged", "", report_text.MODELS, report_text.models(tally)),
        ("Not replayed", "", report_text.SKIPPED, report_text.skipped(tally)),
    ):
        if rows:
            yield _section(title, words, _table(columns, rows))


def _changes(tally: ReplayStatistics) -> str:
    title, pictures = "How much the logged label's probability changed", tally.pictures
    if not pictures.changes:
        return _section(title, "", "<p>Not at all, for no row.</p>")
    words = f"{pictures.equal:,} rows not at all. Up: more probable now; down: less. Both scales are logarithmic."
    return _figure(title, words, report_svg.changes(pictures))


def _scores(tally: ReplayStatistics) -> str:
    if not tally.pictures.scores:
        return ""
    shown, scored = len(tally.pictures.scores), tally.pictures.scored
    sample = f"A sample of {shown:,} of {scored:,} rows" if shown < scored else f"{scored:,} rows"
    return _figure(
        "Outlier score",
        f"{sample}; the other colour has another verdict now.",
        report_svg.scores(tally.pictures, tally.threshold),
    )


def _labels(tally: ReplayStatistics) -> str:
    names = list(dict.fromkeys([*tally.labels, *(name for pair in tally.label_changes for name in pair if name)]))
    failing = tally.total("failed") > 0
    if len(names) > _MOST_LABELS:
        return _table(report_text.LABELS, report_text.labels(tally)) or "<p>No label changed.</p>"
    columns = [*names, *([None] if failing else [])]
    most = max(tally.label_changes.values(), default=1)
    head = "".join(f'<th scope="col" class="right">{_text(name or report_text.FAILS)}</th>' for name in columns)
    rows = [
        f'<tr><th scope="row">{_text(name)}</th>'
        + "".join(_cell(tally.label_changes[name, to], most, kept=name == to) for to in columns)
        + "</tr>"
        for name in names
    ]
    return f'<table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table>'


def _cell(count: int, most: int, *, kept: bool) -> str:
    if kept or not count:
        return f'<td class="kept">{count:,}</td>'
    return f'<td style="background: rgba(var(--tint), {0.15 + 0.35 * count / most:.2f})">{count:,}</td>'


def _table(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    sides = [' class="right"' if column.right else "" for column in columns]
    head = "".join(
        f'<th scope="col"{side}>{_text(column.title)}</th>' for column, side in zip(columns, sides, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{side}>{_text(cell)}</td>" for cell, side in zip(row, sides, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _section(title: str, words: str, inside: str) -> str:
    said = f'<p class="soft">{words}</p>' if words else ""
    return f"<section><h2>{title}</h2>{said}{inside}</section>"


def _figure(title: str, words: str, drawing: str) -> str:
    return _section(title, "", f'<figure style="margin:0">{drawing}<figcaption>{words}</figcaption></figure>')


def _text(text: str) -> str:
    """Return text for the page, also for a spreadsheet into which somebody copies its tables."""
    return html.escape(harmless(text))


def _share(count: int, of: int) -> str:
    return f"{count:,}" + (f"<small>{count / of:.2%}</small>" if count and of else "")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] + "."
