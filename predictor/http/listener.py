"""Listening sockets that close without cutting off clients who have connected by then."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import select
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_SO_ATTACH_FILTER = 26
"""socket(7); the socket module has no name for it."""
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One instruction of a packet filter: return 0, take no byte."""
UNIX = "unix:"
"""Before the path of a Unix socket."""
_HANDSHAKE, _GOODBYE = 10.0, 2.0
"""Seconds for TLS to begin, and to end."""
_LONGEST = 1.0
"""Seconds for connections that wait to be accepted: without a free descriptor they never are."""


class Place(NamedTuple):
    """Where a server listens."""

    host: str
    """An address, or `unix:` and the path of a Unix socket."""
    port: int
    """0 of a Unix socket."""


class Listener:
    """Listens at one or several places."""

    def __init__(self) -> None:
        """Not listen yet."""
        self._servers: list[asyncio.Server] = []
        self._files: list[_SocketFile] = []

    async def open(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> Place:
        """Listen at one more host, and return where; `factory` makes the protocol of each connection.

        `::` takes IPv4 too. A host `unix:/path` is a Unix socket, without TLS: it is a proxy's on the same machine.
        Raises OSError, or UnicodeError for what is no host name.
        """
        loop = asyncio.get_running_loop()
        more: dict[str, Any] = {}
        if tls:
            more = {"ssl": tls, "ssl_handshake_timeout": _HANDSHAKE, "ssl_shutdown_timeout": _GOODBYE}
        if host.startswith(UNIX):
            file = _SocketFile(host)
            server = await loop.create_unix_server(factory, sock=file.listening)
            self._files.append(file)
        elif host == "::":
            both = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
            server = await loop.create_server(factory, sock=both, **more)
        else:
            server = await loop.create_server(factory, host, port, **more)
        self._servers.append(server)
        if host.startswith(UNIX):
            return Place(host, 0)
        return Place(*server.sockets[0].getsockname()[:2])

    async def close(self) -> None:
        """Accept what is connected, then refuse the next one.

        The kernel completes connections by itself and queues them; those that are in the queue when the socket closes
        are reset, although their clients may have sent a whole request. So it takes no more packets first (a client
        tries again after a second, and is refused), and closes when the queue is empty.
        """
        for file in self._files:
            file.remove()
        with _duplicates(self._servers) as listening:
            for each in listening:
                _take_no_more(each)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST):
                    while any(_readable(each) for each in listening):  # noqa: ASYNC110 - a turn of the loop accepts
                        await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        self._servers, self._files = [], []


class _SocketFile:
    """A Unix socket that is bound to a path, also where a server that is dead has left its own."""

    def __init__(self, host: str) -> None:
        self._path = Path(host.removeprefix(UNIX))
        self.listening = socket.socket(socket.AF_UNIX)
        try:
            if self._path.is_socket() and not self._answers():
                self._path.unlink()
            self.listening.bind(str(self._path))  # raises if somebody listens there, or if it is no socket
            self._path.chmod(0o660)  # a proxy of the same group may connect
            self._inode = self._path.stat().st_ino
        except BaseException:
            self.listening.close()
            raise

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(1.0)
            try:
                caller.connect(str(self._path))
            except ConnectionRefusedError:
                return False
        return True

    def remove(self) -> None:
        with contextlib.suppress(OSError):  # somebody has
            if self._path.stat().st_ino == self._inode:  # else another server's, which came after this one
                self._path.unlink()


@contextlib.contextmanager
def _duplicates(servers: list[asyncio.Server]) -> Iterator[list[socket.socket]]:
    """Yield the listening sockets, as far as the loop lends them, under descriptors of our own."""
    with contextlib.ExitStack() as stack:
        sockets = [each for server in servers for each in server.sockets]
        yield [stack.enter_context(socket.socket(fileno=socket.dup(each.fileno()))) for each in sockets]


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
