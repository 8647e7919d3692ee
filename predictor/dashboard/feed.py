"""The last predictions, kept in memory and streamed to open pages.

What a batch pays is `observe`: an append to a bounded queue, and a count by duration. All else is done by a task
that runs while anybody listens, four times a second, and sends at most `NEWS` predictions each time, whatever the
rate. It encodes them once for all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice, repeat
from typing import TYPE_CHECKING, cast

import msgspec

from predictor.core.result import ManyPredictions
from predictor.dashboard.listener import ChunkQueue
from predictor.dashboard.recent import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from predictor.core.result import Prediction
    from predictor.dashboard.state import State
    from predictor.dashboard.view import Shown, View

    _Row = tuple[ManyPredictions, int]
    """A row of a request that has many, by its index."""

KEPT = 300
"""Predictions in memory, and in a page that was just opened: enough for plots, 0.2 MB of JSON."""
NEWS = 50
"""Predictions sent at once, a quarter of a millisecond of the loop; of more, the newest."""
MOST_LISTENERS = 16
"""Open pages; each may hold a few hundred kilobytes of what it has not read."""
_KEPT_VALUES = 100_000
"""Features in memory over all predictions, 3 MB: a row of a wide model may hold a hundred thousand."""
_SENT_LABELS = 5_000
"""Probabilities looked at at once, for a model that tells a thousand classes apart."""
_FEWEST = 5
_TICK = 0.25
"""Seconds between two looks; a person does not read faster."""
_STATE_TICKS = 4
"""Ticks between two looks at the state of the server, which is sent when it has changed."""
_BEATS = 60
"""Ticks of silence after which a comment is sent, so that no proxy takes the connection for dead."""
_HEARTBEAT = b":\n\n"

_logger = logging.getLogger("predictor.page")


class _News(msgspec.Struct):
    observed: int
    """Predictions since the start of this server, those that were never sent included."""
    predictions: list[Shown]
    """The oldest first."""
    page: str
    """Whose predictions these are: a page of another model, or of the version before, must be loaded again."""


_encode = msgspec.json.Encoder().encode


class Feed:
    """The latest predictions, and the listeners."""

    def __init__(
        self,
        view: View,
        features: int,
        labels: int,
        page: str = "",
        state: Callable[[], State | None] | None = None,
    ) -> None:
        """Take how predictions are shown, how many features and probabilities each has, and the page's own name.

        `state` reads the state of the server.
        """
        self._page = page
        self._state = state
        self._latencies = Latencies()
        self.observed = 0
        self.closed = False
        self._view = view
        self._kept = max(_FEWEST, min(KEPT, _KEPT_VALUES // features))
        self._latest: deque[Prediction | _Row] = deque(maxlen=self._kept)
        self._most = max(_FEWEST, min(NEWS, _SENT_LABELS // labels))
        self._listeners: set[ChunkQueue] = set()
        self._teller: asyncio.Task[None] | None = None

    def observe(self, records: Sequence[Prediction | ManyPredictions]) -> None:
        """Keep predictions that have been logged; many rows of a request are parted only for who looks."""
        if ManyPredictions not in map(type, records):
            self._keep(cast("Sequence[Prediction]", records))
            return
        for record in records:
            if not isinstance(record, ManyPredictions):
                self._keep([record])
                continue
            rows = len(record.features)
            if rows > self._kept:  # what is kept would keep all of them
                self._latest.extend(record.all_rows(rows - self._kept))
            else:
                self._latest.extend(zip(repeat(record), range(rows), strict=False))
            self.observed += rows
            self._latencies.count(record.total, rows)

    def _keep(self, predictions: Sequence[Prediction]) -> None:
        self._latest.extend(predictions)
        self.observed += len(predictions)
        self._latencies.observe(predictions)

    @property
    def full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._listeners) >= MOST_LISTENERS

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def join(self, transport: asyncio.WriteTransport) -> ChunkQueue:
        """Return a new listener, who hears what comes from now on; it must `leave`."""
        listener = ChunkQueue(transport)
        self._listeners.add(listener)
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell())
        return listener

    def leave(self, listener: ChunkQueue) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)

    def history(self) -> Iterator[bytes]:
        """Yield what is kept as events, in pieces between which the loop may do something else."""
        last = self.observed
        after = last - len(self._latest)
        yield self._event("snapshot", after)
        while (after := after + self._most) < last:
            yield self._event("news", after)

    def state(self) -> bytes:
        """Return the state of the server as an event, nothing where none is shown."""
        state = self._state() if self._state else None
        if state is None:
            return b""
        state.latency = self._latencies.percentiles()
        return b"event: state\ndata: %b\n\n" % _encode(state)

    def close(self) -> None:
        """End all listeners at once: they must not hold up a shutdown."""
        self.closed = True
        for listener in self._listeners:
            listener.end()
        if self._teller:
            self._teller.cancel()

    async def _tell(self) -> None:
        """Send what is new until nobody listens."""
        told, silent, ticks, shown = self.observed, 0, 0, b""
        try:
            while self._listeners:
                await asyncio.sleep(_TICK)
                silent += 1
                ticks += 1
                if ticks % _STATE_TICKS == 0 and (state := self.state()) != shown:
                    self._send(state)
                    shown = state
                if self.observed > told:
                    self._send(self._event("news", max(told, self.observed - self._most)))
                    told, silent = self.observed, 0
                else:
                    self._send(_HEARTBEAT if silent % _BEATS == 0 else b"")
        except Exception:  # a fault of the page is no reason to leave its listeners waiting
            _logger.exception("the page's stream failed")
            for listener in self._listeners:
                listener.end()

    def _send(self, chunk: bytes) -> None:
        for listener in [*self._listeners]:
            if listener.gone or not listener.offer(chunk):
                self.leave(listener)
                listener.end()

    def _event(self, name: str, after: int) -> bytes:
        """Return a server-sent event with the next predictions after that number, as far as they are kept."""
        shown = [
            self._view.of(number, kept[0].row(kept[1]) if isinstance(kept, tuple) else kept)
            for number, kept in self._since(after)
        ]
        return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(_News(self.observed, shown, self._page)))

    def _since(self, after: int) -> Iterable[tuple[int, Prediction | _Row]]:
        oldest = self.observed - len(self._latest) + 1
        start = max(0, after + 1 - oldest)
        return islice(enumerate(self._latest, oldest), start, start + self._most)
