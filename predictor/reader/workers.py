"""Work on the pieces of a log in several processes, in their order: most of a reader's time is one piece by itself.

A large log is read by as many processes as there are cores; a small one, and on a single core, by this one alone.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
from collections import deque
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from predictor.core import cpu_quota
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from predictor.reader.sources.piece import Piece

ALONE = 24 << 20
"""Bytes that this process reads before it starts others: they take a third of a second to begin."""
_MOST = 16
"""Processes: more than this one can hand pieces to."""
_AHEAD = 2
"""Pieces that a worker has, so that it need not wait for the next one; but one if its bytes are sent: who sends must
not wait for a worker that waits for its result to be taken."""
_T = TypeVar("_T")


class _Failed(NamedTuple):
    """What went wrong in a worker."""

    error: Exception


def in_order(function: Callable[[Piece], _T], pieces: Iterable[Piece], *, alone: int | None = None) -> Iterator[_T]:
    """Yield what a function makes of each piece, in the order of the pieces.

    `function` and what it returns can be pickled. An exception of it is raised here as if it had been called here; a
    process that is killed is a SourceError. `alone` is for ALONE: 0 if so much is known to come.
    """
    left = ALONE if alone is None else alone
    todo = iter(pieces)
    processes = min(cpu_quota.usable(), _MOST)
    for piece in todo:
        yield function(piece)
        left -= piece.size or len(piece.data)
        if left < 0 and processes > 1:
            break
    else:
        return
    with _workers(function, processes) as workers:
        yield from _handed_out(todo, workers)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Do something without the collector of cycles: it would visit all records of a piece, which have none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Worker:
    """One process and the way to it."""

    def __init__(self, function: Callable[[Piece], Any]) -> None:
        """Start it."""
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks, of pyarrow and of bars
        self._way, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()

    def hand(self, piece: Piece) -> None:
        """Give it a piece."""
        try:
            self._way.send(piece)
            if piece.file >= 0:
                _send_file(self._way, piece.file)
        except OSError as error:
            raise self._ended() from error

    def result(self) -> Any:  # noqa: ANN401 - of any kind
        """Wait for what it makes of its next piece."""
        try:
            made = self._way.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(made, _Failed):
            raise made.error
        return made

    def end(self) -> None:
        """End it, whatever it does."""
        self._way.close()
        self.process.kill()
        self.process.join()

    def _ended(self) -> SourceError:
        self.process.join(1)
        code = self.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        return SourceError("a process that reads", f"it was {how}; nothing of what it had to read is known")


@contextmanager
def _workers(function: Callable[[Piece], Any], count: int) -> Iterator[list[_Worker]]:
    started: list[_Worker] = []
    # Ctrl-C comes to all of them, and this one ends the others.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            for _ in range(count):
                started.append(_Worker(function))  # noqa: PERF401 - those that began are ended if one cannot
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield started
    finally:
        for worker in started:
            worker.end()


def _handed_out(pieces: Iterator[Piece], workers: list[_Worker]) -> Iterator[Any]:
    """Yield the results in order; memory is bounded, since a worker has few pieces at a time."""
    busy, turn = deque[_Worker](), cycle(workers)
    for piece in pieces:
        worker, made = next(turn), []
        while busy.count(worker) >= (_AHEAD if piece.file >= 0 else 1):
            made.append(busy.popleft().result())
        worker.hand(piece)
        busy.append(worker)
        yield from made
    while busy:
        yield busy.popleft().result()


def _work(way: Connection, function: Callable[[Piece], Any]) -> None:
    """Take pieces until nobody is there any more: the whole life of a worker."""
    gc.disable()
    while True:
        try:
            piece: Piece = way.recv()
            if piece.file >= 0:
                piece = piece._replace(file=_take_file(way))
        except (EOFError, OSError):
            return
        made = _made(function, piece)
        if piece.file >= 0:
            os.close(piece.file)
        try:
            way.send_bytes(made)
        except OSError:
            return


def _made(function: Callable[[Piece], Any], piece: Piece) -> Any:  # noqa: ANN401 - bytes, or a view of them
    """Return what a function makes of a piece, or its exception, as bytes."""
    try:
        return ForkingPickler.dumps(function(piece))
    except Exception as error:  # noqa: BLE001 - raised again by who waits for it
        try:
            return ForkingPickler.dumps(_Failed(error))
        except Exception:  # noqa: BLE001 - it holds what cannot be sent
            return ForkingPickler.dumps(_Failed(RuntimeError(repr(error))))


def _send_file(way: Connection, file: int) -> None:
    with socket.socket(fileno=os.dup(way.fileno())) as here:
        socket.send_fds(here, [b"\0"], [file])


def _take_file(way: Connection) -> int:
    with socket.socket(fileno=os.dup(way.fileno())) as here:
        _, files, _, _ = socket.recv_fds(here, 1, 1)
    if not files:
        raise EOFError
    return files[0]
