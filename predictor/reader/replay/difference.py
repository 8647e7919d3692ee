"""One logged prediction beside its replay, and how far they differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.inference.row_answers import RowAnswer
    from predictor.reader.replay.rows import Logged


class Change(NamedTuple):
    """One row that came out otherwise."""

    logged: Logged
    now: RowAnswer | None
    probability: float | None
    """What the model now gives the label that was logged; 0 if it knows no such label, or fails.

    None for a model without probabilities: then the numbers are compared.
    """
    distance: float
    """The largest difference between a number that was logged and the same now; infinite if one is not there."""

    @property
    def change(self) -> float:
        """By how much the label that was logged has become more probable, or less; else the largest difference."""
        if self.probability is None or self.logged.confidence is None:
            return self.distance if math.isfinite(self.distance) else 0.0
        return self.probability - self.logged.confidence


def compare(logged: Logged, now: RowAnswer | None, places: Mapping[str, int]) -> Change:
    """Return what has changed; `places` says which probability is of which label now."""
    without = logged.confidence is None
    if now is None:
        return Change(logged, None, None if without else 0.0, math.inf)
    place = places.get(logged.label or "")
    probability = now.numbers[place] if place is not None and place < len(now.numbers) else 0.0
    return Change(logged, now, None if without else probability, _distance(logged, now))


def _distance(logged: Logged, now: RowAnswer) -> float:
    if len(logged.numbers) != len(now.numbers) or (logged.score is None) is not (now.score is None):
        return math.inf
    if logged.numbers == now.numbers and logged.score == now.score:  # by far the most frequent
        return 0.0
    pairs = [*zip(logged.numbers, now.numbers, strict=True)]
    if logged.score is not None and now.score is not None:
        pairs.append((logged.score, now.score))
    return max(abs(one - other) for one, other in pairs)
