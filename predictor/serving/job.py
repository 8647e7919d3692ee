"""A job: one request with its rows or tensors, and its predictions made of a batch's outputs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.core.problems import Kind
from predictor.core.result import ManyPredictions, Prediction
from predictor.inference.outputs import broken_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.core.result import Origin, Rows, Tensors, TensorTexts
    from predictor.inference.outputs import Outputs
    from predictor.serving.batcher import ResultFuture


_FEW = 8
"""Rows whose numbers are looked at one by one: for so few numpy takes longer, the longer the colder it is."""


@dataclass(slots=True, eq=False)
class Job:
    """One request: its validated rows, then their predictions; `future` tells that they are there."""

    origin: Origin
    rows: Rows
    future: ResultFuture
    job_id: str
    size: int
    """Number of rows."""
    tensors: Tensors | None = None
    """The rows as arrays by the names of the inputs; where there are no `rows`, all that came."""
    own_outputs: bool = False
    """Whether `outputs` are wanted."""
    form: Any = None
    """What the request says of its answer, for who encodes that."""
    answered: Sequence[Prediction] = ()
    """A prediction for each row, or for all rows of tensors; see `predictions`."""
    many: ManyPredictions | None = None
    """The same by column instead, of a request of many rows, or where a record has many."""
    outputs: Mapping[str, NDArray[Any]] | None = None
    """The file's own outputs for this request by their names."""
    texts: Sequence[TensorTexts] = ()
    """What its records have of its tensors: one for all rows, or one for each."""
    written: bool = False
    """Whether the log has been asked to write the predictions."""
    logged: bool = True
    """False if the log declared them lost instead."""

    @property
    def predictions(self) -> Sequence[Prediction]:
        """The prediction of each row; of tensors as many as there are records."""
        if self.many and not self.answered:
            self.answered = [self.many.row(at) for at in range(self.size)]
        return self.answered

    @property
    def total(self) -> float:
        """Seconds from its arrival to the writing of the record."""
        return (self.many or self.answered[0]).total

    @property
    def error(self) -> Kind | None:
        """Why it failed; None if it did not."""
        return None if self.many else self.answered[0].error

    @property
    def outlier(self) -> bool:
        """Whether any row is an outlier."""
        if self.many:
            return any(self.many.outliers or ())
        return any(each.outlier for each in self.answered)


class Ran(NamedTuple):
    """Jobs that ran together, what they gave, and when; times are `time.monotonic` seconds."""

    jobs: Sequence[Job]
    outputs: Outputs | None
    """In the order of all rows of all jobs; None if the model failed."""
    started: float
    finished: float


def predictions_of(ran: Ran, *, by_column: bool) -> list[Job]:
    """Give each job that still waits its predictions, by column if so or if it has many rows; return those jobs.

    A job with an output that is not finite has failed, its batch-mates have not.
    """
    jobs, outputs, started, finished = ran
    if outputs is None or not jobs[0].rows:
        live = [job for job in jobs if not job.future.done()]
        if outputs is not None:
            return _of_tensors(live, started, finished, sum(job.size for job in jobs))
        for job in live:
            job.answered = failures_of(job, Kind.MODEL_FAILED)
        return live
    probabilities = None if outputs.probabilities is None else outputs.probabilities.tolist()
    labels = None if outputs.labels is None else outputs.labels.tolist()
    values = None if outputs.values is None else outputs.values.tolist()
    outliers = None if outputs.outliers is None else outputs.outliers.tolist()
    scores = None if outputs.scores is None else outputs.scores.tolist()
    now, inference, batch_size = time.monotonic(), finished - started, len(labels or values or ())
    few = batch_size <= _FEW and _whole(probabilities, labels, scores, values)
    broken = None if few else broken_rows(outputs)
    live = []
    row = 0
    for job in jobs:
        begin, row = row, row + job.size
        if job.future.done():
            continue
        live.append(job)
        if job.own_outputs and outputs.own is not None:
            job.outputs = {name: part[begin:row] for name, part in outputs.own.items()}
        origin = job.origin
        if broken is not None and broken[begin:row].any():
            job.answered = failures_of(job, Kind.MODEL_FAILED)
        elif by_column or job.size > _FEW:
            job.many = ManyPredictions(
                job.job_id,
                origin,
                job.rows,
                probabilities[begin:row] if probabilities else None,
                labels[begin:row] if labels else None,
                outliers[begin:row] if outliers else None,
                scores[begin:row] if scores else None,
                values[begin:row] if values else None,
                started - origin.received,
                inference,
                now - origin.received,
                batch_size,
            )
        else:
            answered = job.answered = []
            for at, features in enumerate(job.rows, begin):
                answered.append(
                    Prediction(
                        job.job_id,
                        origin,
                        at - begin,
                        features,
                        probabilities[at] if probabilities else None,
                        labels[at] if labels else None,
                        outliers[at] if outliers else None,
                        scores[at] if scores else None,
                        started - origin.received,
                        inference,
                        now - origin.received,
                        batch_size,
                        None,
                        values[at] if values else None,
                    )
                )
    return live


def _whole(
    probabilities: list[list[float]] | None,
    labels: list[Any] | None,
    scores: list[float] | None,
    values: list[Any] | None,
) -> bool:
    """Tell whether all numbers are finite and all labels there."""
    return (
        math.isfinite(sum(map(sum, probabilities or ())))
        and math.isfinite(sum(scores or ()))
        and math.isfinite(sum(map(sum, values or ())))
        and None not in (labels or ())
    )


def _of_tensors(live: list[Job], started: float, finished: float, batch_size: int) -> list[Job]:
    """Give each job a prediction for each of its records; its outputs and texts are there."""
    now = time.monotonic()
    for job in live:
        received = job.origin.received
        texts = job.texts or (None,)
        job.answered = [
            Prediction(
                job.job_id,
                job.origin,
                at,
                queue=started - received,
                inference=finished - started,
                total=now - received,
                batch_size=batch_size,
                rows=job.size if len(texts) == 1 else 1,
                tensors=each,
            )
            for at, each in enumerate(texts)
        ]
    return live


def failures_of(job: Job, error: Kind) -> list[Prediction]:
    """Return one failure for each row of a job; of tensors as many as there are records."""
    total = time.monotonic() - job.origin.received
    if not job.rows:
        texts = job.texts or (None,)
        rows = job.size if len(texts) == 1 else 1
        return [
            Prediction(job.job_id, job.origin, at, total=total, error=error, rows=rows, tensors=each)
            for at, each in enumerate(texts)
        ]
    return [
        Prediction(job.job_id, job.origin, index, features, total=total, error=error)
        for index, features in enumerate(job.rows)
    ]
