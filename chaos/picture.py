"""Series over time as an SVG: one panel a series, all on one axis of time, and bands where something was out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH, _LEFT, _RIGHT = 860, 90, 20
_PANEL, _PLOT, _TOP, _FOOT = 120, 78, 30, 40
_COLOURS = ("#1f5fa8", "#d1791f")
_FONT = 'font-family="sans-serif" font-size="12" fill="#333333"'
_BAND, _GRID = "#f3d9d6", "#d8d8d8"


class Panel(NamedTuple):
    """One or two series with their names, on an axis from 0."""

    title: str
    series: dict[str, Sequence[float]]


class Band(NamedTuple):
    """What was out from a minute to another."""

    first: float
    last: float
    what: str


def picture(minutes: Sequence[float], panels: Sequence[Panel], bands: Sequence[Band]) -> str:
    """Return the SVG; `minutes` are the times of every series' values."""
    height = len(panels) * _PANEL + _FOOT
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *(part for number, panel in enumerate(panels) for part in _panel(number * _PANEL, panel, minutes, bands)),
            *_axis(height - _FOOT, minutes[-1]),
            "</svg>\n",
        )
    )


def _panel(top: int, panel: Panel, minutes: Sequence[float], bands: Sequence[Band]) -> Iterator[str]:
    highest = _round(max(max(values) for values in panel.series.values()))
    floor = top + _TOP + _PLOT
    for band in bands:
        x, end = _x(band.first, minutes[-1]), _x(band.last, minutes[-1])
        title = f"<title>{escape(band.what)}</title>"
        yield f'<rect x="{x:.1f}" y="{top + _TOP}" width="{end - x:.1f}" height="{_PLOT}" fill="{_BAND}">{title}</rect>'
    for share in (0.0, 0.5, 1.0):
        y = floor - share * _PLOT
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_GRID}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(share * highest)}</text>'
    yield f'<text x="{_LEFT}" y="{top + _TOP - 8}" font-weight="bold">{escape(panel.title)}</text>'
    x = _WIDTH - _RIGHT
    for colour, (name, values) in zip(_COLOURS, panel.series.items(), strict=False):
        points = " ".join(
            f"{_x(minute, minutes[-1]):.1f},{floor - value / highest * _PLOT:.1f}"
            for minute, value in zip(minutes, values, strict=True)
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if len(panel.series) > 1:
            yield f'<text x="{x}" y="{top + _TOP - 8}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
            x -= 60


def _axis(top: int, longest: float) -> Iterator[str]:
    step = next(step for step in (0.5, 1, 2, 5, 10, 30, 60, 1e9) if longest / step <= 12)
    for number in range(int(longest / step) + 1):
        x = _x(number * step, longest)
        yield f'<text x="{x:.1f}" y="{top + 8}" text-anchor="middle">{number * step:g}</text>'
    yield f'<text x="{_WIDTH - _RIGHT}" y="{top + 26}" text-anchor="end">minutes</text>'


def _round(highest: float) -> float:
    """Return the next number that is good to read on an axis."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if step * power >= highest)


def _x(minute: float, longest: float) -> float:
    return _LEFT + minute / longest * (_WIDTH - _LEFT - _RIGHT)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
