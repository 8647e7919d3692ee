"""Runs rows through a model as the server does; the only reader of the log that loads numpy and the runtime."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.model import Model
    from predictor.reader.replay.rows import Logged


class Replayed(NamedTuple):
    """What the model says of a row now."""

    probabilities: list[float]
    label: str
    outlier: bool | None
    score: float | None


class ReplayRunner:
    """Runs batches and adds up the time."""

    def __init__(self, model: Model) -> None:
        """Take a loaded model."""
        self._model = model
        self.labels = model.description.labels
        self.seconds = 0.0
        """Spent in the model so far, by rows that it answered."""

    def run(self, rows: Sequence[Logged]) -> list[Replayed | None]:
        """Return what comes of each row: None where the model fails or a number is not finite."""
        values = np.array([row.features for row in rows], dtype=np.float32)
        began = time.perf_counter()
        try:
            outputs = self._model.run(values)
        except Exception:  # noqa: BLE001 - the runtime's exceptions share no other base
            if len(rows) == 1:
                return [None]
            # One bad row fails a whole batch: halves find it in a few runs.
            middle = len(rows) // 2
            return self.run(rows[:middle]) + self.run(rows[middle:])
        self.seconds += time.perf_counter() - began
        outliers = [None] * len(rows) if outputs.outliers is None else outputs.outliers.tolist()
        scores = [None] * len(rows) if outputs.scores is None else outputs.scores.tolist()
        found = zip(outputs.probabilities.tolist(), outputs.labels.tolist(), outliers, scores, strict=True)
        return [
            Replayed(numbers, self.labels[place], outlier, score) if _finite(numbers, score) else None
            for numbers, place, outlier, score in found
        ]


def _finite(numbers: list[float], score: float | None) -> bool:
    return math.isfinite(sum(numbers)) and (score is None or math.isfinite(score))
