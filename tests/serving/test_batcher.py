"""Adaptive batching: what runs together, what becomes of each caller, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.core.worker_threads import WorkerThreads
from predictor.serving import batcher as batching
from predictor.serving.batcher import Batch, Batcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_PATIENCE = 20.0  # s; reached only by a test that fails


@dataclass(eq=False)
class Job:
    """A request of some rows; it remembers the batch that it was in."""

    size: int = 1
    name: str = ""
    future: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    batch: Batch[Job, str] | None = None

    async def done(self) -> None:
        """Wait for the outcome, without ending it when the test's patience ends."""
        await asyncio.wait_for(asyncio.shield(self.future), _PATIENCE)


class Model:
    """Stands for a model: `run` waits in its pool thread until the test opens `gate`."""

    def __init__(self, *, open_: bool = True) -> None:
        """Let batches pass, or with `open_=False` hold them until told otherwise."""
        self.batches: list[list[Job]] = []
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.fails: Callable[[list[Job]], bool] = lambda _: False
        if open_:
            self.gate.set()

    def run(self, jobs: list[Job]) -> str:
        """Remember the batch, wait, fail if the test says so."""
        self.batches.append(jobs)
        self.began.release()
        assert self.gate.wait(_PATIENCE)
        if self.fails(jobs):
            msg = "the model does not like this"
            raise ValueError(msg)
        return "fine"

    async def runs(self) -> None:
        """Return when one more batch has reached its thread."""
        assert await asyncio.to_thread(self.began.acquire, timeout=_PATIENCE)


def commit(batch: Batch[Job, str]) -> None:
    """Note the batch with its jobs; fail it if its run has failed."""
    for job in batch.jobs:
        job.batch = batch
    if batch.error:
        raise batch.error


@asynccontextmanager
async def batcher(
    model: Model,
    commit: Callable[[Batch[Job, str]], Awaitable[None] | None] = commit,
    *,
    max_rows: int = 4,
    threads: int = 1,
    wait: float = 0.0,
) -> AsyncIterator[Batcher[Job, str]]:
    """Make a batcher and close it, the gate open."""
    made: Batcher[Job, str] = Batcher(model.run, commit, max_rows=max_rows, threads=threads, wait=wait)
    try:
        yield made
    finally:
        model.gate.set()
        assert await made.close(_PATIENCE) == []


def submit(to: Batcher[Job, str], *sizes: int) -> list[Job]:
    """Submit jobs of these sizes in one turn of the loop."""
    jobs = [Job(size, str(number)) for number, size in enumerate(sizes)]
    for job in jobs:
        to.submit(job)
    return jobs


async def test_requests_of_one_turn_run_together() -> None:
    """Requests that came in one turn of the loop share a batch, though a thread was free for the first alone."""
    model = Model()
    async with batcher(model) as made:
        jobs = submit(made, 1, 1, 1)
        await asyncio.gather(*(job.done() for job in jobs))
    assert model.batches == [jobs]


async def test_a_lone_request_waits_for_nobody() -> None:
    """One request runs at once: there is no timer that a batch must fill or outwait."""
    model = Model()
    async with batcher(model, max_rows=1000) as made:
        (job,) = submit(made, 1)
        await job.done()
    assert job.batch
    assert job.batch.size == 1


