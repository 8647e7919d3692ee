"""Runs rows through a model as the server does; the only reader of the log that loads the runtime."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.inference.outputs import broken_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from predictor.inference.model import Model
    from predictor.reader.replay.rows import Logged


class Replayed(NamedTuple):
    """What the model says of a row now."""

    numbers: list[float]
    """The probabilities, or what else the model gives."""
    label: str | None
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
        values = [row.features for row in rows]
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
        count = len(rows)
        found = zip(
            _column(outputs.values if outputs.probabilities is None else outputs.probabilities, count),
            _column(outputs.labels, count),
            _column(outputs.outliers, count),
            _column(outputs.scores, count),
            strict=True,
        )
        broken = broken_rows(outputs)
        return [
            None if broken is not None and broken[at] else Replayed(numbers or [], self._label(label), outlier, score)
            for at, (numbers, label, outlier, score) in enumerate(found)
        ]

    def _label(self, found: int | str | None) -> str | None:
        return self.labels[found] if isinstance(found, int) else found


def _column(part: NDArray[Any] | None, count: int) -> list[Any]:
    return [None] * count if part is None else part.tolist()
