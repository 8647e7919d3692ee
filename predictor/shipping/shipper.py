"""From the segments to the Collector: every complete line is sent until the sink has accepted or refused it.

The shipper knows nothing of the writer, it only reads what `segments.py` shows it.
Nothing leaves the files before the sink has answered; after a crash what was under way is sent again, byte for byte.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from random import random as _random
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.shipping.backlog import BODY, Backlog, body
from predictor.shipping.delivery import Accepted, Delivery, Refused, Retry
from predictor.shipping.pace import Backoff, Window
from predictor.shipping.report import Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from predictor.outbox.segments import Signal, StreamFiles
    from predictor.shipping.backlog import Piece
    from predictor.shipping.delivery import Endpoint, Outcome
    from predictor.shipping.rejected import Reject
    from predictor.shipping.report import Counters

_LINGER = 0.2  # s without anything new; a body gathers meanwhile, and a record is at the sink within half a second
_STORE = 1.0  # s between two cursors of a stream: storing one costs two fsyncs
_LAST_WAIT = 1.0  # s, longest backoff while draining: there is no later to wait for
_STRIKES = 5  # answers 500 to a line alone before it is suspected
_SILENCE = 3.0  # s without an answer after which that is a problem, though the request is still open


class Shipper:
    """Ships one signal of any number of streams, round robin, one request in flight."""

    def __init__(
        self,
        signal: Signal,
        endpoint: Endpoint,
        *,
        counters: Counters,
        reject: Reject,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random,
        silence: float = _SILENCE,
    ) -> None:
        """Ship nothing before streams are added and `run` or `drain` is awaited."""
        self._signal: Signal = signal
        self._delivery = Delivery(endpoint)
        self._report = Report(endpoint.shown, counters, clock)
        self._reject = reject
        self._clock = clock
        self._sleep = sleep
        self._silence = silence
        self._backlogs: dict[StreamFiles, Backlog] = {}
        self._window = Window()
        self._backoff = Backoff(random)

    def add(self, files: StreamFiles) -> None:
        """Ship this stream too, from where its cursor stands."""
        if files not in self._backlogs:
            self._backlogs[files] = Backlog(self._signal, files, self._clock)

    def remove(self, files: StreamFiles) -> None:
        """Forget a stream, before its directory goes."""
        self._backlogs.pop(files, None)

    def drained(self, files: StreamFiles) -> bool:
        """Tell whether all complete lines of an added stream were accepted or refused; raises OSError."""
        return self._backlogs[files].drained()

    def backlog_bytes(self) -> int:
        """Return how many bytes of all added streams are neither accepted nor refused."""
        return sum(backlog.size() for backlog in self._backlogs.values())

    async def run(self) -> None:
        """Ship for ever, until cancelled."""
        try:
            while True:
                await self._round()
                if not any(backlog.behind for backlog in self._backlogs.values()):
                    await self._sleep(_LINGER)
        finally:
            await self._store_cursors(0.0)

    async def drain(self, seconds: float) -> int:
        """Ship at once until nothing is left or the time is over; return the bytes left.

        The last act: `run` has been cancelled, and whoever writes has finished.
        """
        self._backoff.reset()
        self._backoff.longest = _LAST_WAIT
        try:
            async with asyncio.timeout(seconds):
                while await self._round():
                    pass
        except TimeoutError:
            pass  # what is left is returned
        finally:
            await self._store_cursors(0.0)
        return self.backlog_bytes()

    async def close(self) -> None:
        """Close the connection to the sink."""
        await self._delivery.close()

    async def _round(self) -> bool:
        """Settle one batch of every stream; tell whether there was anything."""
        found = False
        for backlog in list(self._backlogs.values()):
            if not backlog.pending:  # otherwise what was under way when `run` was cancelled comes first
                try:
                    backlog.take(await asyncio.to_thread(backlog.read))
                except OSError as error:
                    backlog.behind = False
                    self._problem(f"cannot read {backlog.files.path}: {error.strerror}")
            found = found or bool(backlog.pending)
            await self._store_cursors(_STORE)
            while backlog.pending:
                await self._step(backlog)
                await self._store_cursors(_STORE)
        return found

    async def _step(self, backlog: Backlog) -> None:
        """Send what the window allows and act on the answer."""
        pieces = backlog.head(self._window.pieces, min(BODY, self._window.bytes))
        if len(pieces[0].text) > self._window.bytes and backlog.halve():
            return
        match await self._post(body(self._signal, pieces)):
            case Accepted():
                self._answered()
                self._report.accepted(sum(otlp.tally(self._signal, piece.text) for piece in pieces))
                self._window.accepted(len(pieces))
                backlog.settle(len(pieces))
            case Refused() as answer:
                await self._refused(backlog, pieces, answer)
            case Retry() as answer:
                await self._retry(backlog, pieces, answer)

    async def _post(self, data: bytes) -> Outcome:
        """Send one request; a sink that stays silent is a problem long before the request's own time is over."""
        reason = f"no answer in {self._silence:g} s, still waiting for it"
        timer = asyncio.get_running_loop().call_later(self._silence, self._problem, reason)
        try:
            return await self._delivery.post(data)
        finally:
            timer.cancel()

    async def _refused(self, backlog: Backlog, pieces: Sequence[Piece], answer: Refused) -> None:
        """Halve down to the single item; keep that one and go on."""
        self._window.refused(len(pieces), sum(len(piece.text) for piece in pieces), answer.status)
        if len(pieces) > 1 or backlog.halve(condemned=answer.status == HTTPStatus.INTERNAL_SERVER_ERROR):
            self._answered()
            return
        name = backlog.name(pieces[0])
        try:
            kept = await asyncio.to_thread(self._reject, backlog.files, name, pieces[0].text)
        except OSError as error:  # nothing may be lost: it is sent and refused again until the disk takes it
            await self._wait(f"cannot keep the refused {name}: {error.strerror}")
            return
        self._answered()
        self._report.refused(name, backlog.files.stream_id, answer, kept=kept)
        self._window.passed_over()
        backlog.settle(1)

    async def _retry(self, backlog: Backlog, pieces: Sequence[Piece], answer: Retry) -> None:
        self._window.failed()
        self._report.retried()
        alone = len(pieces) == 1 and answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
        if alone and await self._at_fault(backlog, pieces[0]):
            await self._refused(backlog, pieces, Refused(500, "again and again, while a neighbour was accepted"))
        else:
            await self._wait(answer.reason, answer.after)

    async def _at_fault(self, backlog: Backlog, piece: Piece) -> bool:
        """Tell whether a 500 is this piece's own fault: it got many, alone, and its neighbour is accepted now."""
        piece.strikes += 1
        if piece.condemned and otlp.count(self._signal, piece.text) > 1:
            return True  # parting it refuses nothing yet
        if piece.strikes < _STRIKES and not piece.condemned:
            return False
        for other in (backlog, *self._backlogs.values()):
            texts = await asyncio.to_thread(other.others, piece)
            if texts:  # another one each time, for the next may be as bad; it is sent again in its turn, a copy
                return await self._post(texts[piece.strikes % len(texts)]) == Accepted()
        return False

    async def _wait(self, reason: str, at_least: float = 0.0) -> None:
        """Say what is wrong and wait, longer each time, with full jitter."""
        self._problem(reason)
        await self._sleep(self._backoff.seconds(at_least))

    def _problem(self, reason: str) -> None:
        self._report.problem(reason, self.backlog_bytes())

    def _answered(self) -> None:
        self._backoff.reset()
        self._report.works()

    async def _store_cursors(self, interval: float) -> None:
        """Store the cursors that moved and are older than `interval`, at once where a segment was finished."""
        for backlog in list(self._backlogs.values()):
            if backlog.due(interval):
                try:
                    await asyncio.to_thread(backlog.store)
                except OSError as error:  # a crash now would send again what was accepted: copies
                    self._problem(f"cannot store {backlog.files.path}: {error.strerror}")
