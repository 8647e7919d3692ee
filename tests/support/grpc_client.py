"""A client of the gRPC port, made of gRPC's library and the published messages; and what it was answered."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import grpc.aio
import numpy as np
import pytest

from predictor.api.protobuf import messages
from predictor.server import app
from tests.support.inference_protocol import DTYPES, datatype, packed, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tests.support.server import Here, Server

ON = {"PREDICTOR_GRPC_PORT": "0"}
_FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the values of a datatype stand; the types that the tests' models have."""
_PATIENCE = 30.0  # s; the machine may be busy


class Answer(NamedTuple):
    """The message that was answered, and what was said behind it."""

    message: Any
    metadata: dict[str, str]


class Refusal(NamedTuple):
    """What came instead of an answer."""

    status: str
    text: str
    metadata: dict[str, str]


class GrpcClient:
    """Calls the methods of the inference service over one connection."""

    def __init__(self, port: int, credentials: grpc.ChannelCredentials | None = None) -> None:
        """Connect to a port of this machine at the first call."""
        place = f"127.0.0.1:{port}"
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
        self.channel = (
            grpc.aio.secure_channel(place, credentials, options)
            if credentials
            else grpc.aio.insecure_channel(place, options)
        )

    def begin(self, method: str, request: Any, **more: Any) -> Any:  # noqa: ANN401 - gRPC and protobuf ship no types
        """Return a call that has begun."""
        answer = getattr(messages, f"{method}Response")
        call = self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            lambda message: message.SerializeToString(),
            answer.FromString,
        )
        return call(request, **({"timeout": _PATIENCE} | more))

    async def ask(self, method: str, request: Any, **more: Any) -> Answer:  # noqa: ANN401 - gRPC's
        """Return the answer of a call."""
        call = self.begin(method, request, **more)
        return Answer(await call, dict(await call.trailing_metadata()))

    async def infer(self, request: Any, **more: Any) -> Answer:  # noqa: ANN401 - gRPC's
        """Return the answer of a `ModelInfer`."""
        return await self.ask("ModelInfer", request, **more)

    async def refused(self, request: Any, method: str = "ModelInfer", **more: Any) -> Refusal:  # noqa: ANN401 - gRPC's
        """Return what came of a call that must be refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(method, request, **more)
        error = caught.value
        return Refusal(error.code().name, error.details() or "", dict(error.trailing_metadata() or ()))


def port_said(server: Server) -> int:
    """Return where a server that is a process says that it speaks gRPC."""
    line = server.wait_for(lambda line: "speaks gRPC" in line)
    return int(line.partition(" speaks gRPC")[0].rpartition(":")[2])


def port_of(here: Here) -> int:
    """Return where a server in the test's own loop listens for gRPC."""
    return here.app[app.GRPC].places[0].port


@asynccontextmanager
async def calling(where: Here | int, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[GrpcClient]:
    """Have a client of a server, or of a port."""
    client = GrpcClient(where if isinstance(where, int) else port_of(where), credentials)
    async with client.channel:
        yield client


def request(model: str, inputs: Mapping[str, NDArray[Any]], *, raw: bool = True, **fields: Any) -> Any:  # noqa: ANN401
    """Return a `ModelInferRequest` whose data is bytes, or values."""
    message = messages.ModelInferRequest(model_name=model, **fields)
    for name, array in inputs.items():
        tensor = message.inputs.add(name=name, datatype=datatype(array), shape=array.shape)
        if raw:
            message.raw_input_contents.append(packed(array))
        else:
            values = [each.encode() if isinstance(each, str) else each for each in array.reshape(-1).tolist()]
            getattr(tensor.contents, _FIELDS[tensor.datatype]).extend(values)
    return message


def outputs(message: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - protobuf's
    """Return the outputs of a `ModelInferResponse`, which are all bytes or all values."""
    found: dict[str, NDArray[Any]] = {}
    for place, tensor in enumerate(message.outputs):
        kind = np.dtype(DTYPES[tensor.datatype])
        if message.raw_output_contents:
            assert not tensor.HasField("contents")
            data = message.raw_output_contents[place]
            values = np.array(texts(data), object) if kind.kind == "O" else np.frombuffer(data, kind)
        else:
            listed: Sequence[Any] = getattr(tensor.contents, _FIELDS[tensor.datatype])
            values = np.array([each.decode() if isinstance(each, bytes) else each for each in listed], kind)
        found[tensor.name] = values.reshape(tensor.shape)
    return found