async def _turns(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_rows_wait_for_company_until_they_are_enough() -> None:
    """With a wait fewer rows than a batch holds wait though a thread is free, and go as soon as they are enough."""
    model = Model()
    async with batcher(model, wait=600) as made:
        jobs = submit(made, 1)
        await _turns()
        assert (model.batches, made.queued_rows) == ([], 1)
        jobs += submit(made, 2)
        await _turns()
        assert model.batches == []
        jobs += submit(made, 1)
        await asyncio.gather(*(job.done() for job in jobs))
        assert model.batches == [jobs]
        (large,) = submit(made, 9)
        await large.done()


async def test_rows_do_not_wait_longer() -> None:
    """A lone request that nobody joins runs alone when its wait is over, and so does the next one."""
    model = Model()
    async with batcher(model, wait=0.01) as made:
        for _ in range(2):
            (job,) = submit(made, 1)
            await job.done()
    assert [len(jobs) for jobs in model.batches] == [1, 1]


async def test_what_is_left_over_has_a_wait_of_its_own() -> None:
    """Rows that did not fit into a full batch wait in their turn, and go at the latest when theirs is over."""
    model = Model()
    async with batcher(model, max_rows=2, wait=0.01) as made:
        jobs = submit(made, 1, 1, 1)
        await asyncio.gather(*(job.done() for job in jobs))
    assert model.batches == [jobs[:2], jobs[2:]]


async def test_nobody_waits_for_company_at_the_end() -> None:
    """Closing runs what still waits at once: nobody else will come."""
    model = Model()
    made: Batcher[Job, str] = Batcher(model.run, commit, max_rows=4, threads=1, wait=600)
    jobs = submit(made, 1)
    await _turns()
    assert await made.close(_PATIENCE) == []
    assert model.batches == [jobs]


async def test_what_queued_while_a_batch_ran_goes_next_up_to_the_limit() -> None:
    """While the thread is busy requests gather; then the first `max_rows` rows run as one batch, in order."""
    model = Model(open_=False)
    async with batcher(model, max_rows=4) as made:
        (first,) = submit(made, 1)
        await model.runs()
        waiting = []
        for size in (1, 2, 1, 1):  # in turns of their own
            waiting += submit(made, size)
            await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*(job.done() for job in waiting))
    assert model.batches == [[first], waiting[:3], waiting[3:]]


async def test_a_request_is_never_split() -> None:
    """A request that does not fit beside the others waits for the next batch whole."""
    model = Model()
    async with batcher(model, max_rows=4) as made:
        jobs = submit(made, 3, 2, 2)
        await asyncio.gather(*(job.done() for job in jobs))
    assert model.batches == [[jobs[0]], jobs[1:]]


async def test_a_request_larger_than_the_limit_runs_alone() -> None:
    """A request of more than `max_rows` rows is neither refused nor stuck nor mixed: it is a batch of its own."""
    model = Model()
    async with batcher(model, max_rows=4) as made:
        jobs = submit(made, 1, 9, 1)
        await asyncio.gather(*(job.done() for job in jobs))
    assert model.batches == [[job] for job in jobs]


async def test_several_threads_run_batches_at_once() -> None:
    """With two threads a second batch begins while the first one still runs, and a third does not."""
    model = Model(open_=False)
    async with batcher(model, threads=2, max_rows=1) as made:
        jobs = submit(made, 1, 1, 1)
        await model.runs()
        await model.runs()
        assert len(model.batches) == 2
        assert made.queued_rows == 1
        model.gate.set()
        await asyncio.gather(*(job.done() for job in jobs))


async def test_a_caller_that_left_before_its_batch_is_skipped() -> None:
    """A caller that is cancelled or timed out while it waits is not run, and those around it are."""
    model = Model(open_=False)
    async with batcher(model) as made:
        (first,) = submit(made, 1)
        await model.runs()
        before, gone, late, after = submit(made, 1, 1, 1, 1)
        gone.future.cancel()
        late.future.set_exception(TimeoutError())
        model.gate.set()
        await asyncio.gather(before.done(), after.done(), first.done())
        with pytest.raises(TimeoutError):
            await late.future
    assert model.batches == [[first], [before, after]]


async def test_a_queue_of_callers_that_left_runs_nothing() -> None:
    """When all who waited have left no empty batch runs, and the next request is served."""
    model = Model()
    async with batcher(model) as made:
        for job in submit(made, 1, 2):
            job.future.cancel()
        await asyncio.sleep(0)
        assert made.queued_rows == 0
        (job,) = submit(made, 1)
        await job.done()
    assert model.batches == [[job]]


async def test_a_caller_that_leaves_while_its_batch_runs_harms_nobody() -> None:
    """A caller that is cancelled in the middle of its batch keeps its outcome, and its batch-mates get theirs."""
    model = Model(open_=False)
    async with batcher(model) as made:
        mate, gone = submit(made, 1, 1)
        await model.runs()
        gone.future.cancel()
        model.gate.set()
        await mate.done()
        assert gone.future.cancelled()


