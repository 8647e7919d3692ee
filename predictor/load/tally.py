"""Counts of requests by outcome and a histogram of latencies, of one size however long the load runs."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWERED = "200"
_STEP = math.log(1.02)
"""Latencies are counted in steps of 2 %: percentiles are that exact, and a thousand steps are 1 µs to minutes."""
_PERCENTILES = (50, 95, 99)


class LoadTally:
    """Counts of what was sent and of what came back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now."""
        self._clock = clock
        self._begun = clock()
        self._outcomes: Counter[str] = Counter()
        self._latencies: Counter[int] = Counter()
        self._longest = 0.0
        self.sent = 0
        self.rows = 0
        self.left_out = 0
        """Requests that were due while too many others waited for their answer."""

    def begin(self) -> None:
        """Restart the clock: the load begins now."""
        self._begun = self._clock()

    def count(self, outcome: str, rows: int, seconds: float | None = None) -> None:
        """Count what became of a request; `seconds` are those until its answer, if there was any."""
        self._outcomes[outcome] += 1
        if outcome == ANSWERED:
            self.rows += rows
        if seconds is not None:
            self._latencies[math.floor(math.log(max(seconds, 1e-6)) / _STEP)] += 1
            self._longest = max(self._longest, seconds)

    @property
    def failed(self) -> int:
        """The requests that did not end in logged predictions."""
        return self._outcomes.total() - self._outcomes[ANSWERED]

    def percentile(self, percent: float) -> float | None:
        """Return the latency in seconds that so many percent of the answers did not exceed, or None without any."""
        total = self._latencies.total()
        wanted, seen = math.ceil(total * percent / 100), 0
        for step in sorted(self._latencies):
            seen += self._latencies[step]
            if seen >= wanted:
                return min(math.exp((step + 1) * _STEP), self._longest)
        return None

    def progress(self) -> str:
        """Return one line on what was so far."""
        took = self._clock() - self._begun
        line = f"{took:.0f} s: {self.sent} requests, {self.sent / max(took, 1e-9):.1f} a second, {self.failed} failed"
        return f"{line}, {shown}" if (shown := self._latency()) else line

    def summary(self) -> str:
        """Return all that is known, a line each."""
        took = self._clock() - self._begun
        rate = self.sent / max(took, 1e-9)
        lines = [f"{self.sent} requests in {took:.1f} s, {rate:.1f} a second; {self.rows} rows predicted and logged"]
        lines += [f"{number:9}  {outcome}" for outcome, number in sorted(self._outcomes.items())]
        if self.left_out:
            lines.append(f"{self.left_out:9}  not sent: too many others waited for their answer")
        if shown := self._latency():
            lines.append(shown)
        return "\n".join(lines)

    def as_json(self) -> str:
        """Return all that is known as one JSON object; latencies in milliseconds."""
        return json.dumps(
            {
                "seconds": round(self._clock() - self._begun, 3),
                "requests": self.sent,
                "rows": self.rows,
                "outcomes": dict(sorted(self._outcomes.items())),
                "failed": self.failed,
                "not_sent": self.left_out,
                "latency_ms": {name: round(1000 * seconds, 3) for name, seconds in self._latencies_shown()},
            }
        )

    def _latency(self) -> str:
        shown = [f"{name} {1000 * seconds:.3g} ms" for name, seconds in self._latencies_shown()]
        return f"latency {', '.join(shown)}" if shown else ""

    def _latencies_shown(self) -> list[tuple[str, float]]:
        if not self._latencies:
            return []
        found = [(f"p{percent}", self.percentile(percent) or 0.0) for percent in _PERCENTILES]
        return [*found, ("max", self._longest)]
