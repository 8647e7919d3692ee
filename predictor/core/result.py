"""What is known of one request, prediction or feedback, passed to whoever records it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from predictor.core.problems import Kind

Kept = Literal["head", "outlier", "error", "slow"]
Rows = list[list[Any]]
"""Validated rows of one request: as many numbers each as the model has features."""


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
