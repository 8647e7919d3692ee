"""Streams of health and reflection, and calls that only ask: they keep nobody out, also who never says a word."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from predictor.api.protobuf import messages
from predictor.grpc import message_reader
from tests.api.test_open_inference import ROWS
from tests.support.grpc_client import ON, GrpcClient, calling, port_of, request
from tests.support.server import serve, until

if TYPE_CHECKING:
    from pathlib import Path

ONE = request("iris", {"features": ROWS[:1]})
INFER = "/inference.GRPCInferenceService/ModelInfer"
READY = "/inference.GRPCInferenceService/ModelReady"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SERVING = health_pb2.HealthCheckResponse(status="SERVING").SerializeToString()
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
ROOM = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB"}
"""For two messages at once."""
_PATIENCE = 20.0  # s


def watch(client: GrpcClient) -> Any:  # noqa: ANN401 - gRPC ships no types
    """Return a stream that watches the server as a whole."""
    return client.channel.unary_stream(WATCH)(b"", timeout=_PATIENCE)


async def first(stream: Any) -> bytes | grpc.StatusCode:  # noqa: ANN401 - gRPC's
    """Return the first message of a stream, or how it ended."""
    try:
        found: bytes = await stream.read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    return found


async def silent(client: GrpcClient, method: str, number: int) -> list[Any]:
    """Return calls that are begun and send no message."""
    calls = [client.channel.stream_unary(method)(timeout=_PATIENCE) for _ in range(number)]
    for call in calls:
        await call.wait_for_connection()
    return calls


async def test_streams_leave_room_for_calls(outbox: Path) -> None:
    """Who watches the health takes no place of a call; streams beyond their own places are refused with a sentence."""
    async with serve(outbox, PREDICTOR_CONNECTIONS="20", **ON) as here, calling(here) as client:
        streams = [watch(client) for _ in range(10)]  # of ten calls at once
        seen = [await first(stream) for stream in streams]
        assert (await client.infer(ONE)).message.model_name == "iris"
        assert (seen.count(SERVING), seen.count(FULL)) == (2, 8)
        refused = streams[seen.index(FULL)]
        assert "PREDICTOR_CONNECTIONS" in await refused.details()
        for stream in streams:
            stream.cancel()
        async with asyncio.timeout(_PATIENCE):
            while await first(watch(client)) == FULL:  # noqa: ASYNC110 - the server hears of it some time
                await asyncio.sleep(0.01)


async def test_silent_streams_leave_room_too(outbox: Path) -> None:
    """A stream counts from its beginning on, whether its caller says something or not."""
    async with serve(outbox, PREDICTOR_CONNECTIONS="20", **ON) as here, calling(here) as client:
        streams = [client.channel.stream_stream(path)(timeout=_PATIENCE) for path in (REFLECTION, WATCH, REFLECTION)]
        await until(lambda: any(stream.done() for stream in streams))
        ended = [await stream.code() for stream in streams if stream.done()]
        assert ended == [FULL]
        assert (await client.infer(ONE)).message.model_name == "iris"


async def test_silent_callers_of_health(outbox: Path) -> None:
    """A health check without a message ends at PREDICTOR_DEADLINE, as any other call does."""
    async with serve(outbox, PREDICTOR_DEADLINE="100ms", **ON) as here, calling(here) as client:
        for path in (CHECK, WATCH):
            call = client.channel.stream_unary(path)(timeout=_PATIENCE)
            with pytest.raises(grpc.aio.AioRpcError, match="did not arrive in time"):
                await call


async def test_silent_callers_of_reflection(outbox: Path) -> None:
    """A stream of reflection whose caller says nothing for PREDICTOR_IDLE ends, and so does one that is finished."""
    listed = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
    async with serve(outbox, PREDICTOR_IDLE="300ms", **ON) as here, calling(here) as client:
        stream = client.channel.stream_stream(REFLECTION)(timeout=_PATIENCE)
        await stream.write(listed)
        assert b"inference.GRPCInferenceService" in await stream.read()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
        stream = client.channel.stream_stream(REFLECTION)(iter([listed, listed]), timeout=_PATIENCE)
        assert len([message async for message in stream]) == 2


async def test_streams_do_not_hold_the_shutdown(outbox: Path) -> None:
    """A stream of reflection that is open ends with the server, long before PREDICTOR_DRAIN."""
    listed = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
    async with asyncio.timeout(_PATIENCE):
        async with serve(outbox, PREDICTOR_DRAIN="1h", PREDICTOR_IDLE="1h", **ON) as here:
            client = GrpcClient(port_of(here))
            stream = client.channel.stream_stream(REFLECTION)()
            await stream.write(listed)
            await stream.read()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
        await client.channel.close()


async def test_messages_that_only_ask_are_short(outbox: Path) -> None:
    """What only names something may have 64 KiB: its messages are nothing that a budget would know of."""
    long = "x" * 70_000
    asked = {
        CHECK: health_pb2.HealthCheckRequest(service=long),
        READY: messages.ModelReadyRequest(name=long),
        REFLECTION: reflection_pb2.ServerReflectionRequest(file_containing_symbol=long),
    }
    async with serve(outbox, **ON) as here, calling(here) as client:
        for path, message in asked.items():
            call = client.channel.stream_stream(path)(timeout=_PATIENCE)
            await call.write(message.SerializeToString())
            await call.done_writing()
            assert await first(call) is FULL
            assert await call.details() == "the message is larger than 65536 bytes"


async def test_who_only_asks_waits_behind_no_prediction(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes and calls about a model are answered while silent calls of predictions have all their turns."""
    monkeypatch.setattr(message_reader, "_SLOW", 60.0)
    iris = messages.ModelReadyRequest(name="iris")
    async with serve(outbox, **ROOM, **ON) as here, calling(here) as client:
        calls = await silent(client, INFER, 4)
        assert (await client.ask("ModelReady", iris)).message.ready
        assert (await client.ask("ModelMetadata", iris)).message.name == "iris"
        assert await client.channel.unary_unary(CHECK)(b"", timeout=_PATIENCE) == SERVING
        assert await first(watch(client)) == SERVING
        for call in calls:
            call.cancel()


async def test_a_prediction_waits_behind_nobody_who_only_asks(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent calls that need no token take no turn of a prediction's message."""
    for name in ("_SLOW", "_SLOW_QUERY"):
        monkeypatch.setattr(message_reader, name, 60.0)
    async with serve(outbox, **ROOM, **ON) as here, calling(here) as client:
        calls = [*await silent(client, READY, 4), *await silent(client, CHECK, 4)]
        assert (await client.infer(ONE)).message.model_name == "iris"
        for call in calls:
            call.cancel()


async def test_the_newest_waits_no_longer_than_for_one_that_is_silent(
    outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind many silent calls the newest gets the next turn: it does not wait until all of these have ended."""
    monkeypatch.setattr(message_reader, "_SLOW", 0.1)
    async with serve(outbox, **ROOM, **ON) as here, calling(here) as client:
        calls = await silent(client, INFER, 30)
        assert (await client.infer(ONE)).message.model_name == "iris"
        assert sum(call.done() for call in calls) < 15
        for call in calls:
            call.cancel()
