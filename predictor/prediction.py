"""What is remembered of one prediction, passed to whoever writes it down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from predictor.errors import Kind
    from predictor.model import Outputs

Kept = Literal["head", "outlier", "error", "slow"]


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


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One row of one request: a success, or a failure if `error` is set (then what is not known is None).

    Probabilities and score are the model's float32 outputs as Python floats; durations are seconds.
    """

    job_id: str
    origin: Origin
    index: int | None = None
    features: tuple[float, ...] | list[float] | None = None
    probabilities: list[float] | None = None
    label: int | None = None
    outlier: bool | None = None
    score: float | None = None
    queue: float | None = None
    inference: float | None = None
    total: float = 0.0
    batch_size: int | None = None
    error: Kind | None = None


class Request(Protocol):
    """Rows that arrived together, and where their predictions go."""

    origin: Origin
    job_id: str
    rows: list[list[float]]
    future: asyncio.Future[None]
    predictions: list[Prediction]


R = TypeVar("R", bound=Request)


def predictions_of(requests: Sequence[R], outputs: Outputs, started: float, finished: float) -> list[R]:
    """Give each request that still waits its predictions; return those requests.

    The outputs are in the order of all rows of all requests; times are `time.monotonic` seconds.
    """
    probabilities = outputs.probabilities.tolist()
    labels = outputs.probabilities.argmax(axis=1).tolist()
    outliers = None if outputs.outliers is None else outputs.outliers.tolist()
    scores = None if outputs.scores is None else outputs.scores.tolist()
    now, inference, batch_size = time.monotonic(), finished - started, len(labels)
    live: list[R] = []
    row = 0
    for request in requests:
        if request.future.done():
            row += len(request.rows)
            continue
        origin = request.origin
        for index, features in enumerate(request.rows):
            request.predictions.append(
                Prediction(
                    request.job_id,
                    origin,
                    index,
                    features,
                    probabilities[row],
                    labels[row],
                    outliers[row] if outliers else None,
                    scores[row] if scores else None,
                    started - origin.received,
                    inference,
                    now - origin.received,
                    batch_size,
                )
            )
            row += 1
        live.append(request)
    return live


def failures_of(request: Request, error: Kind) -> list[Prediction]:
    """Return one failure for each row of a request."""
    total = time.monotonic() - request.origin.received
    return [
        Prediction(request.job_id, request.origin, index, features, total=total, error=error)
        for index, features in enumerate(request.rows)
    ]
