"""The pipeline: one prediction from validated rows to a logged result. Reads top to bottom."""

from __future__ import annotations

import contextlib
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from predictor.core.ids import uuid7
from predictor.core.operator_log import Throttle
from predictor.core.problems import Kind, Problem
from predictor.inference.runtime_errors import reason_of
from predictor.outbox import OutboxError
from predictor.recording.record_schema import schema_of
from predictor.serving.batch_run import run_jobs
from predictor.serving.batcher import Batch, Batcher
from predictor.serving.deadlines import Deadlines
from predictor.serving.job import Job, Ran, failures_of, predictions_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from predictor.core.rate_limit import TokenBucket
    from predictor.core.result import ManyPredictions, Origin, Prediction
    from predictor.inference.model import Model
    from predictor.serving.batcher import BatchThreads, ResultFuture, Totals
    from predictor.serving.contracts import PredictionWriter, Requested, Traces

_logger = logging.getLogger("predictor.serving.pipeline")
_DRAINING = "this server is shutting down; ask again, another one will answer"
_NO_ANSWER = "the model failed on these rows, gave a number that is not finite, or a label that it has not"
_RETRY_AFTER = 1
"""Seconds: a queue of the default length drains in less, and the outbox looks for room once a second."""
_LAST_BATCHES = 2.0
"""Seconds for batches that run when PREDICTOR_DRAIN is over: what they predict is logged, though nobody waits."""


