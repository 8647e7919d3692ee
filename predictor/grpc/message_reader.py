"""Reads the message of a call: before its deadline, and of few callers at once, since each may be of the largest size.

gRPC hands a message over when all of it is there. How many bytes the messages hold that are under way cannot be
counted, so it is counted how many messages there are.
"""

from __future__ import annotations

import asyncio
from itertools import islice
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
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, context: grpc.aio.ServicerContext, deadline: float) -> bytes:
        """Return the bytes of the message; `deadline` is on the loop's clock; raises Problem."""
        limit, slow = asyncio.timeout_at(deadline), False
        try:
            async with limit:
                await self._turn()
                self._reading[limit] = self._loop.time()
                self._end_slow()
                try:
                    message = await context.read()
                finally:
                    del self._reading[limit]
                    self._slots.release()
                    slow = limit in self._slow
                    self._slow.discard(limit)
        except TimeoutError:
            if slow:
                detail = f"the message did not come within {_SLOW:g} s while others waited (PREDICTOR_BUFFERED_BYTES)"
                raise Problem(Kind.BODIES_FULL, detail, retry_after=_RETRY_AFTER) from None
            raise Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE) from None
        if message is grpc.aio.EOF:
            detail = f"no message came: it was cut off, or has more than {self.largest} bytes (PREDICTOR_BODY_BYTES)"
            raise Problem(Kind.BAD_REQUEST, detail)
        found: bytes = message
        return found

    async def _turn(self) -> None:
        self._waiting += 1
        try:
            if self._slots.locked():
                self._end_slow()
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    def _end_slow(self) -> None:
        """Let the longest readings go that are slow, as many as callers wait; look again when one becomes slow."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        for limit, since in islice(self._reading.items(), self._waiting):
            if limit in self._slow or limit.expired():
                continue
            if since + _SLOW > now:
                self._timer = self._loop.call_at(since + _SLOW, self._end_slow)
                return
            self._slow.add(limit)
            limit.reschedule(now)
