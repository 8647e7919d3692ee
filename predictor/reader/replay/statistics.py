"""Statistics of a replay in memory that does not grow with the log: counts, and the few largest changes."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from predictor.reader.replay.difference import compare
from predictor.reader.replay.histograms import Pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.row_answers import RowAnswer
    from predictor.reader.record import ModelVersion
    from predictor.reader.replay.difference import Change
    from predictor.reader.replay.rows import Logged, SkipReason


@dataclass
class Sums:
    """The rows that one model has logged."""

    replayed: int = 0
    unequal: int = 0
    """Something is not as it was logged: a number by more than the tolerance, the label, the verdict."""
    labels: int = 0
    outliers: int = 0
    failed: int = 0
    distance: float = 0.0
    """The largest of those that answered."""


class Largest:
    """The few that are largest by a key; of equals the first."""

    def __init__(self, most: int) -> None:
        """Keep so many."""
        self._most = most
        self._heap: list[tuple[float, int, Change]] = []
        self._order = itertools.count(0, -1)

    def add(self, key: float, change: Change) -> None:
        """Keep it if it is among the largest so far."""
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (key, next(self._order), change))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, next(self._order), change))

    def sorted(self) -> list[Change]:
        """Return them, the largest first."""
        return [change for _, _, change in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


@dataclass
class ReplayStatistics:
    """Takes one prediction after another."""

    digest: str
    """Of the model that is replayed through: what it has logged itself must come out equal."""
    labels: Sequence[str]
    tolerance: float
    most: int
    threshold: float | None = None
    """Below it a score is an outlier's; None without a detector."""
    predictions: int = 0
    not_replayed: Counter[SkipReason] = field(default_factory=Counter)
    models: dict[ModelVersion | None, Sums] = field(default_factory=dict)
    label_changes: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    """From and to, also where nothing changed; None: the model fails on the row."""
    outlier_changes: Counter[tuple[bool | None, bool | None]] = field(default_factory=Counter)
    logged_seconds: float = 0.0
    logged_batches: float = 0.0
    """How many runs of the model these rows were, parts of one counted as parts."""
    seconds: float = 0.0
    """Spent in the model now."""
    pictures: Pictures = field(default_factory=Pictures)

    def __post_init__(self) -> None:
        """Make room for the largest."""
        self.changed = Largest(self.most)
        self.unequal = Largest(self.most)
        self._places = {label: place for place, label in enumerate(self.labels)}

    def skip(self, reason: SkipReason) -> None:
        """Take a prediction that cannot be replayed."""
        self.predictions += 1
        self.not_replayed[reason] += 1

    def add(self, logged: Logged, now: RowAnswer | None) -> None:
        """Take a prediction and what comes of it now."""
        self.predictions += 1
        self.logged_seconds += logged.inference
        self.logged_batches += 1 / logged.batch
        change = compare(logged, now, self._places)
        sums = self.models.setdefault(logged.model, Sums())
        sums.replayed += 1
        if logged.label is not None:
            self.label_changes[logged.label, now.label if now else None] += 1
        if now is None:
            sums.failed += 1
        else:
            self.outlier_changes[logged.outlier, now.outlier] += 1
            sums.labels += now.label != logged.label
            sums.outliers += now.outlier is not logged.outlier
            if math.isfinite(change.distance):
                sums.distance = max(sums.distance, change.distance)
        self.pictures.add(change)
        if change.change:
            self.changed.add(abs(change.change), change)
        if self._differs(change):
            sums.unequal += 1
            if logged.model and logged.model.digest == self.digest:
                self.unequal.add(change.distance, change)

    @property
    def same(self) -> Sums:
        """The rows that must come out equal, since the very same model has logged them."""
        return next((sums for model, sums in self.models.items() if model and model.digest == self.digest), Sums())

    def total(self, of: str) -> int:
        """Return a count of `Sums`, over all models."""
        return sum(getattr(sums, of) for sums in self.models.values())

    def _differs(self, change: Change) -> bool:
        now, logged = change.now, change.logged
        if now is None or now.label != logged.label or now.outlier is not logged.outlier:
            return True
        return change.distance > self.tolerance
