"""What a confusion table says of each label, and what the confidences of a model are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LabelQuality(NamedTuple):
    """One label of a model."""

    label: str
    predicted: int
    truly: int
    right: int

    @property
    def precision(self) -> float | None:
        """The share of those that were called so and truly were; None if none was called so."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """The share of those that truly were so and were called so; None if none truly was."""
        return self.right / self.truly if self.truly else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None without either."""
        return 2 * self.right / (self.predicted + self.truly) if self.predicted and self.truly else None


class CalibrationBin(NamedTuple):
    """Predictions of about the same confidence."""

    place: int
    """From 0: the tenth of the confidences."""
    predictions: int
    confidence: float
    """Their mean."""
    accuracy: float


class Period(NamedTuple):
    """The predictions that arrived in a stretch of time."""

    start_ns: int
    predictions: int
    judged: int
    right: int
    compared: int
    """Numbers of the model's own that a true number is known for."""
    absolute_error: float | None
    """The mean of their distances."""


def labels(pairs: Mapping[tuple[str, str], int]) -> list[LabelQuality]:
    """Return each label of a confusion table (predicted, truly) in the order of their names."""
    found = []
    for label in sorted({label for pair in pairs for label in pair}):
        predicted = sum(count for (called, _), count in pairs.items() if called == label)
        truly = sum(count for (_, true), count in pairs.items() if true == label)
        found.append(LabelQuality(label, predicted, truly, pairs.get((label, label), 0)))
    return found


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """Return how far confidence and accuracy lie apart on average (the expected calibration error); None of none."""
    total = sum(each.predictions for each in bins)
    return sum(each.predictions * abs(each.confidence - each.accuracy) for each in bins) / total if total else None
