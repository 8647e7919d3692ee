"""The cache of heads that were read before: identical bytes mean the same, so a look into a dict spares the parse.

A head with headers that differ in each request (a trace, an id of the request) is kept without their values: two heads
that differ in nothing else differ in nothing that decides how a request is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import CIMultiDict

    from predictor.api.answers import Headers
    from predictor.api.catalog import ServedVersion
    from predictor.api.dataplane import Codec
    from predictor.api.json_body import BodyHead

    _Key = bytes | tuple[bytes, ...]

_MOST_CACHED = 256 << 10
"""Bytes of all heads in the cache."""
_LONGEST_CACHED = 2 << 10
_REQUEST_ID = "x-request-id"
_PASSED_ON = (
    *("traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid"),
    *("x-b3-sampled", "x-b3-flags", "uber-trace-id", "x-amzn-trace-id", _REQUEST_ID),
)
"""Headers that decide nothing here: they are only handed to the tracer."""


class RequestHead(msgspec.Struct, frozen=True):
    """A plain head, of a connection that is kept and with a body of `length` bytes."""

    method: str
    path: str
    """As it was asked for."""
    route: str
    """As the table of calls has it, of a call that the fast lane answers."""
    headers: CIMultiDict[str]
    length: int
    body: BodyHead
    codec: Codec | None
    """Of the call that the fast lane answers; None is aiohttp's."""
    answer_headers: Headers
    """What its answer says besides, of which pages may read it."""
    served: ServedVersion | None = None
    """The model version that it means now, of a call that the fast lane answers."""


class HeadCache:
    """Heads by their bytes, as many as fit into a bound; the oldest go first."""

    def __init__(self, own: Iterable[str]) -> None:
        """Take the names of headers that differ in each request; X-Request-Id is one of them in any case."""
        self._own = {name.lower().encode() for name in own} | {_REQUEST_ID.encode()}
        names = b"|".join(re.escape(name.encode()) for name in _PASSED_ON if name.encode() in self._own)
        self._split = re.compile(rb"\r\n((?i:%b)): ([!-~]+)(?=\r\n)" % names).split
        self._kept: dict[_Key, RequestHead] = {}
        self._size = 0

    def find(self, head: bytes) -> RequestHead | None:
        """Return what the same head meant, with its own trace and request id; None if it is not known."""
        if found := self._kept.get(head):
            return found
        if len(head) > _LONGEST_CACHED:
            return None
        parts = self._split(head)
        if len(parts) == 1 or (found := self._kept.get(_without_values(parts))) is None:
            return None
        headers = found.headers.copy()
        for name, value in zip(parts[1::3], parts[2::3], strict=True):
            headers[name.decode()] = value.decode()
        return msgspec.structs.replace(found, headers=headers)

    def keep(self, head: bytes, found: RequestHead) -> None:
        """Keep a head, unless it is long or has headers of its own that cannot be told apart."""
        if len(head) > _LONGEST_CACHED:
            return
        own = [name for name in found.headers if name.lower().encode() in self._own]
        parts = self._split(head) if own else [head]
        if len(parts) != 3 * len(own) + 1:
            return
        key = _without_values(parts) if own else head
        self._kept[key] = found
        self._size += _size(key)
        while self._size > _MOST_CACHED:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._size -= _size(oldest)

    def clear(self) -> None:
        """Know no head any more."""
        self._kept.clear()
        self._size = 0


def _size(key: _Key) -> int:
    return len(key) if isinstance(key, bytes) else sum(map(len, key))


def _without_values(parts: list[bytes]) -> tuple[bytes, ...]:
    """Return the key of a head that was split at its own headers: what stands between them, and their names."""
    return (*parts[::3], *parts[1::3])
