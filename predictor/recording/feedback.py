"""Records what callers say of a prediction once the truth is known, days later perhaps and to any replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.core.problems import Kind, Problem
from predictor.outbox import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.core.result import Feedback
    from predictor.recording.prediction_log import PredictionLog


class FeedbackLog:
    """Writes feedback to the log of the model that it speaks of."""

    def __init__(self, log: PredictionLog, admit: Callable[[], None]) -> None:
        """Take the log, and what raises Problem while nothing may be written."""
        self._log = log
        self._admit = admit

    async def write(self, feedback: Feedback) -> bool:
        """Return once the record is in the outbox; False if it is declared lost; raises Problem."""
        self._admit()
        try:
            logged = self._log.write_feedback(feedback)
            if self._log.waits and logged:
                await self._log.synced()
        except OutboxError as error:
            raise Problem(Kind.OUTBOX_FULL, str(error), retry_after=1) from error
        return logged
