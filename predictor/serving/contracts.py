"""What the pipeline asks of the log and of the traces; it knows no more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import Origin, Prediction
    from predictor.recording.record_schema import Schema


class PredictionWriter(Protocol):
    """Where predictions are written before their callers are answered."""

    def refusal(self) -> str | None:
        """Return why nothing can be logged now, or None; asked before inference."""

    def write(self, predictions: Sequence[Prediction]) -> bool:
        """Write one record a prediction; False if declared lost; raises OutboxError under the policy `refuse`."""

    @property
    def waits(self) -> bool:
        """Whether callers are answered only after `synced`."""

    async def synced(self) -> None:
        """Return when what was written is on disk; raises OutboxError."""


class Traces(Protocol):
    """Decides which predictions keep a trace, and writes it."""

    def keep(self, origin: Origin, *, outlier: bool = False, slow: bool = False, error: bool = False) -> None:
        """Set `origin.kept` if the request's spans are to be written."""

    def predicted(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write the spans under the server span of a request whose `origin.kept` is set."""
