"""`grpc.health.v1.Health`: what load balancers and Kubernetes ask, answered by what `/readyz` is answered by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from predictor.api.protobuf.messages import SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HEALTH = "grpc.health.v1.Health"
DESCRIPTOR = health_pb2.DESCRIPTOR
_SERVICES = ("", SERVICE, HEALTH)
"""The server as a whole, and what it serves."""
_LOOK = 0.5
"""Seconds between two looks for who watches; readiness tells nobody of a change."""


class HealthService:
    """Answers whether traffic should come."""

    def __init__(self, unready: Callable[[], str | None]) -> None:
        """Take what says why not."""
        self._unready = unready
        self._ended = asyncio.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what answers its methods."""
        read, write = health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check, read, write),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch, read, write),
            },
        )

    def end(self) -> None:
        """Say NOT_SERVING to who watches, and end with that: nobody is to hold the shutdown."""
        self._ended.set()

    async def _check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: ANN401 - protobuf ships no types
        if request.service not in _SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r}")
        return health_pb2.HealthCheckResponse(status=self._status())

    async def _watch(self, request: Any, _: grpc.aio.ServicerContext) -> AsyncIterator[Any]:  # noqa: ANN401 - protobuf's
        known = request.service in _SERVICES
        said = None
        while not self._ended.is_set():
            status = self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != said:
                said = status
                yield health_pb2.HealthCheckResponse(status=status)
            try:
                async with asyncio.timeout(_LOOK):
                    await self._ended.wait()
            except TimeoutError:
                continue
        if known and said != health_pb2.HealthCheckResponse.NOT_SERVING:
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)

    def _status(self) -> Any:  # noqa: ANN401 - protobuf's
        if self._ended.is_set() or self._unready():
            return health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse.SERVING
