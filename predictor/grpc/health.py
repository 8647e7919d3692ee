"""`grpc.health.v1.Health`: what load balancers and Kubernetes ask, answered by what `/readyz` is answered by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from predictor.api.protobuf.infer import parsed
from predictor.api.protobuf.messages import SERVICE
from predictor.grpc.statuses import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.grpc.message_reader import MessageReader
    from predictor.grpc.streams import Streams

HEALTH = "grpc.health.v1.Health"
DESCRIPTOR = health_pb2.DESCRIPTOR
_SERVICES = ("", SERVICE, HEALTH)
"""The server as a whole, and what it serves."""
_LOOK = 0.5
"""Seconds between two looks for who watches; readiness tells nobody of a change."""


class HealthService:
    """Answers whether traffic should come."""

    def __init__(
        self, unready: Callable[[], str | None], reader: MessageReader, streams: Streams, *, deadline: float
    ) -> None:
        """Take what says why not, what reads messages, the places of streams, and the seconds for a message."""
        self._unready = unready
        self._reader = reader
        self._streams = streams
        self._deadline = deadline
        self._ended = asyncio.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what answers its methods."""
        check, watch = guarded(f"/{HEALTH}/Check", self._check), guarded(f"/{HEALTH}/Watch", self._watch)
        return grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": grpc.stream_unary_rpc_method_handler(check),
                "Watch": grpc.stream_stream_rpc_method_handler(watch),
            },
        )

    def end(self) -> None:
        """Say NOT_SERVING to who watches, and end with that: nobody is to hold the shutdown."""
        self._ended.set()

    async def _check(self, context: grpc.aio.ServicerContext) -> bytes:
        service = await self._service(context)
        if service not in _SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {service[:100]!r}")
        return _answer(self._status())

    async def _watch(self, context: grpc.aio.ServicerContext) -> None:
        await self._streams.enter(context)
        known = await self._service(context) in _SERVICES
        said = None
        while not self._ended.is_set():
            status = self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != said:
                said = status
                await context.write(_answer(status))
            try:
                async with asyncio.timeout(_LOOK):
                    await self._ended.wait()
            except TimeoutError:
                continue
        if known and said != health_pb2.HealthCheckResponse.NOT_SERVING:
            await context.write(_answer(health_pb2.HealthCheckResponse.NOT_SERVING))

    async def _service(self, context: grpc.aio.ServicerContext) -> str:
        """Return what a message asks after; raises Problem."""
        deadline = asyncio.get_running_loop().time() + self._deadline
        asked = parsed(health_pb2.HealthCheckRequest, await self._reader.read(context, deadline))
        service: str = asked.service
        return service

    def _status(self) -> Any:  # noqa: ANN401 - protobuf ships no types
        if self._ended.is_set() or self._unready():
            return health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse.SERVING


def _answer(status: Any) -> bytes:  # noqa: ANN401 - protobuf's
    found: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return found
