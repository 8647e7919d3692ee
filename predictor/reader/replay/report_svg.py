"""The plots of a replay as SVG text; colours and type are those of the page around them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from predictor.reader import time_range
from predictor.reader.replay.histograms import CELLS, DECADES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from predictor.reader.replay.histograms import Pictures

_SIDE, _LOW, _LEFT, _BOTTOM, _TOP = 320, 200, 52, 40, 10  # of a drawing: square or low; room for the axes' words
_WIDE = 2 * _SIDE + 2 * _LEFT  # one that takes the whole page
_EDGE = 16  # right of the last point


def changes(pictures: Pictures) -> str:
    """Return bars: how many rows changed by how much, up if the logged label is more probable now, else down."""
    most = max((*pictures.changes.values(), 1))
    top = math.ceil(math.log10(most + 1))
    half = _LOW / 2
    step = _SIDE / DECADES

    def tall(count: int) -> float:
        return half * math.log10(count + 1) / top

    parts = []
    for power in range(1, top + 1):
        for sign in (-1, 1):
            y = _TOP + half + sign * tall(10**power - 1)
            parts += [_line(_LEFT, y, _LEFT + _SIDE, y, "grid"), _text(_LEFT - 6, y + 4, f"{10**power:,}", "end")]
    for decade in range(1, DECADES + 1):
        x = _LEFT + _SIDE - decade * step
        for signed, kind in ((decade, "up"), (-decade, "down")):
            if count := pictures.changes[signed]:
                y = _TOP + half - (tall(count) if signed > 0 else 0)
                said = f"{count} rows by {'less than' if decade == DECADES else 'up to'} {10.0 ** (1 - decade):g}"
                if signed < 0:
                    said += " less"
                parts.append(_bar(x + 2, y, step - 4, tall(count), kind, said))
        if decade % 2:
            parts.append(_text(x + step, _TOP + _LOW + 16, _power(1 - decade), "middle"))
    parts.append(_line(_LEFT, _TOP + half, _LEFT + _SIDE, _TOP + half, "axis"))
    parts.append(_text(_LEFT + _SIDE / 2, _TOP + _LOW + 34, "size of the change in probability", "middle"))
    return _svg(_LEFT + _SIDE + _EDGE, _TOP + _LOW + _BOTTOM, "Changes by size and direction", parts)


def confidence(pictures: Pictures) -> str:
    """Return a map of the rows by the probability of the logged label: as logged to the right, now upwards."""
    cell = _SIDE / CELLS
    darkest = math.log10(max((*pictures.confidence.values(), 1)) + 1)
    parts = list(_square("probability when logged", "now"))
    for tick in range(6):
        at = tick / 5
        parts += [_text(_LEFT + at * _SIDE, _TOP + _SIDE + 16, f"{at:g}", "middle")]
        parts += [_text(_LEFT - 6, _TOP + _SIDE * (1 - at) + 4, f"{at:g}", "end")]
    for (x, y), count in sorted(pictures.confidence.items()):
        shade = 0.15 + 0.85 * math.log10(count + 1) / darkest
        said = (
            f"{count} rows: {x / CELLS:g} to {(x + 1) / CELLS:g} when logged, {y / CELLS:g} to {(y + 1) / CELLS:g} now"
        )
        place = _LEFT + x * cell, _TOP + _SIDE - (y + 1) * cell
        parts.append(_bar(*place, cell, cell, "cell", said, f' fill-opacity="{shade:.2f}"'))
    parts.append(_line(_LEFT, _TOP + _SIDE, _LEFT + _SIDE, _TOP, "diagonal"))
    return _svg(_LEFT + _SIDE + _EDGE, _TOP + _SIDE + _BOTTOM, "Probability of the logged label, then and now", parts)


def scores(pictures: Pictures, threshold: float | None) -> str:
    """Return points: outlier scores as logged and now, those whose verdict changed in another colour."""
    found = [score for each in pictures.scores for score in each[:2]]
    low, high = min(found), max(found)
    margin = (high - low) * 0.03 or 1.0
    low, high = low - margin, high + margin

    def place(score: float) -> float:
        return (score - low) / (high - low) * _SIDE

    parts = [*_square("score when logged", "now")]
    for tick in _ticks(low, high):
        parts += [_text(_LEFT + place(tick), _TOP + _SIDE + 16, f"{tick:g}", "middle")]
        parts += [_text(_LEFT - 6, _TOP + _SIDE - place(tick) + 4, f"{tick:g}", "end")]
    if threshold is not None and low < threshold < high:
        y = _TOP + _SIDE - place(threshold)
        parts += [_line(_LEFT, y, _LEFT + _SIDE, y, "threshold"), _text(_LEFT + 4, y - 4, "threshold", "start")]
    for score in sorted(pictures.scores, key=lambda each: each.turned):  # the turned ones on top
        kind = "turned" if score.turned else "point"
        x, y = _LEFT + place(score.logged), _TOP + _SIDE - place(score.now)
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
    parts.append(_line(_LEFT, _TOP + _SIDE, _LEFT + _SIDE, _TOP, "diagonal"))
    return _svg(_LEFT + _SIDE + _EDGE, _TOP + _SIDE + _BOTTOM, "Outlier scores, then and now", parts)


def timeline(pictures: Pictures) -> str:
    """Return bars over time: the rows, and those among them whose label changed."""
    first, last = min(pictures.bins), max(pictures.bins)
    step = _WIDE / (last - first + 1)
    most = max(each.rows for each in pictures.bins.values())
    parts = []
    for tick in _ticks(0, most):
        y = _TOP + _LOW * (1 - tick / most)
        parts += [_line(_LEFT, y, _LEFT + _WIDE, y, "grid"), _text(_LEFT - 6, y + 4, f"{tick:,g}", "end")]
    for at, each in sorted(pictures.bins.items()):
        x, when = _LEFT + (at - first) * step, time_range.shown(at * pictures.width, digits=0).replace(".Z", "Z")
        for count, kind, what in ((each.rows, "quiet", "rows"), (each.labels, "turned", "labels changed")):
            if count:
                tall = max(_LOW * count / most, 1)
                width = max(step - 1, min(step, 1))
                parts.append(_bar(x, _TOP + _LOW - tall, width, tall, kind, f"{when}: {count} {what}"))
    for at, anchor in ((first, "start"), (last + 1, "end")):
        when = time_range.shown(at * pictures.width, digits=0).replace(".Z", "Z")
        parts.append(_text(_LEFT + (at - first) * step, _TOP + _LOW + 18, when, anchor))
    parts.append(_line(_LEFT, _TOP + _LOW, _LEFT + _WIDE, _TOP + _LOW, "axis"))
    return _svg(_LEFT + _WIDE + _EDGE, _TOP + _LOW + _BOTTOM, "Rows and changed labels over time", parts)


def _square(across: str, up: str) -> Iterator[str]:
    yield f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>'
    yield _text(_LEFT + _SIDE / 2, _TOP + _SIDE + 34, across, "middle")
    yield _text(14, _TOP + _SIDE / 2, up, "middle")


def _ticks(low: float, high: float) -> Iterator[float]:
    """Yield four to nine round numbers of a range."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(each for each in (step / 5, step / 2, step) if (high - low) / each <= 9)  # noqa: PLR2004
    for at in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield round(at * step, 12)


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if exponent > -3 else f"1e{exponent}"  # noqa: PLR2004 - 0.01 is shorter than 1e-2


def _bar(x: float, y: float, width: float, height: float, kind: str, said: str, more: str = "") -> str:
    size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {size}{more}><title>{said}</title></rect>'


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Return a drawing; a caller's text is in none of them, so nothing needs escaping."""
    least, most = min(width * 0.75, 560), width * 1.25  # below it the words are too small: then the card is scrolled
    size = f'viewBox="0 0 {width:g} {height:g}" style="min-width:{least:g}px;max-width:{most:g}px"'
    return f'<svg {size} role="img" aria-label="{title}">{"".join(parts)}</svg>'
