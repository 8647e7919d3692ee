"""Server spans that need not be made: a request's is equal to that of another of its like, but for ids and times.

The official instrumentation looks at few things of an ordinary request. The first span of a like comes from it, whole;
the next ones are that span's bytes with other ids and times, at a hundredth of the price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from predictor.otlp import JSON, span_rest

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from predictor.prediction import Origin

_MOST = 256
"""Likes in memory: callers choose their headers."""
_LONGEST = 1024
"""Characters of the headers of a like."""


class Like(NamedTuple):
    """What the instrumentation's span depends on, of requests with one method, path and version of HTTP."""

    host: str | None
    user_agent: str | None
    status: int


class Specimen(NamedTuple):
    """A span that the instrumentation made: the beginning of its line, and what follows ids and times."""

    head: bytes
    rest: bytes


class Specimens:
    """One span of each like."""

    def __init__(self, *, captured: bool) -> None:
        """Have none; with headers captured into spans no two requests are alike."""
        self._captured = captured
        self._known: dict[Like, Specimen] = {}

    def like(self, headers: CIMultiDictProxy[str], origin: Origin, status: int) -> Like | None:
        """Return what a request's span depends on; None if it may have something of its own."""
        sample = origin.sample
        if self._captured or "tracestate" in headers or (sample and (sample.attributes or sample.trace_state)):
            return None
        like = Like(headers.get("Host"), headers.get("User-Agent"), status)
        return like if len(like.host or "") + len(like.user_agent or "") <= _LONGEST else None

    def get(self, like: Like) -> Specimen | None:
        """Return the span of a like, if there is one yet."""
        return self._known.get(like)

    def keep(self, like: Like, head: bytes, fields: JSON) -> None:
        """Remember the span that was made of a like."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[like] = Specimen(head, span_rest(fields))
