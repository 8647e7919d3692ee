"""A listening socket that closes takes who has connected by then, also by half, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING, cast

import pytest

from predictor.http import listener
from predictor.http.listener import Listener, half_made

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="filters of packets, and a table of connections")

_PATIENCE = 60.0  # s
_ATTACH_FILTER = 26
_FIRST_ONLY = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))
"""Load TCP's flags; with SYN take the packet, else drop it."""


class Echo(asyncio.Protocol):
    """Sends back what comes, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data)
        self.transport.close()


@contextlib.contextmanager
def only_first_packets(listening: Listener) -> Iterator[list[socket.socket]]:
    """Lose all but the first packet of each connection, until `listening` does otherwise; yield its sockets."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _FIRST_ONLY))
    program = struct.pack("HL", len(_FIRST_ONLY), ctypes.addressof(code))
    with listener._duplicates(listening._servers) as sockets:
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        yield sockets


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_who_is_half_connected_is_taken(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A client to whom its connection is made is answered, though its last packet comes after the end has begun."""
    monkeypatch.setattr(listener, "_HALF_MADE", _PATIENCE)
    here = Listener()
    place = await here.open(Echo, host, 0)
    with only_first_packets(here) as sockets:
        client = socket.create_connection((place.host, place.port), _PATIENCE)
        client.sendall(b"anybody?")  # lost as well, and sent again by the kernel
        assert half_made(sockets)
        closing = asyncio.create_task(here.close())
        with client:
            assert await asyncio.to_thread(client.recv, 100) == b"anybody?"
            assert await asyncio.to_thread(client.recv, 100) == b""
        await closing
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(socket.create_connection, (place.host, place.port), _PATIENCE)


async def test_who_is_half_connected_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never completes a connection does not hold the end, and nobody begins one meanwhile."""
    monkeypatch.setattr(listener, "_HALF_MADE", 0.1)
    here = Listener()
    place = await here.open(Echo, "127.0.0.1", 0)
    with only_first_packets(here) as sockets:
        monkeypatch.setattr(listener, "_FIRST_PACKETS", listener._ALL_PACKETS)  # the network goes on losing them
        with socket.create_connection((place.host, place.port), _PATIENCE):
            assert half_made(sockets)
            await asyncio.wait_for(here.close(), _PATIENCE)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(socket.create_connection, (place.host, place.port), _PATIENCE)


async def test_nobody_begins_while_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the beginning of the end on a client gets no connection; before, one that nobody has accepted counts."""
    here = Listener()
    place = await here.open(Echo, "127.0.0.1", 0)
    before = socket.create_connection((place.host, place.port), _PATIENCE)  # this loop has accepted nothing since
    late: list[socket.socket] = []
    looked = listener.half_made

    def look(sockets: list[socket.socket]) -> bool:
        if not late:  # the filter is there
            late.append(socket.socket())
            late[0].settimeout(0.0)
            late[0].connect_ex((place.host, place.port))
            assert not looked(sockets)
        return False

    monkeypatch.setattr(listener, "half_made", look)
    await here.close()
    with before, late[0]:
        before.sendall(b"anybody?")
        assert await asyncio.to_thread(before.recv, 100) == b"anybody?"
        _, tried, _ = await asyncio.to_thread(select.select, [], late, [], _PATIENCE)  # again after a second
        assert tried
        assert late[0].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
