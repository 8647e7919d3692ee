"""A lone row on the event loop: when it runs there, and that nothing else about it is another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from predictor.serving.batcher import Batch, Batcher
from tests.serving.test_batcher import Job, Model, commit

if TYPE_CHECKING:
    from collections.abc import Awaitable

_PATIENCE = 20.0
_Commit = Callable[[Batch[Job, str]], "Awaitable[None] | None"]


class _Where(Model):
    """A model that remembers in which thread each batch ran."""

    def __init__(self, *, open_: bool = True) -> None:
        super().__init__(open_=open_)
        self.threads: list[threading.Thread] = []

    def run(self, jobs: list[Job]) -> str:
        """Note the thread."""
        self.threads.append(threading.current_thread())
        return super().run(jobs)

    @property
    def here(self) -> list[bool]:
        """Whether each batch ran on the loop."""
        return [each is threading.main_thread() for each in self.threads]


def _inline(model: Model, commit: _Commit = commit, **more: Any) -> Batcher[Job, str]:  # noqa: ANN401 - as the batcher takes it
    return Batcher(model.run, commit, max_rows=more.pop("max_rows", 4), threads=2, inline=True, **more)


async def test_a_lone_row_runs_on_the_loop() -> None:
    """One row that nothing waits beside needs no thread, and its caller has its outcome."""
    model = _Where()
    made = _inline(model)
    for _ in range(3):
        job = Job()
        made.submit(job)
        await job.done()
        assert job.batch
        assert job.batch.finished >= job.batch.started > 0
    assert model.here == [True] * 3
    assert (made.totals.batches, made.totals.rows, made.queued_rows, made.stalled()) == (3, 3, 0, 0.0)
    assert await made.close(_PATIENCE) == []


async def test_company_runs_in_a_thread() -> None:
    """Rows that came in one turn run together in a thread, and so does a request of several rows."""
    model = _Where()
    made = _inline(model)
    together, several = [Job(), Job()], Job(2)
    for job in together:
        made.submit(job)
    await asyncio.gather(*(job.done() for job in together))
    made.submit(several)
    await several.done()
    assert model.batches == [together, [several]]
    assert model.here == [False, False]
    assert await made.close(_PATIENCE) == []


async def test_a_row_behind_a_batch_does_not_overtake_it() -> None:
    """While a batch runs in a thread a lone row takes another thread: the loop runs none beside it."""
    model = _Where(open_=False)
    made = _inline(model)
    ahead, behind = Job(2), Job()
    made.submit(ahead)
    await model.runs()
    made.submit(behind)
    await model.runs()
    assert model.here == [False, False]
    model.gate.set()
    await asyncio.gather(ahead.done(), behind.done())
    assert await made.close(_PATIENCE) == []


async def test_who_asks_again_at_once_does_not_hold_the_loop() -> None:
    """A caller whose next request is there when it is answered has it run in a turn of its own."""
    model = _Where()
    made = _inline(model)
    left, turns = 50, 0
    over = asyncio.Event()

    def again(_: object = None) -> None:
        nonlocal left
        left -= 1
        if left:
            made.submit(_Chained(again))
        else:
            over.set()

    def count() -> None:
        nonlocal turns
        turns += 1
        if not over.is_set():
            asyncio.get_running_loop().call_soon(count)

    count()
    made.submit(_Chained(again))
    await asyncio.wait_for(over.wait(), _PATIENCE)
    assert all(model.here)
    assert turns >= 50  # something else had its turn between any two
    assert await made.close(_PATIENCE) == []


class _Chained(Job):
    """A job whose outcome is a call, at once, as that of a connection in the fast lane is."""

    def __init__(self, settled: Callable[[object], None]) -> None:
        super().__init__()
        self.future = _Call(settled)  # type: ignore[assignment]


class _Call:
    def __init__(self, settled: Callable[[object], None]) -> None:
        self._settled, self._done = settled, False

    def done(self) -> bool:
        """Tell whether it is settled."""
        return self._done

    def set_result(self, result: None) -> None:
        """Settle it."""
        self._done = True
        self._settled(result)

    def set_exception(self, error: BaseException) -> None:
        """Settle it."""
        self._done = True
        self._settled(error)


async def test_a_failure_is_the_rows_own() -> None:
    """A model that raises fails its row, the next one runs, and the loop goes on."""
    model = _Where()
    model.fails = lambda _: len(model.batches) == 1
    made = _inline(model)
    bad, good = Job(), Job()
    made.submit(bad)
    with pytest.raises(ValueError, match="does not like this"):
        await bad.done()
    made.submit(good)
    await good.done()
    assert model.here == [True, True]
    assert await made.close(_PATIENCE) == []


async def test_a_row_that_nobody_waits_for_is_not_run() -> None:
    """A request whose deadline passed while it was queued takes no time of the loop."""
    model = _Where()
    made = _inline(model)
    job = Job()
    made.submit(job)
    job.future.cancel()
    await asyncio.sleep(0)
    await made.quiet()
    assert model.batches == []
    assert await made.close(_PATIENCE) == []


async def test_a_commit_that_waits_for_the_disk_holds_nobody_up() -> None:
    """With fsync `batch` the caller waits for the disk, and the next lone row runs meanwhile."""
    syncs: list[asyncio.Future[None]] = []

    async def synced(future: asyncio.Future[None]) -> None:
        await future

    def waits(batch: Batch[Job, str]) -> Awaitable[None]:
        commit(batch)
        syncs.append(asyncio.get_running_loop().create_future())
        return synced(syncs[-1])

    model = _Where()
    made = _inline(model, waits)
    first, second = Job(), Job()
    made.submit(first)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    made.submit(second)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert model.here == [True, True]
    assert not first.future.done()
    for each in syncs:
        each.set_result(None)
    await asyncio.gather(first.done(), second.done())
    assert await made.close(_PATIENCE) == []
