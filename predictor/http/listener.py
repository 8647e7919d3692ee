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
    from collections.abc import Callable, Iterable, Iterator, Sequence

_SO_ATTACH_FILTER = 26
"""socket(7); the socket module has no name for it."""
_FIRST_PACKETS = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
"""A filter's program: load byte 13 of TCP's head, the flags; if SYN is among them take no byte, else all."""
_ALL_PACKETS = ((0x06, 0, 0, 0),)
"""Take no byte."""
_SYN_RECEIVED = b"03"
"""A state in the kernel's table of connections."""
UNIX = "unix:"
"""Before the path of a Unix socket."""
_HANDSHAKE, _GOODBYE = 10.0, 2.0
"""Seconds for TLS to begin, and to end."""
_HALF_MADE = 1.5
"""Seconds for connections that are half made: a packet that was lost is sent again after one."""
_QUEUED = 1.0
"""Seconds for connections that wait to be accepted: without a free descriptor they never are."""
_LOOK = 0.001
"""Seconds between two looks at them."""
_TURNS = 3
"""Turns of the loop in which who was accepted has a transport: asyncio gives none once its server is closed."""


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

        The kernel completes connections by itself and queues them. Those that are in the queue when the socket closes
        are reset, although their clients may have sent a whole request. So are those that are half made: the client
        has the kernel's answer, and its own last packet is on its way.
        So first no new ones begin (a client tries again after a second, and is refused), then the half made ones become
        whole, and the socket closes when its queue is empty.
        """
        for file in self._files:
            file.remove()
        with _duplicates(self._servers) as listening:
            for each in listening:
                _drop(each, _FIRST_PACKETS)
            await _until_none(_HALF_MADE, lambda: half_made(listening))
            for each in listening:
                _drop(each, _ALL_PACKETS)
            await _until_none(_QUEUED, lambda: any(map(_readable, listening)))
        for _ in range(_TURNS):
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


def _drop(listening: socket.socket, packets: Sequence[tuple[int, int, int, int]]) -> None:
    """Let the kernel drop what a filter names of all that comes to a socket; nothing where there are no filters."""
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in packets))
    program = struct.pack("HL", len(packets), ctypes.addressof(code))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _readable(listening: socket.socket) -> bool:
    """Tell whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


def half_made(listening: Iterable[socket.socket]) -> bool:
    """Tell whether the kernel has answered who connects to a socket, and waits for the answer to that; on Linux."""
    ports = {each.getsockname()[1] for each in listening if each.family != socket.AF_UNIX}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError), table.open("rb") as lines:
            next(lines, b"")  # the names of the columns
            for line in lines:
                _, local, _, state, _ = line.split(maxsplit=4)
                if state == _SYN_RECEIVED and int(local.rpartition(b":")[2], 16) in ports:
                    return True
    return False


async def _until_none(seconds: float, left: Callable[[], bool]) -> None:
    """Let the loop accept until there is none left, or time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while left():  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(_LOOK)
