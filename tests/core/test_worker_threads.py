"""Threads that run what they are given: all at once, in order, whatever a task does, until they have to end."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from predictor.core.worker_threads import WorkerThread, WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 20


def _threads() -> list[WorkerThread]:
    return [each for each in threading.enumerate() if isinstance(each, WorkerThread) and each.name.startswith("try_")]


def _ended(threads: list[WorkerThread]) -> bool:
    for each in threads:
        each.join(_PATIENCE)
    return not any(each.is_alive() for each in threads)


def test_all_threads_run_before_the_first_task() -> None:
    """As many tasks as there are threads run at the same time, in threads that were there before."""
    threads = WorkerThreads(3, "try")
    there = _threads()
    assert sorted(each.name for each in there) == ["try_0", "try_1", "try_2"]
    together = threading.Barrier(4)
    for _ in range(3):
        threads.submit(together.wait, _PATIENCE)
    together.wait(_PATIENCE)
    assert _threads() == there
    threads.shutdown()
    assert _ended(there)


def test_tasks_run_in_their_order_and_a_failure_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """A task that raises is reported, and the next one runs in the same thread."""
    threads = WorkerThreads(1, "try")
    there = _threads()
    ran: list[object] = []
    over = threading.Event()

    def work(number: int) -> None:
        ran.append(number)
        if number == 1:
            raise ValueError

    with caplog.at_level(logging.ERROR, "predictor"):
        for number in range(4):
            threads.submit(work, number)
        threads.submit(lambda event: event.set(), over)
        assert over.wait(_PATIENCE)
    assert ran == [0, 1, 2, 3]
    assert "a task of thread try_0 failed" in caplog.text
    threads.shutdown()
    assert _ended(there)


def test_what_waits_at_the_end_is_dropped() -> None:
    """A thread ends behind the task that it runs; what waits never runs, and nothing more is taken."""
    threads = WorkerThreads(1, "try")
    there = _threads()
    begun, gate = threading.Event(), threading.Event()
    ran: list[object] = []

    def wait(_: object) -> None:
        begun.set()
        gate.wait(_PATIENCE)

    threads.submit(wait, None)
    threads.submit(ran.append, "late")
    assert begun.wait(_PATIENCE)
    threads.shutdown()
    with pytest.raises(RuntimeError, match="threads are ending"):
        threads.submit(ran.append, "later")
    gate.set()
    assert _ended(there)
    assert ran == []


def test_no_thread_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has not as many threads the start fails with a sentence, and those that ran end."""
    start: Callable[[threading.Thread], None] = threading.Thread.start
    started: list[WorkerThread] = []

    def two(thread: WorkerThread) -> None:
        if len(started) == 2:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        started.append(thread)
        start(thread)

    monkeypatch.setattr(WorkerThread, "start", two)
    with pytest.raises(OSError, match=r"no thread can be started.*ulimit -u.*pids\.max"):
        WorkerThreads(3, "try")
    assert _ended(started)


def test_a_thread_that_waits_holds_nothing() -> None:
    """What a task was given goes with its end: a batch's rows do not live on until the next batch comes."""

    class Given:
        pass

    threads = WorkerThreads(1, "try")
    there = _threads()
    given = Given()
    gone = threading.Event()
    weakref.finalize(given, gone.set)
    threads.submit(lambda _: None, given)
    del given
    for _ in range(100):
        gc.collect()
        if gone.wait(0.2):
            break
    assert gone.is_set()
    threads.shutdown()
    assert _ended(there)