class Pipeline:
    """Predictions of one model, each logged before it is answered."""

    def __init__(
        self,
        model: Model,
        log: PredictionWriter,
        traces: Traces,
        *,
        batch_rows: int,
        threads: int,
        queue_rows: int,
        slow: float,
        wait: float = 0.0,
        inline: bool = False,
        pool: BatchThreads | None = None,
        rate: TokenBucket | None = None,
        observe: Callable[[Sequence[Prediction | ManyPredictions]], None] | None = None,
    ) -> None:
        """Take the parts; without `rate` nothing bounds the rows, without `pool` batches have threads of their own.

        Up to `batch_rows` rows run together; fewer wait `wait` seconds for company. With `inline` a lone row runs on
        the loop.
        `observe` gets what was logged, as the log has it: many rows of a request are not parted for it.
        """
        self.draining = False
        """The socket is closed: what begins on open connections is refused."""
        self.deadlines = Deadlines(self._expire)
        self.model = model
        self.schema = schema_of(model.description)
        self._by_column = self.schema.many_rows
        self._log = log
        self._traces = traces
        self._queue_rows = queue_rows
        self._slow = slow
        self._rate = rate
        self._observe = observe
        self._throttle = Throttle()
        self._batcher = Batcher(
            self._run, self._commit, max_rows=batch_rows, threads=threads, pool=pool, wait=wait, inline=inline
        )

    def admit(self) -> None:
        """Refuse a request before its body is read, when a refusal is cheapest; raises Problem."""
        if self.draining:
            raise Problem(Kind.DRAINING, _DRAINING, retry_after=_RETRY_AFTER)
        self.check_room()
        if self._rate and (seconds := self._rate.wait(1)):
            raise _too_fast(seconds)

    def admit_feedback(self) -> None:
        """Refuse a feedback as a prediction is, and count it as one row; raises Problem."""
        self.admit()
        if self._rate and (seconds := self._rate.take(1)):
            raise _too_fast(seconds)

    def check_room(self) -> None:
        """Refuse before inference what could not be logged or would wait too long; raises Problem."""
        if reason := self._log.refuse_if_full():
            raise Problem(Kind.OUTBOX_FULL, reason, retry_after=_RETRY_AFTER, recorded=True)
        if (waiting := self._batcher.queued_rows) >= self._queue_rows:
            detail = f"{waiting} rows are waiting, at most {self._queue_rows} may (PREDICTOR_QUEUE_ROWS)"
            raise Problem(Kind.QUEUE_FULL, detail, retry_after=_RETRY_AFTER)

    def start(
        self, origin: Origin, request: Requested, future: ResultFuture, deadline: float, *, just_admitted: bool = False
    ) -> Job:
        """Send a validated request on its way; `deadline` is on the loop's clock; raises Problem if there is no room.

        It is not looked for again if the request was admitted in this very turn of the loop.
        `future` is settled when every row has its record in the outbox (or `Job.logged` is False).
        Rows beyond PREDICTOR_ROWS_PER_SECOND have no record; otherwise they would fill the outbox all the same.
        """
        rows = request.rows
        size = len(rows) or request.size
        if self._rate and (seconds := self._rate.take(size)):
            raise _too_fast(seconds)
        job_id = uuid7(origin.received_ns)
        job = Job(origin, rows, future, job_id, size, request.tensors, request.own_outputs, request.form)
        if not just_admitted:
            try:
                self.check_room()  # once more: the body was read meanwhile
            except Problem as problem:
                self._record_failure([job], problem.kind)
                problem.recorded = True
                raise
        self._batcher.submit(job)
        self.deadlines.add(job, deadline)
        return job

    def abandon(self, job: Job) -> None:
        """Record rows that nobody will be told of any more, since PREDICTOR_DRAIN is over, unless they are recorded."""
        self.deadlines.discard(job)
        if not job.written:
            self._record_failure([job], Kind.DRAINING)

    async def quiet(self) -> None:
        """Return when nothing waits or runs; what begins meanwhile is waited for too."""
        await self._batcher.quiet()

    async def close(self) -> None:
        """Refuse what still waits, since PREDICTOR_DRAIN is over, and wait a little for the batches that run.

        The model is let go, whatever still points here: an idle connection knows the version of its last request.
        """
        for job in self._batcher.waiting():
            self._give_up(job, _draining())
        left = await self._batcher.close(_LAST_BATCHES)
        if left:
            _logger.error("%d requests are in batches that do not end; they are refused", len(left))
        for job in left:
            self._give_up(job, _draining())
        self.deadlines.close()
        if not left:  # else a thread is in it
            with contextlib.suppress(AttributeError):  # closed before
                del self.model

    @property
    def queued_rows(self) -> int:
        """How many rows wait."""
        return self._batcher.queued_rows

    @property
    def totals(self) -> Totals:
        """What has run so far, failed batches included."""
        return self._batcher.totals

    def stalled(self) -> float:
        """Return for how many seconds rows have waited or run while no batch has ended; 0 if all is well."""
        return self._batcher.stalled()

    def _run(self, jobs: list[Job]) -> list[Ran]:  # in a pool thread, or a lone row of a fast model here
        found, error = run_jobs(self.model, jobs, self._log.describe)
        if error and self._throttle.due(Kind.MODEL_FAILED):
            name, reason = self.model.description.name, reason_of(error)
            _logger.error("model %s failed on some requests of a batch: %s", name, reason)
        return found

    # Back on the loop, once for the whole batch; numbering and writing are one stretch without an await
    def _commit(self, batch: Batch[Job, list[Ran]]) -> Awaitable[None] | None:
        if batch.result is None:
            self._failed(batch)
            return None
        live = [job for ran in batch.result for job in predictions_of(ran, by_column=self._by_column)]
        failed = []
        for job in live:
            if job.size == 1 and job.many is None:  # by far the most frequent
                first = job.answered[0]
                slow, error, outlier = first.total > self._slow, first.error, bool(first.outlier)
            else:
                slow, error, outlier = job.total > self._slow, job.error, job.outlier
            if outlier or slow or error or job.size > 1:
                self._traces.keep(job.origin, outlier=outlier, slow=slow, error=error is not None)
            if error:
                failed.append(job)
        records = _records(live)
        pending = self._write(live, records) if live else None
        self._tell(live, records)
        for job in failed:
            job.future.set_exception(Problem(Kind.MODEL_FAILED, _NO_ANSWER, recorded=True))
        return pending

    def _write(self, jobs: Sequence[Job], records: Sequence[Prediction | ManyPredictions]) -> Awaitable[None] | None:
        try:
            logged = self._log.write(records)
        except OutboxError as error:
            raise _not_logged(error) from error
        for job in jobs:
            job.written, job.logged = True, logged
        return (
            _synced(self._log) if self._log.waits and logged else None
        )  # for what is lost there is nothing to wait for

    def _tell(self, jobs: Sequence[Job], records: Sequence[Prediction | ManyPredictions]) -> None:
        for job in jobs:
            if job.origin.kept:
                self._traces.write_spans(self.schema, job.predictions)
        if self._observe:
            self._observe(records)

    # What else can become of it
    def _expire(self, job: Job) -> None:
        detail = "the rows were not predicted and logged in time (PREDICTOR_DEADLINE)"
        self._give_up(job, Problem(Kind.DEADLINE_EXCEEDED, detail, recorded=True))

    def _give_up(self, job: Job, problem: Problem) -> None:
        if job.future.done():
            return
        if not job.written:  # else the disk is slow and the record is there
            self._record_failure([job], problem.kind)
        job.future.set_exception(problem)

    def _failed(self, batch: Batch[Job, list[Ran]]) -> None:
        """Tell all callers of a batch without outputs: the model failed, or no thread took it."""
        name = self.model.description.name
        if batch.started:
            kind, detail = Kind.MODEL_FAILED, "the model failed on these rows"
            said = f"model {name} failed on a batch of {batch.size} rows: {reason_of(batch.error)}"
        else:
            kind, detail = Kind.INTERNAL_ERROR, "no thread took the rows; the server's log says more"
            said = f"no thread took a batch of {batch.size} rows for model {name}: {batch.error}"
        if self._throttle.due(kind):
            _logger.error("%s", said)
        live = [job for job in batch.jobs if not job.future.done()]
        self._record_failure(live, kind)
        for job in live:
            job.future.set_exception(Problem(kind, detail, recorded=True))

    def _record_failure(self, jobs: Sequence[Job], kind: Kind) -> None:
        for job in jobs:
            self._traces.keep(job.origin, error=kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR)
            if not job.texts and job.tensors is not None and not job.rows:
                job.texts = self._log.describe(job.tensors, None, brief=True)
            job.many, job.answered = None, failures_of(job, kind)
        if not jobs or kind is Kind.OUTBOX_FULL:  # that one is counted, not recorded
            return
        try:
            self._log.write(_records(jobs))
        except OutboxError:
            return  # the caller learns of the failure all the same, and the refusal was counted
        self._tell(jobs, _records(jobs))


def _records(jobs: Sequence[Job]) -> list[Prediction | ManyPredictions]:
    return [record for job in jobs for record in (job.answered if job.many is None else (job.many,))]


def _too_fast(seconds: float) -> Problem:
    detail = "this server has predicted as many rows as it may for now (PREDICTOR_ROWS_PER_SECOND)"
    return Problem(Kind.RATE_LIMITED, detail, retry_after=math.ceil(seconds))


def _draining() -> Problem:
    return Problem(Kind.DRAINING, _DRAINING, retry_after=_RETRY_AFTER, recorded=True)


def _not_logged(error: OutboxError) -> Problem:
    return Problem(Kind.OUTBOX_FULL, str(error), retry_after=_RETRY_AFTER, recorded=True)


async def _synced(log: PredictionWriter) -> None:
    try:
        await log.synced()
    except OutboxError as error:
        raise _not_logged(error) from error