async def test_a_failing_run_fails_its_own_batch_only() -> None:
    """A model that raises fails the requests of that batch, with its error; the batches around it succeed."""
    model = Model()
    async with batcher(model, max_rows=2) as made:
        jobs = submit(made, 2, 1, 1, 2)
        model.fails = lambda batch: jobs[1] in batch
        outcomes = await asyncio.gather(*(job.done() for job in jobs), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), ValueError, ValueError, type(None)]


async def test_a_run_that_ends_its_thread_fails_its_batch_only() -> None:
    """Even a SystemExit out of a model is the batch's error: the thread, the loop and the next batch live on."""
    model = Model()
    errors: list[BaseException] = [SystemExit("the library wanted to end the process")]

    def run(jobs: list[Job]) -> str:
        if errors:
            raise errors.pop()
        return model.run(jobs)

    seen = []

    def note(batch: Batch[Job, str]) -> None:
        seen.append(batch.error)

    made: Batcher[Job, str] = Batcher(run, note, max_rows=1, threads=1)
    jobs = submit(made, 1, 1)
    await asyncio.gather(*(job.done() for job in jobs))
    assert await made.close(_PATIENCE) == []
    assert [type(error) for error in seen] == [SystemExit, type(None)]


async def test_a_failing_commit_fails_its_own_batch_only() -> None:
    """A commit that raises fails all callers of its batch and none of the next one."""

    def failing(batch: Batch[Job, str]) -> None:
        if batch.jobs[0].name == "0":
            msg = "no room"
            raise OSError(msg)

    async with batcher(Model(), failing, max_rows=2) as made:
        jobs = submit(made, 1, 1, 1)
        outcomes = await asyncio.gather(*(job.done() for job in jobs), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OSError, OSError, type(None)]


async def test_an_outcome_that_the_commit_set_stands() -> None:
    """A commit may give one request of a batch an outcome of its own; the others get the batch's."""

    def choosy(batch: Batch[Job, str]) -> None:
        batch.jobs[0].future.set_exception(ValueError("not a number"))

    async with batcher(Model(), choosy) as made:
        jobs = submit(made, 1, 1)
        outcomes = await asyncio.gather(*(job.done() for job in jobs), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError, type(None)]


class Disk:
    """Stands for a disk: a commit waits for the sync until the test lets it through."""

    def __init__(self) -> None:
        """Hold every sync."""
        self.syncs: list[asyncio.Future[None]] = []
        self._asked = asyncio.Semaphore(0)

    def commit(self, _: Batch[Job, str]) -> Awaitable[None]:
        """Return what is to be waited for."""
        self.syncs.append(asyncio.get_running_loop().create_future())
        self._asked.release()
        return self.syncs[-1]

    async def asked(self, times: int = 1) -> None:
        """Return when so many more syncs are awaited."""
        for _ in range(times):
            await asyncio.wait_for(self._asked.acquire(), _PATIENCE)


async def test_a_slow_sync_delays_its_own_callers_only() -> None:
    """While the sync of one batch is awaited, the next batch runs, syncs and is answered."""
    disk = Disk()
    model = Model()
    async with batcher(model, disk.commit, max_rows=1) as made:
        slow, quick = submit(made, 1, 1)
        await disk.asked(times=2)
        disk.syncs[1].set_result(None)
        await quick.done()
        assert not slow.future.done()
        disk.syncs[0].set_result(None)
        await slow.done()


async def test_a_failing_sync_fails_its_callers() -> None:
    """A sync that ends in an error, or is cancelled, ends the wait of its callers with an error."""
    disk = Disk()
    async with batcher(Model(), disk.commit, max_rows=1) as made:
        failed, cancelled = submit(made, 1, 1)
        await disk.asked(times=2)
        disk.syncs[0].set_exception(OSError("EIO"))
        disk.syncs[1].cancel()
        with pytest.raises(OSError, match="EIO"):
            await failed.done()
        with pytest.raises(asyncio.CancelledError):
            await cancelled.done()


