"""Adaptive micro-batching without a timer, unless one is asked for: what queues while a batch runs becomes the next.

`run` works in a pool thread, `commit` on the event loop, and only then do the callers learn the outcome.
Knows neither ONNX nor HTTP nor logs: `pipeline.py` supplies both functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from predictor.core.worker_threads import WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class ResultFuture(Protocol):
    """What a job's caller waits for; an asyncio future is one."""

    def done(self) -> bool:
        """Tell whether it is settled."""

    def set_result(self, result: None, /) -> None:
        """Settle it: the job is done."""

    def set_exception(self, error: BaseException, /) -> None:
        """Settle it: the job has failed."""


class Batchable(Protocol):
    """One request: its rows run together, never split over batches."""

    @property
    def future(self) -> ResultFuture:
        """Resolved after the commit, unless it is done by then (a deadline, an outcome that the commit set)."""

    @property
    def size(self) -> int:
        """Number of rows."""


class BatchThreads(Protocol):
    """Where batches run; `WorkerThreads` is one, and an executor."""

    def submit(self, work: Callable[[Any], object], batch: Any, /) -> object:  # noqa: ANN401 - a Batch of any kind
        """Have `work(batch)` run in a thread; may raise."""

    def shutdown(self) -> object:
        """End the threads; nothing more is submitted."""


J = TypeVar("J", bound=Batchable)
R = TypeVar("R")


class Batch(Generic[J, R]):
    """Jobs that run together, and what came of it.

    Times are `time.monotonic` seconds; `started` is 0 if no thread took the batch.
    """

    __slots__ = ("error", "finished", "jobs", "result", "size", "started")

    def __init__(self, jobs: list[J], size: int) -> None:
        """Take the jobs and the number of their rows."""
        self.jobs = jobs
        self.size = size
        self.started = 0.0
        self.finished = 0.0
        self.result: R | None = None
        self.error: BaseException | None = None


@dataclass(slots=True)
class Totals:
    """What has run so far."""

    batches: int = 0
    rows: int = 0
    seconds: float = 0.0
    """In threads of the pool, all together."""


