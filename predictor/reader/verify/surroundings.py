"""What lies before and after a window of the streams in it, so that windows add up to the whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from predictor.reader.time_range import TimeRange

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from predictor.reader.sources.source import Source

_WEEK_NS = 7 * 86_400 * 10**9
"""Of a source that is asked for a time, as much is looked at before a window."""


def around(source: Source, start: int | None) -> TimeRange:
    """Return where else records of a window from `start` on may lie: anywhere in files; in Loki from a week before."""
    if source.oldest is None:
        return TimeRange()
    return TimeRange(_earlier(source, source.oldest if start is None else start))


def before(source: Source, streams: AbstractSet[str], start: int) -> dict[str, int]:
    """Return the greatest number of these streams before `start`; of one of which nothing is kept there, none.

    Raises SourceError.
    """
    found: dict[str, int] = {}
    for part in source.recent(TimeRange(_earlier(source, start), start)):
        wanted = streams - found.keys()
        if not wanted:
            break
        for entry in source.of(wanted, part):
            found[entry.stream] = max(found.get(entry.stream, 0), entry.sequence)
    return found


def reaches_back(source: Source, when: int) -> bool:
    """Tell whether the source still has records from before a time: then what began at it must be there from its 1.

    The time may be what a forged record says, and a source is asked day by day: what is no time of the past is held to
    the present.
    """
    when = min(max(when, _WEEK_NS), time.time_ns())
    return next(iter(source.read(TimeRange(_earlier(source, when), when))), None) is not None


def going_on(source: Source, last_words: Mapping[str, int], start: int | None) -> set[str]:
    """Return which streams have a greater number anywhere than their last in a window; raises SourceError."""
    found: set[str] = set()
    for entry in source.of(last_words.keys(), around(source, start)) if last_words else ():
        if entry.sequence > last_words[entry.stream]:
            found.add(entry.stream)
            if len(found) == len(last_words):
                break
    return found


def _earlier(source: Source, when: int) -> int | None:
    return None if source.oldest is None else min(source.oldest, when - _WEEK_NS)
