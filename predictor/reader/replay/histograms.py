"""Counts for the plots of a replay, made while it runs: grids and bins of fixed size, and one sample."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from predictor.reader.replay.difference import Change

DECADES = 8
"""Changes are distinguished down to 10^-8, which is less than the last bit of a probability near 1 in float32."""
CELLS = 40  # a side of the grid of confidences: what a plot of some 300 points shows apart
_SAMPLE = 1500  # points: as many as one can see, and some 60 kB of page
_BINS = 120
_SECOND = 1_000_000_000


class OutlierScore(NamedTuple):
    """An outlier score as it was logged and now."""

    logged: float
    now: float
    turned: bool
    """Whether the verdict is another."""


class Bin:
    """The rows of one stretch of time."""

    def __init__(self) -> None:
        """Count none."""
        self.rows = 0
        self.labels = 0

    def add(self, rows: int, labels: int) -> None:
        """Count more."""
        self.rows += rows
        self.labels += labels


class Pictures:
    """Takes one row after another."""

    def __init__(self) -> None:
        """Know of none."""
        self.equal = 0
        self.changes: Counter[int] = Counter()
        """Rows by the size of the change: 1 is 0.1 and more, 2 is 0.01 and more …; negative: less probable now."""
        self.confidence: Counter[tuple[int, int]] = Counter()
        """Rows by the probability of the logged label: as logged, and now."""
        self.scores: list[OutlierScore] = []
        self.scored = 0
        self.bins: dict[int, Bin] = {}
        self.width = _SECOND
        """Of one bin, nanoseconds."""
        self._random = random.Random(0)  # noqa: S311 - which points are drawn; the same ones each time

    def add(self, change: Change) -> None:
        """Take a row."""
        logged, now = change.logged, change.now
        self._time(logged.time_ns, changed=now is None or now.label != logged.label)
        if now is None:
            return
        if change.change:
            self.changes[_decade(change.change)] += 1
        else:
            self.equal += 1
        if logged.confidence is not None and change.probability is not None:
            self.confidence[_cell(logged.confidence), _cell(change.probability)] += 1
        if logged.score is not None and now.score is not None:
            self._score(OutlierScore(logged.score, now.score, now.outlier is not logged.outlier))

    def _time(self, time_ns: int, *, changed: bool) -> None:
        self.bins.setdefault(time_ns // self.width, Bin()).add(1, changed)
        while len(self.bins) > _BINS:
            self.width *= 2
            old, self.bins = self.bins, {}
            for at, each in old.items():
                self.bins.setdefault(at // 2, Bin()).add(each.rows, each.labels)

    def _score(self, score: OutlierScore) -> None:
        """Keep a sample in which each row is equally likely, whatever their number."""
        self.scored += 1
        if len(self.scores) < _SAMPLE:
            self.scores.append(score)
        elif (place := self._random.randrange(self.scored)) < _SAMPLE:
            self.scores[place] = score


def _decade(change: float) -> int:
    decade = min(max(math.ceil(-math.log10(abs(change))), 1), DECADES)
    return decade if change > 0 else -decade


def _cell(probability: float) -> int:
    return min(max(int(probability * CELLS), 0), CELLS - 1)
