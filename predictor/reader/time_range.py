"""The time range of a reader: from and to, written as RFC 3339 or as an age such as `15m`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

MARGIN_NS = 60_000_000_000
"""Numbers follow the writing of the records, a window follows the arrival of their requests; no deadline is longer."""


class TimeRange(NamedTuple):
    """From `start` on and before `end`, Unix nanoseconds of the requests' arrival; None is unbounded."""

    start: int | None = None
    end: int | None = None

    def holds(self, time_ns: int) -> bool:
        """Tell whether a record of this time is looked at."""
        return (self.start is None or time_ns >= self.start) and (self.end is None or time_ns < self.end)

    def wider(self) -> TimeRange:
        """Return the window with the margin in which neighbouring numbers may lie."""
        start = None if self.start is None else self.start - MARGIN_NS
        return TimeRange(start, None if self.end is None else self.end + MARGIN_NS)


_AGE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def moment(text: str, now_ns: int | None = None) -> int:
    """Return Unix nanoseconds for `2026-11-23T08:15:00Z`, `2026-11-23` or an age such as `15m`, `1h30m`, `1w`.

    A date is its midnight in UTC. Raises ValueError.
    """
    try:
        back = age(text)
    except ValueError:
        return _rfc3339(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    return (time.time_ns() if now_ns is None else now_ns) - back


def age(text: str) -> int:
    """Return the nanoseconds of `15m`, `1h30m`, `1w` or a number of seconds; raises ValueError."""
    if text.isascii() and text.isdigit():
        text += "s"
    if not _AGE.fullmatch(text):
        msg = f"{text!r} is not an age; wanted one such as 15m, 1h30m, 1w"
        raise ValueError(msg)
    return int(sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text)) * 1e9)


def _rfc3339(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        wanted = "RFC 3339 with a zone, such as 2026-11-23T08:15:00Z, or an age such as 15m, a date such as 2026-11-23"
        msg = f"{text.removesuffix('T00:00:00Z')!r} is not a time; wanted {wanted}"
        raise ValueError(msg)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def shown(time_ns: int, digits: int = 3) -> str:
    """Return a time as RFC 3339 in UTC, to the millisecond or with as many `digits` (at most 9)."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{f'{rest:09d}'[:digits]}Z"


@lru_cache(1024)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
