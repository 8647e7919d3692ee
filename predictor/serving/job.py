"""A job: one request with its rows, and their predictions made of a batch's outputs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from predictor.core.problems import Kind
from predictor.core.result import Prediction
from predictor.inference.outputs import broken_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import Origin, Rows
    from predictor.inference.outputs import Outputs
    from predictor.serving.batcher import ResultFuture


@dataclass(slots=True, eq=False)
class Job:
    """One request: its validated rows, then their predictions; `future` tells that they are there."""

    origin: Origin
    rows: Rows
    future: ResultFuture
    job_id: str
    predictions: list[Prediction] = field(default_factory=list)
    written: bool = False
    """Whether the log has been asked to write the predictions."""
    logged: bool = True
    """False if the log declared them lost instead."""

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)


def predictions_of(jobs: Sequence[Job], outputs: Outputs, started: float, finished: float) -> list[Job]:
    """Give each job that still waits its predictions; return those jobs.

    The outputs are in the order of all rows of all jobs; times are `time.monotonic` seconds.
    A job with an output that is not finite has failed, its batch-mates have not.
    """
    broken = broken_rows(outputs)
    probabilities = None if outputs.probabilities is None else outputs.probabilities.tolist()
    labels = None if outputs.labels is None else outputs.labels.tolist()
    values = None if outputs.values is None else outputs.values.tolist()
    outliers = None if outputs.outliers is None else outputs.outliers.tolist()
    scores = None if outputs.scores is None else outputs.scores.tolist()
    now, inference, batch_size = time.monotonic(), finished - started, len(labels or values or ())
    live: list[Job] = []
    row = 0
    for job in jobs:
        if job.future.done():
            row += len(job.rows)
            continue
        live.append(job)
        if broken is not None and broken[row : row + len(job.rows)].any():
            job.predictions = failures_of(job, Kind.MODEL_FAILED)
            row += len(job.rows)
            continue
        origin = job.origin
        for index, features in enumerate(job.rows):
            job.predictions.append(
                Prediction(
                    job.job_id,
                    origin,
                    index,
                    features,
                    probabilities[row] if probabilities else None,
                    labels[row] if labels else None,
                    outliers[row] if outliers else None,
                    scores[row] if scores else None,
                    started - origin.received,
                    inference,
                    now - origin.received,
                    batch_size,
                    None,
                    values[row] if values else None,
                )
            )
            row += 1
    return live


def failures_of(job: Job, error: Kind) -> list[Prediction]:
    """Return one failure for each row of a job."""
    total = time.monotonic() - job.origin.received
    return [
        Prediction(job.job_id, job.origin, index, features, total=total, error=error)
        for index, features in enumerate(job.rows)
    ]