async def test_close_waits_for_what_runs_and_for_its_sync() -> None:
    """Closing ends when the batch that runs is committed and synced, not before."""
    disk, model = Disk(), Model(open_=False)
    made: Batcher[Job, str] = Batcher(model.run, disk.commit, max_rows=1, threads=1)
    (job,) = submit(made, 1)
    await model.runs()
    closing = asyncio.create_task(made.close(_PATIENCE))
    await asyncio.sleep(0)
    model.gate.set()
    await disk.asked()
    assert not closing.done()
    disk.syncs[0].set_result(None)
    await asyncio.wait_for(closing, _PATIENCE)
    assert job.future.done()


async def test_close_answers_what_is_still_queued() -> None:
    """A request that is queued when the batcher is closed is run and answered like any other."""
    model = Model(open_=False)
    made: Batcher[Job, str] = Batcher(model.run, commit, max_rows=1, threads=1)
    jobs = submit(made, 1, 1, 1)
    await model.runs()
    closing = asyncio.create_task(made.close(_PATIENCE))
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.wait_for(closing, _PATIENCE)
    assert all(job.future.done() for job in jobs)
    assert model.batches == [[job] for job in jobs]


async def test_close_leaves_a_batch_that_does_not_end() -> None:
    """Closing ends although a batch does not, and returns the jobs without an outcome, those behind it included."""
    model = Model(open_=False)
    made: Batcher[Job, str] = Batcher(model.run, commit, max_rows=2, threads=1)
    jobs = submit(made, 1, 1)
    await model.runs()
    behind, gone = submit(made, 1, 1)
    jobs[1].future.cancel()
    gone.future.cancel()
    assert await made.close(0.01) == [jobs[0], behind]
    model.gate.set()
    await jobs[0].done()  # what ends late is committed all the same, for whoever still asks


async def test_a_batch_that_no_thread_takes_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that the pool does not take fails, is counted back, and the next one runs."""

    def refuse(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    model = Model()
    async with batcher(model) as made:
        with monkeypatch.context() as patched:
            patched.setattr(WorkerThreads, "submit", refuse)
            for job in submit(made, 1, 2):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await job.done()
                assert job.batch
                assert job.batch.started == 0.0
        assert made.queued_rows == 0
        assert made.stalled() == 0.0
        (job,) = submit(made, 1)
        await job.done()
    assert model.batches == [[job]]


async def test_a_pool_that_raises_and_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool may keep what it did not take and run it later: each caller has one outcome, and nothing is miscounted."""

    def late(_: object, work: Callable[[object], object], batch: object) -> None:
        work(batch)
        msg = "can't start new thread"
        raise RuntimeError(msg)

    model = Model()
    async with batcher(model) as made:
        with monkeypatch.context() as patched:
            patched.setattr(WorkerThreads, "submit", late)
            (job,) = submit(made, 1)
            with contextlib.suppress(RuntimeError):
                await job.done()
        after = submit(made, 4, 4)
        await asyncio.gather(*(each.done() for each in after))
    assert model.batches == [[job], [after[0]], [after[1]]]


async def test_work_without_an_end_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds without a batch that ends count while there is work: not while idle, and anew with each that ends."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: clock.now))
    model = Model(open_=False)
    async with batcher(model, max_rows=1) as made:
        clock.now += 100
        assert made.stalled() == 0.0
        first, second = submit(made, 1, 1)
        await model.runs()
        clock.now += 7
        assert made.stalled() == 7.0
        model.gate.set()
        await first.done()
        await second.done()
        assert made.stalled() == 0.0
        model.gate.clear()
        (third,) = submit(made, 1)
        await model.runs()
        clock.now += 3
        assert made.stalled() == 3.0
        model.gate.set()
        await third.done()


async def test_the_times_of_a_batch_hold_its_run() -> None:
    """A batch knows when its run began and ended: the run's own duration, not the wait for the loop."""
    model = Model()
    async with batcher(model) as made:
        loop = asyncio.get_running_loop()
        before = loop.time()  # CPython's loop clock is time.monotonic
        (job,) = submit(made, 1)
        await job.done()
        assert job.batch
        assert before <= job.batch.started <= job.batch.finished <= loop.time()


