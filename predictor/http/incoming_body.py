"""The body of one request of the fast lane, where it does not come with its head or is large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.dataplane import InferRequest
from predictor.core.problems import Problem

if TYPE_CHECKING:
    from predictor.api.dataplane import DataPlane, Pending, Reply, RequestContext
    from predictor.core.memory_budget import Share

_SMALL = 4 << 10
"""Bytes of a part that is copied behind the one before: as objects of their own they would hold many times as much."""


class IncomingBody:
    """Keeps the parts of a body as they come, and what its request holds of the memory's budget until the answer."""

    __slots__ = ("_parts", "_share", "_size")

    def __init__(self, share: Share) -> None:
        """Take the request's share of the budget."""
        self._share = share
        self._size = 0
        self._parts: list[bytes | bytearray] = []

    def add(self, part: bytes) -> None:
        """Keep one more part; raises Problem where the budget has no room for it."""
        self._size += len(part)
        self._share.resize(self._size)
        last = self._parts[-1] if self._parts else None
        if len(part) >= _SMALL:
            self._parts.append(part)
        elif isinstance(last, bytearray):
            last += part
        else:
            self._parts.append(bytearray(part))

    def take(self) -> bytes:
        """Return the whole body, which is not kept here; joined once: an array that grows would move each time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def begin(self, wanted: InferRequest | Exception, plane: DataPlane, context: RequestContext) -> Reply | Pending:
        """Send what was decoded on its way, its rows held until the answer; what could not be decoded is refused."""
        try:
            if isinstance(wanted, InferRequest):
                self._share.resize(max(self._size, wanted.held_bytes))
            elif not isinstance(wanted, Problem):
                return plane.refuse(wanted, context)
            return plane.begin(wanted, context)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            return plane.refuse(error, context)

    def clear(self) -> None:
        """Keep and hold nothing any more."""
        self._parts = []
        self._share.resize(0)
