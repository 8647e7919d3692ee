"""Reads the messages of calls before their deadline, and of few callers at once: each may be of the largest size.

gRPC hands a message over when all of it is there. How many bytes the messages hold that are under way cannot be
counted, so it is counted how many messages there are.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import grpc.aio

from predictor.api.json_body import BODY_LATE
from predictor.core.problems import Kind, Problem
from predictor.http.limits import FREE_BYTES

if TYPE_CHECKING:
    from predictor.core.memory_budget import MemoryBudget

_SLOW = 1.0
"""Seconds for a message while others wait for their turn: most come with their call."""
_SLOW_QUERY = 0.25
"""The same for a message that only names something, and comes in one packet; the loop may be held for some time."""
_RETRY_AFTER = 1
"""Seconds."""
_LEAST = 2
"""Messages at once, which any budget has room for."""


class MessageReader:
    """Reads the messages of one kind of calls, so many at once."""

    def __init__(self, slots: int, *, slow: float, most: int | None = None) -> None:
        """Take how many messages may be read at once, the seconds that each has while others wait, and its length.

        Without `most` gRPC's own bound on messages is the only one.
        """
        self._free = slots
        self._slow_after = slow
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._reading: dict[asyncio.Timeout, float] = {}  # since when; the longest first
        self._slow: set[asyncio.Timeout] = set()
        self._waiting: OrderedDict[asyncio.Future[None], float] = OrderedDict()  # the same
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def read(self, context: grpc.aio.ServicerContext, deadline: float) -> bytes:
        """Return the bytes of the message; `deadline` is on the loop's clock; raises Problem."""
        message = await self.next(context, deadline)
        if message is None:
            detail = "no message came: it was cut off, or is larger than this server takes (PREDICTOR_BODY_BYTES)"
            raise Problem(Kind.BAD_REQUEST, detail)
        return message

    async def next(self, context: grpc.aio.ServicerContext, deadline: float) -> bytes | None:
        """Return the same of a call of several messages, None after the last one."""
        limit, slow = asyncio.timeout_at(deadline), False
        try:
            async with limit:
                await self._turn()
                self._reading[limit] = self._loop.time()
                self._end_slow()
                if self._closed and not limit.expired():
                    limit.reschedule(self._loop.time())
                try:
                    message = await context.read()
                finally:
                    del self._reading[limit]
                    self._pass_on()
                    slow = limit in self._slow
                    self._slow.discard(limit)
        except TimeoutError:
            if slow:
                detail = (
                    f"the message did not come within {self._slow_after:g} s while others waited"
                    " (PREDICTOR_BUFFERED_BYTES)"
                )
                raise Problem(Kind.BODIES_FULL, detail, retry_after=_RETRY_AFTER) from None
            raise Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE) from None
        if message is grpc.aio.EOF:
            return None
        found: bytes = message
        if self._most is not None and len(found) > self._most:
            raise Problem(Kind.CONTENT_TOO_LARGE, f"the message is larger than {self._most} bytes")
        return found

    def close(self) -> None:
        """Wait for no more messages: for who is about to end, and whose callers may be silent for long."""
        self._closed = True
        for limit in self._reading:
            if not limit.expired():
                limit.reschedule(self._loop.time())

    async def _turn(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = self._loop.create_future()
        self._waiting[turn] = self._loop.time()
        self._end_slow()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came in the moment in which the time was over
                self._pass_on()
            raise
        finally:
            self._waiting.pop(turn, None)

    def _pass_on(self) -> None:
        """Give the turn of a message to who waits: in their order, but where that takes long to the newest first.

        They wait long behind silent calls only; then those who came last are helped at once, not after all of these.
        """
        while self._waiting:
            longest = next(iter(self._waiting.values()))
            turn, _ = self._waiting.popitem(last=longest + self._slow_after <= self._loop.time())
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _end_slow(self) -> None:
        """Let the longest readings go that are slow, as many as callers wait; look again when one becomes slow."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        for limit, since in islice(self._reading.items(), len(self._waiting)):
            if limit in self._slow or limit.expired():
                continue
            if since + self._slow_after > now:
                self._timer = self._loop.call_at(since + self._slow_after, self._end_slow)
                return
            self._slow.add(limit)
            limit.reschedule(now)


class MessageReaders(NamedTuple):
    """Readers by what the messages are: whoever is silent in calls of one kind keeps no other kind waiting."""

    inference: MessageReader
    """Of predictions, and of the calls that change what is served: what has a token, where one is wanted."""
    queries: MessageReader
    """Of calls that ask about a model or the server, which anybody may; their messages are short."""
    reflection: MessageReader
    """Of streams that may be silent between two messages."""


def message_readers(memory: MemoryBudget, largest: int) -> MessageReaders:
    """Return readers, for half of the budget; `largest` is the length of the largest message that gRPC takes.

    Short messages have a quarter as many turns besides, and at least two: gRPC takes a large one in the place of any.
    """
    slots = max(_LEAST, memory.most // 2 // largest)
    return MessageReaders(
        MessageReader(slots, slow=_SLOW),
        MessageReader(max(_LEAST, slots // 4), slow=_SLOW_QUERY, most=FREE_BYTES),
        MessageReader(_LEAST, slow=_SLOW, most=FREE_BYTES),
    )
