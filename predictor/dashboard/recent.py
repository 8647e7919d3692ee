"""What the last five minutes were like: how long answers took, and which calls were answered with a problem."""

from __future__ import annotations

import time
from collections import Counter, deque
from http import HTTPStatus
from math import frexp, ldexp
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from predictor.core.problems import Kind
    from predictor.core.result import Prediction

SECONDS = 300.0
"""How far back is looked."""
SLOT = 10.0
"""Seconds that are counted together, and after which a refusal is no longer of this moment."""
_SLOTS = round(SECONDS / SLOT)
_PARTS = 16
"""Bins from a duration to twice as long: a percentile is right within 3 %."""
_SHARES = (0.5, 0.95, 0.99)


class Percentiles(NamedTuple):
    """How many predictions were answered, and their durations in seconds."""

    answered: int
    p50: float
    p95: float
    p99: float


class Latencies:
    """How long the predictions of the last five minutes took, by bins: a few hundred numbers at any rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing."""
        self._clock = clock
        self._slots: deque[tuple[int, dict[int, int]]] = deque(maxlen=_SLOTS)
        self._now = -1
        self._bins: dict[int, int] = {}

    def observe(self, predictions: Sequence[Prediction]) -> None:
        """Count those that were answered."""
        bins = self._of_now()
        before, place = -1.0, 0
        for prediction in predictions:
            if prediction.error is None:
                if prediction.total != before:  # all rows of a request took as long
                    before = prediction.total
                    share, exponent = frexp(before)
                    place = exponent * _PARTS + int(share * 2 * _PARTS) - _PARTS
                bins[place] = bins.get(place, 0) + 1

    def count(self, seconds: float, rows: int) -> None:
        """Count so many that were answered together."""
        bins = self._of_now()
        share, exponent = frexp(seconds)
        place = exponent * _PARTS + int(share * 2 * _PARTS) - _PARTS
        bins[place] = bins.get(place, 0) + rows

    def _of_now(self) -> dict[int, int]:
        now = int(self._clock() // SLOT)
        if now != self._now:
            self._now, self._bins = now, {}
            self._slots.append((now, self._bins))
        return self._bins

    def percentiles(self) -> Percentiles | None:
        """Return them, None if nothing was answered."""
        oldest = int(self._clock() // SLOT) - _SLOTS
        total: Counter[int] = Counter()
        for when, bins in self._slots:
            if when > oldest:
                total.update(bins)
        count = total.total()
        return Percentiles(count, *(_at(total, share * count) for share in _SHARES)) if count else None


def _at(bins: Mapping[int, int], rank: float) -> float:
    """Return the middle of the bin that holds the value of a rank."""
    reached = 0
    for place in sorted(bins):
        reached += bins[place]
        if reached >= rank:
            break
    exponent, part = divmod(place, _PARTS)
    return ldexp((_PARTS + part + 0.5) / (2 * _PARTS), exponent)


class Problems:
    """Which calls were answered with a problem of late, told from counters that only rise."""

    def __init__(self, counters: Mapping[Kind, int], clock: Callable[[], float] = time.monotonic) -> None:
        """Take the counters of this server; `look` is to be called every `SLOT` seconds."""
        self._counters = counters
        self._clock = clock
        self._before: deque[tuple[float, dict[Kind, int]]] = deque([(clock(), dict(counters))])
        self._last = dict(counters)
        self._rose: dict[Kind, float] = {}

    def look(self) -> None:
        """Notice what has risen."""
        now, counts = self._clock(), dict(self._counters)
        for kind, count in counts.items():
            if count != self._last.get(kind, 0):
                self._rose[kind] = now
        self._last = counts
        if now - self._before[-1][0] >= SLOT:
            self._before.append((now, counts))
        while len(self._before) > 1 and self._before[1][0] <= now - SECONDS:
            self._before.popleft()

    def recent(self) -> dict[str, int]:
        """Return by the problem's word how many calls there were in the last five minutes, the most first."""
        before = self._before[0][1]
        risen = {kind.word: count - before.get(kind, 0) for kind, count in self._last.items()}
        return dict(sorted(((word, count) for word, count in risen.items() if count), key=lambda each: -each[1]))

    def refusing(self) -> list[str]:
        """Return the words of what this server itself, and not a caller's fault, has refused just now."""
        since = self._clock() - SLOT
        return [kind.word for kind, when in self._rose.items() if when > since and _is_ours(kind)]


def _is_ours(kind: Kind) -> bool:
    return kind.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
