"""The server of calls by gRPC: its ports, its bounds, and its end."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import grpc.aio

from predictor.grpc.addresses import addresses_of
from predictor.grpc.streams import most_streams
from predictor.http.listener import UNIX, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.grpc.addresses import Address
    from predictor.grpc.calls import Calls
    from predictor.grpc.health import HealthService
    from predictor.grpc.inference import InferenceService
    from predictor.grpc.reflection import ReflectionService

_HANDSHAKE = 10.0
"""Seconds for TLS and HTTP/2 to begin."""
_NEW = 0.5
"""Seconds, before PREDICTOR_DRAIN, for the messages of calls that have just come; as HTTP's runner gives them."""
_LOOK = 0.005
"""Seconds between two looks at what is left, while the server ends."""
_MOST = 2**31 - 1
"""The largest number that an option of gRPC can be."""


class GrpcServer:
    """Listens from `open`, answers from `start`."""

    def __init__(self, *, largest: int, idle: float, connections: int, shared_port: bool) -> None:
        """Take the length of the largest message, and how long and how many connections may be idle.

        With `shared_port` several processes may listen at the same one.
        """
        bounds = {
            # Without it a second server would share the port, and calls would reach either, by chance.
            "grpc.so_reuseport": int(shared_port),
            "grpc.max_receive_message_length": min(largest, _MOST),
            "grpc.max_allowed_incoming_connections": min(connections, _MOST),
            "grpc.max_connection_idle_ms": min(round(idle * 1000), _MOST),
            # Who has vanished in the middle of a call is found out.
            "grpc.keepalive_time_ms": min(round(idle * 1000), _MOST),
            "grpc.server_handshake_timeout_ms": round(_HANDSHAKE * 1000),
            # A stream whose message nobody reads yet holds 64 KiB; with probes it would be megabytes.
            "grpc.http2.bdp_probe": 0,
        }
        most = min(connections + most_streams(connections), _MOST)
        self._server = grpc.aio.server(options=[*bounds.items()], maximum_concurrent_rpcs=most)
        self._shared_port = shared_port
        self.places: list[Place] = []
        """Where it listens."""
        self._calls: Calls | None = None
        self._endless: tuple[HealthService, ReflectionService] | None = None
        self._ending: asyncio.Future[None] | None = None

    def open(self, hosts: Sequence[str], port: int, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen at addresses or names (Unix sockets are left out); raises OSError with a sentence."""
        for host in hosts:
            if host.startswith(UNIX):
                continue
            # A port that was free for the first one is taken for all.
            wanted = port or next((place.port for place in self.places), 0)
            bound = wanted
            try:
                for address in addresses_of(host):
                    bound = self._bind(address, bound, credentials)
            except (OSError, UnicodeError) as error:  # the latter: no host name at all
                code = (isinstance(error, OSError) and error.errno) or 0
                reason = (
                    os.strerror(code) if code > 0 else (isinstance(error, OSError) and error.strerror) or str(error)
                )
                msg = f"cannot listen on {host} port {wanted} (PREDICTOR_HOST, PREDICTOR_GRPC_PORT): {reason}"
                raise OSError(code, msg) from error
            self.places.append(Place(host, bound))

    def _bind(self, address: Address, port: int, credentials: grpc.ServerCredentials | None) -> int:
        """Listen at one address, and return its port; raises OSError."""
        found = address.free_port(port, shared=self._shared_port)
        with address.alone(found, shared=self._shared_port):
            try:
                bound: int = (
                    self._server.add_secure_port(address.at(found), credentials)
                    if credentials
                    else self._server.add_insecure_port(address.at(found))
                )
            except RuntimeError as error:  # without a reason
                raise OSError(0, "gRPC cannot listen there") from error
        return bound

    async def start(
        self, calls: Calls, service: InferenceService, health: HealthService, reflection: ReflectionService
    ) -> None:
        """Answer."""
        self._calls, self._endless = calls, (health, reflection)
        self._server.add_generic_rpc_handlers((service.handlers(), health.handlers(), reflection.handlers()))
        await self._server.start()

    async def leave(self, seconds: float) -> None:
        """Take no more calls, and return when those that have come are admitted; `seconds` are for their answers."""
        if self._ending or self._calls is None or self._endless is None:
            return
        for each in self._endless:
            each.end()
        loop, calls = asyncio.get_running_loop(), self._calls
        loop.call_later(seconds, self._break_off)
        self._ending = asyncio.ensure_future(self._server.stop(seconds))
        until = loop.time() + min(_NEW, seconds)
        await asyncio.sleep(_LOOK)
        while calls.unread and loop.time() < until:  # noqa: ASYNC110 - what reads tells nobody
            await asyncio.sleep(_LOOK)

    async def ended(self) -> None:
        """Return when all calls have ended."""
        await self.leave(0.0)
        await (self._ending or self._server.stop(None))

    def _break_off(self) -> None:
        if self._calls:
            self._calls.broken_off = True
