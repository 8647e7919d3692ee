"""Limits on connections: how many may be open, and how long unread answers may wait."""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_SPARE = 200
"""Descriptors for everything but connections: segments, cursors, the sink, a segment read for the page."""


def most_connections() -> int:
    """Return how many connections leave the log descriptors to open its files with."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(files // 2, files - _SPARE) if files != resource.RLIM_INFINITY else sys.maxsize


def bound_unread(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Let the kernel end a connection whose caller has taken nothing of an answer for so long, or has vanished."""
    connected = transport.get_extra_info("socket")
    if connected is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; tcp(7)
        with contextlib.suppress(OSError):  # a Unix socket's, or gone already
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
