"""Threads that run what they are given, for work that tells its outcome itself.

An executor of `concurrent.futures` makes a future, a condition and two locks for each task; to a lone row of a small
model that is a fifth of all that it costs.
"""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from predictor.core import thread_pools

if TYPE_CHECKING:
    from collections.abc import Callable

    _Task = tuple[Callable[[Any], object], Any]

_logger = logging.getLogger("predictor")


class WorkerThread(threading.Thread):
    """One of the threads; the process may end without it, as it may have to where a model hangs."""

    def __init__(self, tasks: SimpleQueue[_Task | None], name: str) -> None:
        """Take where tasks come from."""
        super().__init__(name=name, daemon=True)
        self._tasks = tasks

    def run(self) -> None:
        """Run tasks until there are to be none any more."""
        while task := self._tasks.get():
            work, given = task
            try:
                work(given)
            except Exception:
                _logger.exception("a task of thread %s failed", self.name)
            del task, work, given  # what it leads to must not live on until the next one comes


class WorkerThreads:
    """A fixed number of threads that take tasks in the order in which they come."""

    def __init__(self, count: int, name: str) -> None:
        """Start all threads now, so that no later task needs one to be started; raises OSError."""
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._closed = False
        self._threads: list[WorkerThread] = []
        try:
            with thread_pools.needed():
                for number in range(count):
                    thread = WorkerThread(self._tasks, f"{name}_{number}")
                    thread.start()
                    self._threads.append(thread)
        except OSError:
            self.shutdown()
            raise

    def submit(self, work: Callable[[Any], object], given: Any, /) -> None:  # noqa: ANN401 - whatever the work takes
        """Have `work(given)` run; raises RuntimeError after `shutdown`."""
        if self._closed:
            msg = "the threads are ending"
            raise RuntimeError(msg)
        self._tasks.put((work, given))

    def shutdown(self) -> None:
        """Let each thread end once it has run what it runs; what still waits is dropped. Waits for none of them."""
        self._closed = True
        try:
            while True:
                self._tasks.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._tasks.put(None)
