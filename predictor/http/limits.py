"""Limits on connections: how many may be open, and how long unread answers may wait."""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
from typing import TYPE_CHECKING

from predictor.core import memory_limit

if TYPE_CHECKING:
    import asyncio

MOST_TARGET_BYTES = 8 << 10
"""Of a request's path and query. Nginx has the same bounds: 4 buffers of 8 kB."""
MOST_FIELD_BYTES = (8 << 10) - 2
"""Of one header, name and value."""
MOST_HEAD_BYTES = 32 << 10
"""Of request line and headers together."""
MOST_HEADERS = 128
FREE_BYTES = 64 << 10
"""Of a body, or of what is put aside, that no budget is asked for; a larger body is decoded in slices."""
_BYTES = FREE_BYTES + (64 << 10)
"""Of memory that a connection may hold without a budget: its head and what was made of it, a small body."""
_SPARE = 200
"""Descriptors for everything but connections: segments, cursors, the sink, a segment read for the page."""


def most_connections(wanted: int = 0, doors: int = 1) -> int:
    """Return how many connections leave the log descriptors to open its files with; `wanted` may make it less.

    Unless so many are wanted, an eighth of the memory bounds them too. Of several doors (HTTP, gRPC) each has its part.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = max(files // 2, files - _SPARE) if files != resource.RLIM_INFINITY else sys.maxsize
    return max(1, min(most, wanted or max(1, memory_limit.usable() // 8 // _BYTES)) // doors)


def bound_unread(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Let the kernel end a connection whose caller has taken nothing of an answer for so long, or has vanished."""
    connected = transport.get_extra_info("socket")
    if connected is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; tcp(7)
        with contextlib.suppress(OSError):  # a Unix socket's, or gone already
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