_act = st.one_of(
    st.tuples(st.just("submit"), st.integers(1, 6)),
    st.tuples(st.just("leave"), st.integers(0, 20)),
    st.tuples(st.just("turn"), st.just(0)),
    st.tuples(st.just("gate"), st.integers(0, 1)),
)


@settings(max_examples=60, deadline=None)
@given(acts=st.lists(_act, max_size=30), threads=st.integers(1, 3), faults=st.sets(st.integers(0, 20)))
def test_whatever_happens_everybody_gets_an_outcome(
    acts: list[tuple[str, int]], threads: int, faults: set[int]
) -> None:
    """Whoever comes, leaves or fails in whatever order: every caller gets an outcome, no row runs twice, none split."""
    asyncio.run(_story(acts, threads, faults))


async def _story(acts: list[tuple[str, int]], threads: int, faults: set[int]) -> None:
    model = Model(open_=False)
    model.fails = lambda batch: int(batch[0].name) in faults
    jobs: list[Job] = []
    gone: set[Job] = set()

    def sometimes_slow(batch: Batch[Job, str]) -> Awaitable[None] | None:
        commit(batch)
        return asyncio.sleep(0) if int(batch.jobs[-1].name) in faults else None

    async with batcher(model, sometimes_slow, threads=threads) as made:
        for act, number in acts:
            match act:
                case "submit":
                    jobs.append(Job(number, str(len(jobs))))
                    made.submit(jobs[-1])
                case "leave" if number < len(jobs) and jobs[number].future.cancel():
                    gone.add(jobs[number])
                case "gate":
                    model.gate.set() if number else model.gate.clear()
                case _:
                    await asyncio.sleep(0)
            run = {job for batch in list(model.batches) for job in batch}
            assert made.queued_rows <= sum(job.size for job in jobs if job not in run)
            assert made.queued_rows >= 0
    assert made.queued_rows == 0
    assert all(job.future.done() for job in jobs)
    assert {job for job in jobs if job.future.cancelled()} == gone
    ran = [job for batch in model.batches for job in batch]
    assert len(ran) == len(set(ran))
    assert set(jobs) - gone <= set(ran)
    assert all(len(batch) == 1 or sum(job.size for job in batch) <= 4 for batch in model.batches)
    for job in set(jobs) - gone:
        assert job.batch
        assert (job.future.exception() is not None) == (int(job.batch.jobs[0].name) in faults)


async def test_quiet_is_when_the_last_caller_has_an_answer() -> None:
    """Who waits for quiet waits for what is queued, what runs, and what is being synced."""
    disk = Disk()
    model = Model(open_=False)
    async with batcher(model, disk.commit, max_rows=1) as made:
        await made.quiet()  # at once: there is nothing
        submit(made, 1, 1)
        waiting = asyncio.create_task(made.quiet())
        await model.runs()
        model.gate.set()
        await disk.asked(times=2)
        assert not waiting.done()
        for sync in disk.syncs:
            sync.set_result(None)
        await asyncio.wait_for(waiting, _PATIENCE)
        assert made.stalled() == 0


async def test_two_share_a_pool() -> None:
    """Batches of several models run in one pool of threads, in their turn; the end of one leaves it to the others."""
    pool = ThreadPoolExecutor(1)
    first_model, second_model = Model(open_=False), Model()
    first: Batcher[Job, str] = Batcher(first_model.run, commit, max_rows=1, threads=1, pool=pool)
    second: Batcher[Job, str] = Batcher(second_model.run, commit, max_rows=1, threads=1, pool=pool)
    (ahead,) = submit(first, 1)
    await first_model.runs()
    (behind,) = submit(second, 1)
    await asyncio.sleep(0.01)
    assert second_model.batches == []  # the only thread is taken
    first_model.gate.set()
    await asyncio.gather(ahead.done(), behind.done())
    assert await first.close(_PATIENCE) == []
    (after,) = submit(second, 1)
    await after.done()
    assert await second.close(_PATIENCE) == []
    pool.shutdown()
