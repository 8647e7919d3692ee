"""One open page as a subscriber of the feed: its queue of chunks, and when it is dropped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_BEHIND = 8
"""Chunks, two seconds: who has not read them by then is dropped, and gets all again when it comes back."""


class ChunkQueue:
    """An iterator over chunks of bytes, filled from one side without ever waiting for the other."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        """Take the connection that the chunks are written to."""
        self._transport = transport
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_BEHIND)

    @property
    def gone(self) -> bool:
        """Whether the other side has closed the connection."""
        return self._transport.is_closing()

    def offer(self, chunk: bytes) -> bool:
        """Take a chunk, if it is none but empty; return False if too many wait to be read."""
        if self._chunks.full():
            return False
        if chunk:
            self._chunks.put_nowait(chunk)
        return True

    def end(self) -> None:
        """End the iteration now, also for one that is stuck in writing to a reader who does not read."""
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def __aiter__(self) -> Self:
        """Iterate over the chunks."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk when it is there."""
        chunk = await self._chunks.get()
        if chunk is None:
            raise StopAsyncIteration
        return chunk
