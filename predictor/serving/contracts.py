"""What the pipeline is given: where predictions are written, who keeps traces, what a caller wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import ManyPredictions, Origin, Prediction, Rows, Tensors, TensorTexts
    from predictor.recording.record_schema import Schema


class PredictionWriter(Protocol):
    """Where predictions are written before their callers are answered."""

    def refuse_if_full(self) -> str | None:
        """Return why nothing can be logged now, or None; asked before inference."""

    def write(self, predictions: Sequence[Prediction | ManyPredictions]) -> bool:
        """Write one record a prediction, or as few as hold many; False if declared lost.

        Raises OutboxError under the policy `refuse`.
        """

    def describe(self, inputs: Tensors, outputs: Tensors | None, *, brief: bool = False) -> Sequence[TensorTexts]:
        """Return what records have of tensors, nothing if nothing is logged; called in pool threads, unless `brief`."""

    @property
    def waits(self) -> bool:
        """Whether callers are answered only after `synced`."""

    async def synced(self) -> None:
        """Return when what was written is on disk; raises OutboxError."""


class Requested(Protocol):
    """What a caller wants predicted; see `InferRequest` of the data plane."""

    @property
    def rows(self) -> Rows:
        """Rows of a table; none if there are only tensors."""

    @property
    def tensors(self) -> Tensors | None:
        """Arrays by the names of the inputs."""

    @property
    def size(self) -> int:
        """How many rows the tensors are."""

    @property
    def own_outputs(self) -> bool:
        """Whether the file's own outputs are wanted."""

    @property
    def form(self) -> Any:  # noqa: ANN401 - of whoever asks
        """What it says of its answer, for `Job.form`."""


class Traces(Protocol):
    """Decides which predictions keep a trace, and writes it."""

    def keep(self, origin: Origin, *, outlier: bool = False, slow: bool = False, error: bool = False) -> None:
        """Set `origin.kept` if the request's spans are to be written."""

    def write_spans(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write the spans under the server span of a request whose `origin.kept` is set."""
