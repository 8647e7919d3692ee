"""Reads the message of a call: before its deadline, and of few callers at once, since each may be of the largest size.

gRPC hands a message over when all of it is there. How many bytes the messages hold that are under way cannot be
counted, so it is counted how many messages there are.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc.aio

from predictor.api.json_body import BODY_LATE
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from predictor.core.memory_budget import MemoryBudget

_SLOW = 1.0
"""Seconds for a message while others wait for their turn: most come with their call."""
_RETRY_AFTER = 1
"""Seconds."""
_LEAST = 2
"""Messages at once, which any budget has room for."""


class MessageReader:
    """Reads the messages of calls, one a call."""

    def __init__(self, memory: MemoryBudget, largest: int) -> None:
        """Take the budget, half of which bounds the messages under way, and the length of the largest message."""
        self.largest = largest
        self._slots = asyncio.Semaphore(max(_LEAST, memory.most // 2 // largest))
        self._loop = asyncio.get_running_loop()
        self._reading: dict[asyncio.Timeout, float] = {}  # since when; the longest first
        self._slow: set[asyncio.Timeout] = set()

    async def read(self, context: grpc.aio.ServicerContext, deadline: float) -> bytes:
        """Return the bytes of the message; `deadline` is on the loop's clock; raises Problem."""
        limit, impatience = asyncio.timeout_at(deadline), None
        if self._slots.locked():
            self._end_slowest()
            impatience = self._loop.call_later(_SLOW, self._end_slowest)
        try:
            async with limit, self._slots:
                if impatience:
                    impatience.cancel()
                self._reading[limit] = self._loop.time()
                try:
                    message = await context.read()
                finally:
                    del self._reading[limit]
        except TimeoutError:
            if limit in self._slow:
                self._slow.discard(limit)
                detail = f"the message did not come within {_SLOW:g} s while others waited (PREDICTOR_BUFFERED_BYTES)"
                raise Problem(Kind.BODIES_FULL, detail, retry_after=_RETRY_AFTER) from None
            raise Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE) from None
        finally:
            if impatience:
                impatience.cancel()
        if message is grpc.aio.EOF:
            detail = f"no message came: it was cut off, or has more than {self.largest} bytes (PREDICTOR_BODY_BYTES)"
            raise Problem(Kind.BAD_REQUEST, detail)
        found: bytes = message
        return found

    def _end_slowest(self) -> None:
        """Let the longest reading go that is slow, so that one more may read."""
        now = self._loop.time()
        for limit, since in self._reading.items():
            if since + _SLOW > now:
                return
            if limit not in self._slow and not limit.expired():
                self._slow.add(limit)
                limit.reschedule(now)
                return
