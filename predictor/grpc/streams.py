"""Streams: calls without an end of their own, for which there are places beside those of calls."""

from __future__ import annotations

import grpc
import grpc.aio


def most_streams(calls: int) -> int:
    """Return how many streams may be open beside so many calls: a quarter as many."""
    return max(1, calls // 4)


class Streams:
    """Counts the streams that are open."""

    def __init__(self, calls: int) -> None:
        """Take how many calls there may be at once."""
        self._most = most_streams(calls)
        self._open = 0

    async def enter(self, context: grpc.aio.ServicerContext) -> None:
        """Take a place until the call has ended; where there is none the call is refused."""
        if self._open >= self._most:
            detail = f"{self._open} streams of health and reflection are open, no more may be (PREDICTOR_CONNECTIONS)"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, detail)
        self._open += 1
        context.add_done_callback(self._leave)

    def _leave(self, _: object) -> None:
        self._open -= 1
