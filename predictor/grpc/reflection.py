"""`grpc.reflection.v1alpha`: which services and messages there are, for clients that have no file of them.

The answers are those of gRPC's own library. It waits for a caller's next message for ever; here that has an end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from predictor.api.protobuf import messages
from predictor.api.protobuf.infer import parsed
from predictor.core.problems import Kind, Problem
from predictor.grpc import health
from predictor.grpc.statuses import guarded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from predictor.grpc.message_reader import MessageReader
    from predictor.grpc.streams import Streams

SERVICE: str = reflection.SERVICE_NAME
_METHOD = "ServerReflectionInfo"


class ReflectionService:
    """Describes what is served."""

    def __init__(self, reader: MessageReader, streams: Streams, *, idle: float) -> None:
        """Take what reads messages, the places of streams, and the seconds that a stream may be silent."""
        names = (messages.SERVICE, health.HEALTH, SERVICE)
        self._answers = reflection.aio.ReflectionServicer(names, pool=_described())
        self._reader = reader
        self._streams = streams
        self._idle = idle

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what answers its method."""
        info = guarded(f"/{SERVICE}/{_METHOD}", self._info)
        return grpc.method_handlers_generic_handler(SERVICE, {_METHOD: grpc.stream_stream_rpc_method_handler(info)})

    def end(self) -> None:
        """End the streams that are silent: nobody is to hold the shutdown."""
        self._reader.close()

    async def _info(self, context: grpc.aio.ServicerContext) -> None:
        await self._streams.enter(context)
        async for answer in self._answers.ServerReflectionInfo(self._asked(context), context):
            await context.write(answer.SerializeToString())

    async def _asked(self, context: grpc.aio.ServicerContext) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                message = await self._reader.next(context, loop.time() + self._idle)
            except Problem as problem:
                if problem.kind is Kind.DEADLINE_EXCEEDED:  # silent for long: an end as good as the caller's own
                    return
                raise
            if message is None:
                return
            yield parsed(reflection_pb2.ServerReflectionRequest, message)


def _described() -> descriptor_pool.DescriptorPool:
    """Return the messages of all services."""
    pool = descriptor_pool.DescriptorPool()
    for file in (messages.POOL.FindFileByName(messages.FILE), health.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(file.serialized_pb)
    return pool
