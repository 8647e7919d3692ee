"""Builds the door of gRPC over the parts that HTTP's doors have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.body_size import MOST_BODY_BYTES
from predictor.grpc.calls import Calls
from predictor.grpc.credentials import credentials
from predictor.grpc.health import HealthService
from predictor.grpc.inference import InferenceService
from predictor.grpc.message_reader import MessageReader
from predictor.grpc.server import GrpcServer
from predictor.http.limits import most_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.api.access import Access
    from predictor.api.dataplane import DataPlane
    from predictor.config.settings import Settings
    from predictor.core.memory_budget import MemoryBudget
    from predictor.http.listener import Place
    from predictor.http.tls import Certificate
    from predictor.server.model_service import ModelService


class GrpcDoor:
    """Listens, and from `start` on answers."""

    def __init__(self, server: GrpcServer, *, largest: int, idle: float) -> None:
        """Take the server, the length of its largest message, and the seconds in which an answer has to be taken."""
        self._server = server
        self._largest = largest
        self._idle = idle

    @property
    def places(self) -> list[Place]:
        """Where it listens."""
        return self._server.places

    async def start(
        self,
        plane: DataPlane,
        models: ModelService,
        access: Access,
        memory: MemoryBudget,
        unready: Callable[[], str | None],
    ) -> None:
        """Answer."""
        calls = Calls(plane, memory, MessageReader(memory, self._largest), idle=self._idle)
        service = InferenceService(calls, plane, models.catalog, models, access, memory, unready)
        await self._server.start(calls, service, HealthService(unready))

    async def leave(self, seconds: float) -> None:
        """Take no more calls; see `GrpcServer.leave`."""
        await self._server.leave(seconds)

    async def ended(self) -> None:
        """Return when all calls have ended."""
        await self._server.ended()


def listen(
    settings: Settings, hosts: Sequence[str], certificate: Certificate | None, largest: int, *, shared_port: bool
) -> GrpcDoor:
    """Listen at the hosts; raises OSError with a sentence. `largest` is the largest body of the models of the start."""
    if not settings.body_bytes:  # a model that comes later may have larger rows
        largest = max(largest, MOST_BODY_BYTES)
    server = GrpcServer(
        largest=largest,
        idle=settings.idle,
        connections=most_connections(settings.connections, 2),
        shared_port=shared_port,
    )
    assert settings.grpc_port is not None  # noqa: S101 - tells mypy: asked before
    server.open(hosts, settings.grpc_port, credentials(certificate) if certificate else None)
    return GrpcDoor(server, largest=largest, idle=settings.idle)
