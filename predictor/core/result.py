"""What is known of one request, prediction or feedback, passed to whoever records it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.core.problems import Kind

Kept = Literal["head", "outlier", "error", "slow"]
Rows = list[list[Any]]
"""Validated rows of one request: as many numbers each as the model has features."""
Tensors = Mapping[str, Any]
"""numpy arrays by the names of inputs or outputs."""


class TensorTexts(msgspec.Struct, frozen=True, gc=False):
    """What a record has of a request's tensors: JSON, or nothing where they are kept out of the log."""

    inputs: str | None = None
    outputs: str | None = None


class Origin(msgspec.Struct, gc=False):
    """The request that a prediction belongs to; times are Unix nanoseconds and `time.monotonic` seconds."""

    trace_id: str
    span_id: str
    route: str
    received_ns: int
    received: float
    request_id: str | None = None
    parent_span_id: str | None = None
    kept: Kept | None = None
    """Why a span is written; set once, before the first record of the request is."""
    recorded: bool = False
    """A record is written: whether there is a span is said there and stays so."""
    sample: Any = None
    """What the head sampler answered, if it wants the request."""
    infer_id: str | None = None
    """What the caller calls the inference request in its body: `id` of the Open Inference Protocol."""

    def elapsed(self) -> float:
        """Return the seconds since the request arrived."""
        return time.monotonic() - self.received


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One row of one request: a success, or a failure if `error` is set (then what is not known is None).

    Probabilities and score are the model's float32 outputs as Python floats; durations are seconds.
    """

    job_id: str
    origin: Origin
    index: int | None = None
    features: tuple[Any, ...] | list[Any] | None = None
    """As received, in the model's order; a missing one is None."""
    probabilities: list[float] | None = None
    label: int | str | None = None
    """Its place among the model's labels, or the label itself where these are not known beforehand."""
    outlier: bool | None = None
    score: float | None = None
    queue: float | None = None
    inference: float | None = None
    total: float = 0.0
    batch_size: int | None = None
    error: Kind | None = None
    values: list[float] | None = None
    """What the model gives that is no probability."""
    rows: int | None = None
    """How many rows the record speaks of; None: the one at `index`."""
    tensors: TensorTexts | None = None


class ManyPredictions(msgspec.Struct, frozen=True, gc=False):
    """All rows of one request that was answered, by column, where a record has many of them; see `Prediction`."""

    job_id: str
    origin: Origin
    features: Rows
    probabilities: list[list[float]] | None
    labels: list[int] | list[str] | None
    outliers: list[bool] | None
    scores: list[float] | None
    values: list[list[float]] | None
    queue: float
    inference: float
    total: float
    batch_size: int

    def all_rows(self, first: int = 0) -> Iterator[Prediction]:
        """Yield those from the index `first` on."""
        return map(self.row, range(first, len(self.features)))

    def row(self, at: int) -> Prediction:
        """Return one of them."""
        return Prediction(
            self.job_id,
            self.origin,
            at,
            self.features[at],
            self.probabilities[at] if self.probabilities else None,
            self.labels[at] if self.labels else None,
            self.outliers[at] if self.outliers else None,
            self.scores[at] if self.scores else None,
            self.queue,
            self.inference,
            self.total,
            self.batch_size,
            None,
            self.values[at] if self.values else None,
        )


class Feedback(msgspec.Struct, frozen=True, gc=False):
    """The truth of one row, or a remark on it; at least one of label, value and comment is there."""

    job_id: str | None
    index: int | None
    origin: Origin
    """The request that brings the feedback, not the one that it speaks of."""
    label: str | None = None
    value: float | None = None
    comment: str | None = None
    key: str | None = None
    """Of the rows that are meant, in the place of job and index."""
