"""Runs logged rows through a model as the server does; the only reader of the log that loads the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.inference.row_answers import RowRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.model import Model
    from predictor.inference.row_answers import RowAnswer
    from predictor.reader.replay.rows import Logged


class ReplayRunner:
    """Runs batches and adds up the time."""

    def __init__(self, model: Model) -> None:
        """Take a loaded model."""
        self._runner = RowRunner(model)

    @property
    def seconds(self) -> float:
        """Spent in the model so far, by rows that it answered."""
        return self._runner.seconds

    def run(self, rows: Sequence[Logged]) -> list[RowAnswer | None]:
        """Return what comes of each row: None where the model fails or a number is not finite."""
        return self._runner.run([row.features for row in rows])
