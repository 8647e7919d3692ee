"""`inference.GRPCInferenceService`: what each method means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from msgspec import structs

from predictor.api.dataplane import Pending
from predictor.api.problem_details import own_fault
from predictor.api.protobuf import messages
from predictor.api.protobuf.infer import id_of, parse, parsed
from predictor.api.slices import in_turns
from predictor.api.v2.metadata import ModelDocuments, server_fields
from predictor.api.v2.repository import RepositoryCalls
from predictor.core.problems import Kind, Problem
from predictor.grpc.calls import Answered
from predictor.grpc.statuses import guarded
from predictor.http.limits import FREE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.api.access import Access
    from predictor.api.catalog import Catalog
    from predictor.api.dataplane import DataPlane, InferRequest
    from predictor.api.protobuf.infer import InferMessages
    from predictor.api.v2.repository import Repository
    from predictor.core.memory_budget import MemoryBudget
    from predictor.grpc.calls import Call, Calls

    Unready = Callable[[], str | None]


class InferenceService:
    """Its methods, over the models that are served."""

    def __init__(
        self,
        calls: Calls,
        plane: DataPlane,
        catalog: Catalog,
        repository: Repository,
        access: Access,
        memory: MemoryBudget,
        unready: Unready,
    ) -> None:
        """Take what surrounds calls, and what HTTP's are answered from too; `unready` says why no call should come."""
        self._calls = calls
        self._plane = plane
        self._catalog = catalog
        self._access = access
        self._memory = memory
        self._unready = unready
        self._documents = ModelDocuments(catalog, unready)
        self._repository = RepositoryCalls(repository)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what answers its methods; to any other gRPC answers UNIMPLEMENTED."""
        told = {
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        found = {name: self._calls.handler(_path(name), meaning) for name, meaning in told.items()}
        found["ModelInfer"] = self._calls.handler(_path("ModelInfer"), self._infer, predicts=True)
        found["ServerLive"] = _probe("ServerLive", lambda: messages.ServerLiveResponse(live=True))
        found["ServerReady"] = _probe(
            "ServerReady", lambda: messages.ServerReadyResponse(ready=self._unready() is None)
        )
        return grpc.method_handlers_generic_handler(messages.SERVICE, found)

    async def _infer(self, call: Call) -> Answered | Problem:
        self._access.check_caller(call.metadata, "POST", self._access.tokens)
        body = await self._calls.read(call)
        message = parse(body)
        size = len(body)
        del body  # the message has a copy of it
        served = self._catalog.find(message.model_name, message.model_version or None)
        if served is None:
            raise self._catalog.unknown(message.model_name, message.model_version or None)
        call.asked = structs.replace(call.asked, served=served)
        call.asked.origin.infer_id = id_of(message)
        served.hold()
        try:
            self._plane.admit(call.asked)
            codec = served.messages
            assert codec is not None  # noqa: S101 - tells mypy: gRPC is on
            codec.check(size)
            request = await _decoded(codec, message, size, call)
            del message
            reply = self._plane.begin(request, call.asked)
            if isinstance(reply, Pending):
                reply = await self._calls.settled(reply)
            job = reply.job
            if job is None:
                return reply.problem or own_fault()
            # From here on the share holds the answer and nothing of the request; one that does not fit is not made.
            answer = codec.encode(job) if call.share.fit(codec.answer_bytes(job)) else None
        finally:
            served.release()
        if answer is None or not call.share.fit(len(answer)):
            refusal = self._memory.refusal()
            refusal.recorded = True  # as answered
            raise refusal
        logged = [] if job.logged else [("x-prediction-logged", "false")]
        return Answered(answer, [("x-job-id", job.job_id), *logged])

    async def _server_metadata(self, _: Call) -> Answered:
        return _answered(messages.ServerMetadataResponse(**server_fields()))

    async def _model_metadata(self, call: Call) -> Answered:
        asked = parsed(messages.ModelMetadataRequest, await self._calls.read(call, query=True))
        return _answered(
            messages.ModelMetadataResponse(**self._documents.model_fields(asked.name, asked.version or None))
        )

    async def _model_ready(self, call: Call) -> Answered:
        asked = parsed(messages.ModelReadyRequest, await self._calls.read(call, query=True))
        self._documents.model_fields(asked.name, asked.version or None)
        return _answered(messages.ModelReadyResponse(ready=self._unready() is None))

    async def _index(self, call: Call) -> Answered:
        asked = await self._control(call, messages.RepositoryIndexRequest)
        return _answered(messages.RepositoryIndexResponse(models=self._repository.entries(ready=asked.ready)))

    async def _load(self, call: Call) -> Answered:
        asked = await self._control(call, messages.RepositoryModelLoadRequest)
        name = _named(asked)
        await self._repository.load_model(name, asked.parameters)
        return _answered(messages.RepositoryModelLoadResponse(model_name=name, isLoaded=True))

    async def _unload(self, call: Call) -> Answered:
        name = _named(await self._control(call, messages.RepositoryModelUnloadRequest))
        await self._repository.unload_model(name)
        return _answered(messages.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True))

    async def _control(self, call: Call, kind: Any) -> Any:  # noqa: ANN401 - protobuf ships no types
        """Return the message of a call that changes what is served; raises Problem."""
        self._access.check_control(call.metadata, "POST")
        return parsed(kind, await self._calls.read(call))


async def _decoded(codec: InferMessages, message: Any, size: int, call: Call) -> InferRequest | Problem:  # noqa: ANN401
    if size <= FREE_BYTES:
        return codec.decode(message)
    wanted = await in_turns(codec.decode_in_slices(message))
    if not isinstance(wanted, Problem):
        call.share.resize(max(size, wanted.held_bytes))
    return wanted


def _path(method: str) -> str:
    return f"/{messages.SERVICE}/{method}"


def _named(asked: Any) -> str:  # noqa: ANN401 - protobuf's
    """Return the model that Triton's clients name, or KServe's, whose name stands where Triton has the repository's."""
    name: str = asked.model_name or asked.repository_name
    if not name:
        raise Problem(Kind.INVALID_DATA, "no model is named; wanted model_name")
    return name


def _answered(message: Any) -> Answered:  # noqa: ANN401 - protobuf's
    return Answered(message.SerializeToString())


def _probe(name: str, answer: Callable[[], Any]) -> grpc.RpcMethodHandler:
    """Return the handler of a call without ids and traces: probes come often and mean nothing."""

    async def tell(_: grpc.aio.ServicerContext) -> bytes:
        found: bytes = answer().SerializeToString()
        return found

    return grpc.stream_unary_rpc_method_handler(guarded(_path(name), tell))
