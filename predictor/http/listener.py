"""Listening sockets that close without cutting off clients who have connected by then."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SO_ATTACH_FILTER = 26
"""socket(7); the socket module has no name for it."""
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One instruction of a packet filter: return 0, take no byte."""
_LONGEST = 1.0
"""Seconds for connections that wait to be accepted: without a free descriptor they never are."""


class Listener:
    """Listens at one address."""

    def __init__(self) -> None:
        """Not listen yet."""
        self._server: asyncio.Server | None = None

    async def open(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address and port; `factory` makes the protocol of each connection.

        Raises OSError, or UnicodeError for what is no host name.
        """
        self._server = await asyncio.get_running_loop().create_server(factory, host, port)
        found: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return found

    async def close(self) -> None:
        """Accept what is connected, then refuse the next one.

        The kernel completes connections by itself and queues them; those that are in the queue when the socket closes
        are reset, although their clients may have sent a whole request. So it takes no more packets first (a client
        tries again after a second, and is refused), and closes when the queue is empty.
        """
        if self._server is None:
            return
        with _duplicates(self._server) as listening:
            for each in listening:
                _take_no_more(each)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST):
                    while any(_readable(each) for each in listening):  # noqa: ASYNC110 - a turn of the loop accepts
                        await asyncio.sleep(0)
        self._server.close()
        self._server = None


@contextlib.contextmanager
def _duplicates(server: asyncio.Server) -> Iterator[list[socket.socket]]:
    """Yield the listening sockets, as far as the loop lends them, under descriptors of our own."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.socket(fileno=socket.dup(each.fileno()))) for each in server.sockets]


def _take_no_more(listening: socket.socket) -> None:
    """Let the kernel drop whatever else comes to a listening socket; nothing is done where there are no filters."""
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HL", len(_DROP_ALL) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _readable(listening: socket.socket) -> bool:
    """Tell whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))
