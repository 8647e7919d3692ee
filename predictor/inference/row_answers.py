"""A model's answers row by row, for what compares them with others: a row that fails costs no other row its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.inference.outputs import broken_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from predictor.inference.model import Model


class RowAnswer(NamedTuple):
    """What a model gives for one row."""

    numbers: list[float]
    """The probabilities, or what else the model gives."""
    label: str | None
    outlier: bool | None
    score: float | None


class RowRunner:
    """Runs rows through one model."""

    def __init__(self, model: Model) -> None:
        """Take a model of rows."""
        self._model = model
        self._labels = model.description.labels
        self.seconds = 0.0
        """Spent in the model so far, by rows that it answered."""

    def run(self, rows: Sequence[Sequence[Any]]) -> list[RowAnswer | None]:
        """Return the answer to each row: None where the model fails or a number is not finite."""
        began = time.perf_counter()
        try:
            outputs = self._model.run(rows)
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
            None if broken is not None and broken[at] else RowAnswer(numbers or [], self._label(label), outlier, score)
            for at, (numbers, label, outlier, score) in enumerate(found)
        ]

    def _label(self, found: int | str | None) -> str | None:
        return self._labels[found] if isinstance(found, int) else found


def _column(part: NDArray[Any] | None, count: int) -> list[Any]:
    return [None] * count if part is None else part.tolist()
