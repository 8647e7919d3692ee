"""The shipper: sends every complete line of the segments until the sink has accepted or refused it.

The shipper knows nothing of the writer, it only reads what `layout.py` shows it.
Nothing leaves the files before the sink has answered; after a crash what was under way is sent again, byte for byte.
A failure of the way holds all streams up, a refusal that is not believed yet (`refusals.py`) its own stream alone.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from random import random as _random
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.shipping import refusals
from predictor.shipping.backlog import BODY, Backlog, body
from predictor.shipping.flow_control import Backoff, SendWindow
from predictor.shipping.otlp_http import Accepted, Delivery, Refused, Retry
from predictor.shipping.refusals import Unproved
from predictor.shipping.rejected import RefusalRecord
from predictor.shipping.status import ShippingReporter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from predictor.config.otel_env import Endpoint
    from predictor.outbox.layout import Signal, StreamFiles
    from predictor.shipping.backlog import Durable, Piece
    from predictor.shipping.otlp_http import PostOutcome
    from predictor.shipping.rejected import Reject
    from predictor.shipping.status import Counters

_LINGER = 0.2  # s without anything new; a body gathers meanwhile, and a record is at the sink within half a second
_STORE = 1.0  # s between two cursors of a stream: storing one costs two fsyncs
_LAST_WAIT = 1.0  # s, longest backoff while draining: there is no later to wait for
_STRIKES = 5  # answers 500 to a line alone before it is suspected
_SILENCE = 3.0  # s without an answer after which that is a problem, though the request is still open
_PROBES = 3  # items that are tried as the proof of a refusal before it waits: the next may be as bad


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
        """Ship nothing before streams are added and `run` or `drain` is awaited; raises OSError for certificates."""
        self._signal: Signal = signal
        self._delivery = Delivery(endpoint)
        self._report = ShippingReporter(endpoint.shown, counters, clock)
        self._shown = endpoint.shown
        self._reject = reject
        self._clock = clock
        self._sleep = sleep
        self._silence = silence
        self._backlogs: dict[StreamFiles, Backlog] = {}
        self._durable: dict[StreamFiles, Durable] = {}  # of streams that are being written
        self._window = SendWindow()
        self._random = random
        self._backoff = Backoff(random)

    def add(self, files: StreamFiles) -> None:
        """Ship this stream too, from where its cursor stands."""
        if files not in self._backlogs:
            self._backlogs[files] = Backlog(self._signal, files, self._clock)
            self._backlogs[files].durable = self._durable.get(files)

    def hold_back(self, files: StreamFiles, durable: Durable) -> None:
        """Ship of this stream, which somebody writes, only what lies before the place that `durable` returns."""
        self._durable[files] = durable
        if backlog := self._backlogs.get(files):
            backlog.durable = durable

    def reached(self, files: StreamFiles) -> int:
        """Return the highest stream number that was read of a stream, to be sent from memory; 0 for none."""
        backlog = self._backlogs.get(files)
        return backlog.reached() if backlog else 0

    def remove(self, files: StreamFiles) -> None:
        """Forget a stream, before its directory goes."""
        self._backlogs.pop(files, None)
        self._report.goes_on(files.stream_id)

    def accept_refusals(self, files: StreamFiles) -> bool:
        """Believe each refusal of what the stream holds now, as its operator wants; False if none waits.

        Raises OSError.
        """
        backlog = self._backlogs.get(files)
        return backlog is not None and backlog.refusals.accept(backlog.end())

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
                now = self._clock()
                if not any(each.behind and not each.refusals.waits(now) for each in self._backlogs.values()):
                    await self._sleep(_LINGER)
        finally:
            await self._store_cursors(0.0)

    async def drain(self, seconds: float) -> int:
        """Ship at once until nothing is left or the time is over; return the bytes left.

        The last act: `run` has been cancelled, and whoever writes has finished.
        """
        self._backoff.reset()
        self._backoff.longest = _LAST_WAIT
        for backlog in self._backlogs.values():
            backlog.refusals.hurry(_LAST_WAIT)
        try:
            async with asyncio.timeout(seconds):
                while await self._round() or await self._linger():
                    pass
        except TimeoutError:
            pass  # what is left is returned
        finally:
            await self._store_cursors(0.0)
        return self.backlog_bytes()

    async def _linger(self) -> bool:
        """Sleep until the first stream that waits is tried again; False if none waits."""
        now = self._clock()
        waiting = [each.refusals.retry_at for each in self._backlogs.values() if each.refusals.waits(now)]
        if waiting:
            await self._sleep(min(waiting) - now)
        return bool(waiting)

    async def close(self) -> None:
        """Close the connection to the sink."""
        await self._delivery.close()

    async def _round(self) -> bool:
        """Settle one batch of every stream that does not wait; tell whether there was anything."""
        found = False
        for backlog in list(self._backlogs.values()):
            if backlog.refusals.waits(self._clock()):
                continue
            if not backlog.pending:  # otherwise what was under way when `run` was cancelled comes first
                try:
                    backlog.take(await asyncio.to_thread(backlog.read))
                except OSError as error:
                    backlog.behind = False
                    self._problem(f"cannot read {backlog.files.path}: {error.strerror}")
            found = found or bool(backlog.pending)
            await self._store_cursors(_STORE)
            while backlog.pending and not backlog.refusals.waits(self._clock()):
                await self._step(backlog)
                await self._store_cursors(_STORE)
        return found

    async def _step(self, backlog: Backlog) -> None:
        """Send what the window allows and act on the answer; a refused item that waits is sent alone."""
        most = 1 if backlog.refusals.unproved else self._window.pieces
        pieces = backlog.head(most, min(BODY, self._window.bytes))
        if len(pieces[0].text) > self._window.bytes and backlog.halve():
            return
        content = body(self._signal, pieces)
        match await self._post(content):
            case Accepted():
                items = sum(otlp.tally(self._signal, piece.text) for piece in pieces)
                self._accepted(content, backlog)
                self._report.accepted(items)
                self._window.accepted(len(pieces))
                backlog.settle(len(pieces))
                if backlog.refusals.passed(items):
                    self._report.goes_on(backlog.files.stream_id)
            case Refused() as answer:
                await self._refused(backlog, pieces, answer)
            case Retry() as answer:
                await self._retry(backlog, pieces, answer)

    async def _post(self, data: bytes) -> PostOutcome:
        """Send one request; a sink that stays silent is a problem long before the request's own time is over."""
        reason = f"no answer in {self._silence:g} s, still waiting for it"
        timer = asyncio.get_running_loop().call_later(self._silence, self._problem, reason)
        try:
            return await self._delivery.post(data)
        finally:
            timer.cancel()

    async def _refused(self, backlog: Backlog, pieces: Sequence[Piece], answer: Refused) -> None:
        """Halve down to the single item, which is kept and passed over once its refusal is believed."""
        self._window.refused(len(pieces), sum(len(piece.text) for piece in pieces), answer.status)
        if len(pieces) > 1 or backlog.halve(condemned=answer.status == HTTPStatus.INTERNAL_SERVER_ERROR):
            return
        self._window.passed_over()
        piece = pieces[0]
        event = refusals.event_of(self._signal, piece.text)
        backoff = Backoff(self._random)
        backoff.longest = self._backoff.longest
        unproved = backlog.refusals.refused(Unproved(backlog.name(piece), event, answer, backoff))
        if backlog.refusals.believes(piece.place):
            await self._set_aside(backlog, unproved)
        elif too_many := backlog.refusals.too_many:
            self._hold(backlog, refusals.reason(backlog.files.stream_id, unproved, too_many=too_many))
        elif not unproved.proved and not await self._proves(backlog, unproved):
            self._hold(backlog, refusals.reason(backlog.files.stream_id, unproved, too_many=False))

    async def _proves(self, backlog: Backlog, unproved: Unproved) -> bool:
        """Send items like the refused one; they are sent again in their turn, copies. True if one is accepted."""
        for _ in range(_PROBES):
            unproved.probes = unproved.probes or backlog.probes(unproved.event)
            try:
                item = await asyncio.to_thread(next, unproved.probes, None)
            except OSError:
                unproved.probes = None
                return False  # tried again with the refused one
            if item is None:
                return False
            if await self._post(item) == Accepted():
                unproved.proved = True
                self._accepted(item, backlog)
                return True
        return False

    async def _set_aside(self, backlog: Backlog, unproved: Unproved) -> None:
        """Keep the first item in line and pass it over; while it cannot be kept its stream waits."""
        piece, stream_id, answer = backlog.pending[0], backlog.files.stream_id, unproved.answer
        reason = RefusalRecord(answer.status, answer.words, self._shown, time.time_ns())
        said = refusals.words(answer)
        try:
            kept = await self._reject(backlog.files, unproved.name, piece.text, reason)
        except OSError as error:
            self._hold(backlog, f"cannot keep the refused {unproved.name} of stream {stream_id}: {error.strerror}")
            return
        if not kept:
            full = f"rejected/ of stream {stream_id} is full, so it waits (`predictor log resend` empties it)"
            self._hold(backlog, f"{full}; {unproved.name} is refused: {said}")
            return
        self._report.refused(unproved.name, stream_id, said)
        self._report.goes_on(stream_id)
        backlog.refusals.set_aside(piece.place)
        backlog.settle(1)

    async def _retry(self, backlog: Backlog, pieces: Sequence[Piece], answer: Retry) -> None:
        """Wait with all streams; but a line that is alone answered 500 again and again is suspected itself."""
        self._window.failed()
        if len(pieces) == 1 and answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            pieces[0].strikes += 1
            if pieces[0].strikes >= _STRIKES or pieces[0].condemned:
                await self._refused(backlog, pieces, Refused(answer.status, answer.words))
                return
        backlog.refusals.doubt()
        self._report.retried()
        await self._wait(answer.reason, answer.after)

    def _hold(self, backlog: Backlog, reason: str) -> None:
        """Say why a stream waits, and let it wait, longer each time, with full jitter."""
        self._report.retried()
        self._report.waits(backlog.files.stream_id, reason, backlog.size())
        unproved = backlog.refusals.unproved
        if unproved:
            backlog.refusals.retry_at = self._clock() + unproved.backoff.seconds(0.0)

    def _accepted(self, content: bytes, sender: Backlog) -> None:
        """Take note that the sink takes records: it answers, and refusals that wait elsewhere may be proved by it."""
        self._backoff.reset()
        self._report.works()
        for backlog in self._backlogs.values():
            if backlog is not sender:
                backlog.refusals.prove(self._signal, content)

    async def _wait(self, reason: str, at_least: float = 0.0) -> None:
        """Say what is wrong and wait, longer each time, with full jitter."""
        self._problem(reason)
        await self._sleep(self._backoff.seconds(at_least))

    def _problem(self, reason: str) -> None:
        self._report.problem(reason, self.backlog_bytes())

    async def _store_cursors(self, interval: float) -> None:
        """Store the cursors that moved and are older than `interval`, at once where a segment was finished."""
        for backlog in list(self._backlogs.values()):
            if backlog.due(interval):
                try:
                    await asyncio.to_thread(backlog.store)
                except OSError as error:  # a crash now would send again what was accepted: copies
                    self._problem(f"cannot store {backlog.files.path}: {error.strerror}")
