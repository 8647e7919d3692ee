"""What a shipper tells of itself: counters for whoever asks, a line on stderr for whoever watches."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from predictor.console import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.shipping.delivery import Refused

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """What became of one signal's items; read by status events, readiness details and metrics."""

    shipped: int = 0  # items accepted
    retried: int = 0  # requests that were in vain and are made again
    refused: int = 0  # items refused for their content
    not_kept: int = 0  # of those, items for which `rejected/` had no room
    problem: str | None = None  # why nothing gets through at the moment
    since: float | None = None  # Unix time at which that began


class Report:
    """Keeps the counters and says, at most once a minute each, what goes wrong, what was refused and what is well."""

    def __init__(self, url: str, counters: Counters, clock: Callable[[], float]) -> None:
        """Name the sink `url`, which must hold no secret."""
        self._url = url
        self._counters = counters
        self._throttle = Throttle(clock=clock)
        self._said = False

    def accepted(self, items: int) -> None:
        """Count what the sink has taken."""
        self._counters.shipped += items

    def works(self) -> None:
        """Take back the problem: the sink answers."""
        if self._counters.problem is None:
            return
        self._counters.problem = self._counters.since = None
        if self._said:
            self._said = False
            _log.info("%s answers again", self._url)

    def problem(self, reason: str, waiting: int) -> None:
        """Note why `waiting` bytes cannot leave."""
        if self._counters.problem is None:
            self._counters.since = time.time()
        self._counters.problem = f"{self._url}: {reason}"
        if self._throttle.due("problem"):
            self._said = True
            _log.warning("%s; %d bytes are kept and tried again", self._counters.problem, waiting)

    def retried(self) -> None:
        """Count a request in vain."""
        self._counters.retried += 1

    def refused(self, name: str, stream_id: str, answer: Refused, *, kept: bool) -> None:
        """Count an item that the sink does not want."""
        self._counters.refused += 1
        self._counters.not_kept += not kept
        if self._throttle.due("refused"):
            where = f"kept in rejected/{name}.json" if kept else "not kept, rejected/ is full"
            words = f"{answer.status} {answer.words}".rstrip()
            total = self._counters.refused
            _log.warning(
                "%s refused %s of stream %s: %s; %s; %d so far", self._url, name, stream_id, words, where, total
            )