class Batcher(Generic[J, R]):
    """Runs jobs in batches of up to `max_rows` rows, `threads` batches at once."""

    def __init__(
        self,
        run: Callable[[list[J]], R],
        commit: Callable[[Batch[J, R]], Awaitable[None] | None],
        *,
        max_rows: int,
        threads: int,
        pool: BatchThreads | None = None,
        wait: float = 0.0,
        inline: bool = False,
    ) -> None:
        """Take `run(jobs)` for the pool and `commit(batch)` for the loop.

        A commit may return an awaitable (a sync of the disk): the callers wait for it, the next batch does not.
        A commit that raises fails the jobs of its batch with that error.
        The batches run in `pool`, which others may use too; without one all threads are started here, which raises
        OSError if the system has none.
        Jobs that are fewer rows than `max_rows` wait up to `wait` seconds for company, also while a thread is free.
        With `inline` a lone row runs on the loop if nothing else waits or runs: `run` must be very fast then.
        """
        self._run = run
        self._commit = commit
        self._max_rows = max_rows
        self._threads, self._inline = threads, inline
        self._pool = pool or WorkerThreads(threads, "inference")
        self._owns_pool = pool is None
        self._loop = asyncio.get_running_loop()
        self._queue: deque[J] = deque()
        self._wait = wait
        self._due: deque[float] = deque()  # until when each of the queue waits for company, if any does
        self._alone = not wait  # no company is waited for
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[Batch[J, R]] = set()
        self._moved = 0.0  # when a batch last ended, or the first job came to an idle batcher
        self._last = 0
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing: set[asyncio.Future[None]] = set()
        self.queued_rows = 0
        self.totals = Totals()

    def submit(self, job: J) -> None:
        """Queue a job; its future tells when it is done. A job larger than `max_rows` runs alone."""
        if not self._queue and not self._running:
            self._moved = time.monotonic()
            self._idle.clear()
        self._queue.append(job)
        self.queued_rows += job.size
        if self._wait:
            self._due.append(self._loop.time() + self._wait)
        if not self._scheduled and len(self._running) < self._threads:
            # At the end of this turn of the loop, so that all requests that came in with it run together.
            self._scheduled = True
            self._loop.call_soon(self._gather, 0)

    def waiting(self) -> list[J]:
        """Return the jobs that are queued and whose callers wait."""
        return [job for job in self._queue if not job.future.done()]

    def stalled(self) -> float:
        """Return for how many seconds there has been work and no batch has ended; 0 without work."""
        return time.monotonic() - self._moved if self._queue or self._running else 0.0

    async def quiet(self) -> None:
        """Return when nothing is queued, runs or is being committed; nothing waits for company any more."""
        self._alone = True
        if self._timer:
            self._timer.cancel()
            self._end_wait()
        while self._committing or not self._idle.is_set():
            await self._idle.wait()
            if self._committing:
                await asyncio.wait(self._committing)

    async def close(self, patience: float) -> list[J]:
        """Wait until what is queued has run and is committed, then end the threads; submit nothing more.

        Returns after `patience` seconds at the latest, with the jobs that have no outcome by then: their threads hang
        and are left alone.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.quiet()
        if self._owns_pool:
            self._pool.shutdown()
        left = [job for batch in self._running for job in batch.jobs]
        if not left:  # no cycle is left for the collector to find
            with contextlib.suppress(AttributeError):  # closed before
                del self._run, self._commit
        return [job for job in (*left, *self._queue) if not job.future.done()]

    def _gather(self, before: int) -> None:
        """Let another turn of the loop pass while requests come in and are fewer than ran together last.

        The callers of the last batch have just been answered: most of them ask again within a turn or two, and
        would otherwise wait behind a batch of the first one.
        """
        if before < self.queued_rows < self._last:
            self._loop.call_soon(self._gather, self.queued_rows)
        else:
            self._dispatch()

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._queue and len(self._running) < self._threads and (self._alone or not self._waits()):
            if self._scheduled:  # what came while a row ran here has a turn of its own
                break
            jobs, size = self._take()
            if jobs:
                self._last = size
                self._start(Batch(jobs, size))
        self._note_idle()

    def _waits(self) -> bool:
        """Tell whether what is queued is to wait for company; then a timer ends that."""
        if self.queued_rows >= self._max_rows or self._loop.time() >= self._due[0]:
            return False
        if self._timer is None:
            self._timer = self._loop.call_at(self._due[0], self._end_wait)
        return True

    def _end_wait(self) -> None:
        self._timer = None
        if not self._scheduled:
            self._dispatch()

    def _start(self, batch: Batch[J, R]) -> None:
        self._running.add(batch)
        if self._inline and batch.size == 1 and len(self._running) == 1 and not self._queue:
            self._run_batch(batch)
            self._finish(batch)
            return
        try:
            self._pool.submit(self._work, batch)
        except Exception as error:  # noqa: BLE001 - no thread, no memory: it fails this batch, not all that follow
            batch.error = error
            self._loop.call_soon(self._finish, batch)

    def _note_idle(self) -> None:
        if not self._queue and not self._running:
            self._idle.set()

    def _take(self) -> tuple[list[J], int]:
        jobs: list[J] = []
        size = 0
        queue = self._queue
        while queue and (not jobs or size + queue[0].size <= self._max_rows):
            job = queue.popleft()
            if self._wait:
                self._due.popleft()
            self.queued_rows -= job.size
            if not job.future.done():
                jobs.append(job)
                size += job.size
        return jobs, size

    def _work(self, batch: Batch[J, R]) -> None:
        self._run_batch(batch)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waited for this any more
            self._loop.call_soon_threadsafe(self._finish, batch)

    def _run_batch(self, batch: Batch[J, R]) -> None:
        batch.started = time.monotonic()
        try:
            batch.result = self._run(batch.jobs)
        except BaseException as error:  # noqa: BLE001 - whatever a model raises belongs to its batch
            batch.error = error.with_traceback(None)  # which leads to this frame, and so back to the batch
        batch.finished = time.monotonic()

    def _finish(self, batch: Batch[J, R]) -> None:
        if batch not in self._running:  # a pool that raises may keep what it was given, and run it later
            return
        self._running.discard(batch)
        self._moved = time.monotonic()
        totals = self.totals
        totals.batches += 1
        totals.rows += batch.size
        totals.seconds += batch.finished - batch.started
        if self._queue and not self._scheduled:
            self._scheduled = True
            self._gather(0)  # first, so that the pool works while the loop writes the log
        self._note_idle()
        try:
            pending = self._commit(batch)
        except BaseException as error:  # noqa: BLE001 - a caller must never wait for ever
            _resolve(batch, error)
            return
        if pending is None:
            _resolve(batch, None)
        else:
            task = asyncio.ensure_future(pending)
            self._committing.add(task)
            task.add_done_callback(self._committing.discard)
            task.add_done_callback(lambda done: _resolve(batch, _error_of(done)))


def _error_of(done: asyncio.Future[None]) -> BaseException | None:
    return asyncio.CancelledError() if done.cancelled() else done.exception()


def _resolve(batch: Batch[J, R], error: BaseException | None) -> None:
    for job in batch.jobs:
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(None)
        else:
            job.future.set_exception(error)
