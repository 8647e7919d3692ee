"""Builds the door of gRPC over the parts that HTTP's doors have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.body_size import MOST_BODY_BYTES
from predictor.grpc.calls import Calls
from predictor.grpc.credentials import credentials
from predictor.grpc.health import HealthService
from predictor.grpc.inference import InferenceService
from predictor.grpc.message_reader import message_readers
from predictor.grpc.reflection import ReflectionService
from predictor.grpc.server import GrpcServer
from predictor.grpc.streams import Streams
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

    def __init__(self, server: GrpcServer, settings: Settings, *, largest: int, calls: int) -> None:
        """Take the server, the settings, the length of its largest message, and how many calls there may be at once."""
        self._server = server
        self._settings = settings
        self._largest = largest
        self._most_calls = calls

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
        idle, readers, streams = self._settings.idle, message_readers(memory, self._largest), Streams(self._most_calls)
        calls = Calls(plane, memory, readers, idle=idle)
        service = InferenceService(calls, plane, models.catalog, models, access, memory, unready)
        health = HealthService(unready, readers.queries, streams, deadline=self._settings.deadline)
        await self._server.start(calls, service, health, ReflectionService(readers.reflection, streams, idle=idle))

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
    most = most_connections(settings.connections, 2)
    server = GrpcServer(largest=largest, idle=settings.idle, connections=most, shared_port=shared_port)
    assert settings.grpc_port is not None  # noqa: S101 - tells mypy: asked before
    server.open(hosts, settings.grpc_port, credentials(certificate) if certificate else None)
    return GrpcDoor(server, settings, largest=largest, calls=most)
