"""Status of a shipper: counters for whoever asks, throttled lines on stderr for whoever watches."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from predictor.core.operator_log import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """What became of one signal's items; read by status events, readiness details and metrics."""

    shipped: int = 0  # items accepted
    retried: int = 0  # requests that were in vain and are made again
    refused: int = 0  # items refused for their content, and kept
    problem: str | None = None  # why nothing, or nothing of a stream, gets through at the moment
    since: float | None = None  # Unix time at which that began
    accepted_at: float | None = None  # Unix time at which the sink last took something


class ShippingReporter:
    """Keeps the counters and says, at most once a minute each, what goes wrong, what was refused and what is well."""

    def __init__(self, url: str, counters: Counters, clock: Callable[[], float]) -> None:
        """Name the sink `url`, which must hold no secret."""
        self._url = url
        self._counters = counters
        self._throttle = Throttle(clock=clock)
        self._said = False
        self._way: str | None = None
        self._waiting: dict[str, str] = {}  # why a stream waits, by its id
        self._named: set[str] = set()  # those of them that stderr has named

    def accepted(self, items: int) -> None:
        """Count what the sink has taken."""
        self._counters.shipped += items
        self._counters.accepted_at = time.time()

    def works(self) -> None:
        """Take back the problem of the way: the sink answers."""
        if self._way is not None:
            self._way = None
            self._show()
        if self._said:
            self._said = False
            _log.info("%s answers again", self._url)

    def problem(self, reason: str, waiting: int) -> None:
        """Note why `waiting` bytes cannot leave."""
        self._way = f"{self._url}: {reason}"
        self._show()
        if self._throttle.due("problem"):
            self._said = True
            _log.warning("%s; %d bytes are kept and tried again", self._way, waiting)

    def waits(self, stream_id: str, reason: str, waiting: int) -> None:
        """Note why the `waiting` bytes of one stream cannot leave; the way answers, though perhaps not as it should."""
        self._way = None
        self._waiting[stream_id] = f"{self._url}: {reason}"
        self._show()
        if self._throttle.due("waits"):
            self._named.add(stream_id)
            _log.warning("%s; %d bytes of this stream are kept and tried again", self._waiting[stream_id], waiting)

    def goes_on(self, stream_id: str) -> None:
        """Take back why a stream waits."""
        if self._waiting.pop(stream_id, None) is not None:
            self._show()
        if stream_id in self._named:
            self._named.remove(stream_id)
            _log.info("%s: stream %s goes on", self._url, stream_id)

    def retried(self) -> None:
        """Count a request in vain."""
        self._counters.retried += 1

    def refused(self, name: str, stream_id: str, words: str) -> None:
        """Count an item that the sink does not want; `words` are the sink's."""
        self._counters.refused += 1
        if self._throttle.due("refused"):
            where = f"kept in rejected/{name}.json"
            total = self._counters.refused
            _log.warning(
                "%s refused %s of stream %s: %s; %s; %d so far", self._url, name, stream_id, words, where, total
            )

    def _show(self) -> None:
        """Set the counters' problem: that of the way, else that of the stream that has waited longest."""
        problem = self._way or next(iter(self._waiting.values()), None)
        if problem and self._way is None and (others := len(self._waiting) - 1):
            problem += f" (and {others} more {'stream waits' if others == 1 else 'streams wait'})"
        if problem is None:
            self._counters.since = None
        elif self._counters.problem is None:
            self._counters.since = time.time()
        self._counters.problem = problem
