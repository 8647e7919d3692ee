"""Holds a model's answers to the original's, row by row, and keeps the rows that differ most."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from predictor.conversion.expected import Prediction
from predictor.inference.row_answers import RowRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from predictor.core.features import Value
    from predictor.inference.model import Model

_KEPT_REFUSALS = 5
_MOST_NUDGED = 200
"""Features that are tried in both directions, for a row that differs."""


class Difference(NamedTuple):
    """One row that came out otherwise."""

    row: int
    """From 0."""
    expected: Prediction
    now: Prediction | None
    """None: the model failed, or gave no finite number."""
    distance: float
    """The largest difference of a number."""
    features: list[Value]
    float32: tuple[str, ...]
    """Features that give the expected label, or less than half the distance, if they are one float32 more or less."""


@dataclass
class Comparison:
    """What is known after all rows."""

    tolerance: float
    compared: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many were expected to be the first label and are the second."""
    numbers: int = 0
    """Numbers that were compared."""
    total: float = 0.0
    """The sum of their differences."""
    largest: float = 0.0
    largest_row: int | None = None
    beyond: int = 0
    """Rows with a number that differs by more than the tolerance."""
    failed: int = 0
    without: int = 0
    """Rows of which nothing is expected."""
    refused: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)
    """The first rows that the model cannot take, and why."""
    differences: list[Difference] = field(default_factory=list)
    """Those that differ most, a changed label before all."""

    @property
    def changed_labels(self) -> int:
        """How many rows have another label."""
        return sum(self.changed.values())

    def refuse(self, row: int, reason: str) -> None:
        """Count a row that the model cannot take."""
        self.refused += 1
        if len(self.refusals) < _KEPT_REFUSALS:
            self.refusals.append((row, reason))


class Comparer:
    """Compares rows with one model; `comparison` is the result so far."""

    def __init__(self, model: Model, tolerance: float, kept: int) -> None:
        """Take the model, by how much numbers may differ (of 1, or of the number if that is more), and rows to keep."""
        self._runner = RowRunner(model)
        self._features = model.description.features
        self._kept = kept
        self._heap: list[tuple[tuple[bool, float, int], Difference]] = []
        self.comparison = Comparison(tolerance)

    def compare(self, rows: Sequence[tuple[int, list[Value], Prediction]]) -> None:
        """Take rows with their numbers and what is expected of each."""
        for (row, features, expected), now in zip(rows, self._run([each[1] for each in rows]), strict=True):
            self._one(row, features, expected, now)
        self.comparison.differences = [each for _, each in sorted(self._heap, key=lambda each: each[0], reverse=True)]

    def _one(self, row: int, features: list[Value], expected: Prediction, now: Prediction | None) -> None:
        result = self.comparison
        result.compared += 1
        if now is None:
            result.failed += 1
            self._keep(Difference(row, expected, None, float("inf"), features, ()))
            return
        distances = _distances(expected, now)
        distance = max(distances, default=0.0)
        result.numbers += len(distances)
        result.total += sum(distances)
        if distance > result.largest or (distances and result.largest_row is None):
            result.largest, result.largest_row = distance, row
        beyond = any(
            not each <= result.tolerance * max(1.0, abs(wanted))
            for each, wanted in zip(distances, expected.numbers, strict=False)
        )
        changed = expected.label is not None and expected.label != now.label
        result.beyond += beyond
        if changed:
            result.changed[str(expected.label), str(now.label)] += 1
        if changed or beyond:
            self._keep(Difference(row, expected, now, distance, features, ()), changed=changed)

    def _keep(self, found: Difference, *, changed: bool = True) -> None:
        item = ((changed, found.distance, -found.row), found)
        if len(self._heap) == self._kept and item[0] < self._heap[0][0]:
            return
        nudged = found._replace(float32=tuple(self._nudged(found))) if found.now else found
        item = (item[0], nudged)
        (heapq.heappushpop if len(self._heap) == self._kept else heapq.heappush)(self._heap, item)

    def _nudged(self, found: Difference) -> Iterator[str]:
        """Yield features whose value gives what was expected if it is one float32 more or less.

        The original compared doubles, its thresholds among them; the model compares the float32 nearest to each, and of
        two numbers that lie that close the greater one may then be the less, or equal.
        """
        for at, feature in enumerate(self._features[:_MOST_NUDGED]):
            value = found.features[at]
            if feature.datatype != "FP32" or not isinstance(value, int | float):
                continue
            beside = [float(np.nextafter(np.float32(value), np.float32(end))) for end in (-np.inf, np.inf)]
            tried = [[*found.features[:at], other, *found.features[at + 1 :]] for other in beside]
            if any(now and self._is_expected(found, now) for now in self._run(tried)):
                yield feature.name

    def _is_expected(self, found: Difference, now: Prediction) -> bool:
        """Tell whether an answer is what was expected, or much nearer to it than the one that differs."""
        if found.expected.label is not None and now.label != found.expected.label:
            return False
        return not found.expected.numbers or max(_distances(found.expected, now)) < found.distance / 2

    def _run(self, rows: Sequence[list[Value]]) -> list[Prediction | None]:
        found = self._runner.run(rows)
        return [None if now is None else Prediction(now.label, tuple(now.numbers)) for now in found]


def _distances(expected: Prediction, now: Prediction) -> list[float]:
    return [abs(one - other) for one, other in zip(now.numbers, expected.numbers, strict=bool(expected.numbers))]
