"""What surrounds a call by gRPC: ids and sample, its deadline, problems, the trace, what it holds of memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import grpc
import grpc.aio
from multidict import CIMultiDict

from predictor.api.answers import identify
from predictor.api.problem_details import own_fault
from predictor.grpc.statuses import guarded, refuse, status_of
from predictor.http.limits import FREE_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from predictor.api.answers import Headers
    from predictor.api.dataplane import DataPlane, Pending, Reply, RequestContext
    from predictor.core.memory_budget import MemoryBudget
    from predictor.core.problems import Problem
    from predictor.grpc.message_reader import MessageReaders

    Meaning = Callable[["Call"], Awaitable["Answered | Problem"]]

_OK, _CANCELLED, _LATE = "OK", "CANCELLED", "DEADLINE_EXCEEDED"


class Answered(NamedTuple):
    """A message that answers a call, and what is said beside it."""

    message: bytes
    metadata: Headers = []  # noqa: RUF012 - never changed


class Call:
    """One call on its way."""

    def __init__(self, context: grpc.aio.ServicerContext, plane: DataPlane, method: str, memory: MemoryBudget) -> None:
        """Take gRPC's context; `method` is `/service/method`."""
        self.context = context
        self.metadata: CIMultiDict[str] = CIMultiDict(
            (name, value) for name, value in context.invocation_metadata() if isinstance(value, str)
        )
        """What the caller says beside the message; bytes are left out."""
        self.asked: RequestContext = plane.open_call(self.metadata, method, context.time_remaining())
        self.share = memory.share(FREE_BYTES)
        """Of the memory: the message, then the answer until the caller has taken it."""
        self.taken: asyncio.TimerHandle | None = None

    def done(self, _: object) -> None:
        """Let go of what it holds: nothing of it is under way any more."""
        self.share.resize(0)
        if self.taken:
            self.taken.cancel()


class Calls:
    """Makes the handlers of calls, and knows which calls are under way."""

    def __init__(self, plane: DataPlane, memory: MemoryBudget, readers: MessageReaders, *, idle: float) -> None:
        """Take the data plane, the memory's budget, what reads messages, and the seconds in which answers are taken."""
        self._plane = plane
        self._memory = memory
        self._readers = readers
        self._idle = idle
        self.unread = 0
        """How many wait for their message."""
        self.broken_off = False
        """PREDICTOR_DRAIN is over: what waits gets no answer."""

    def handler(self, method: str, meaning: Meaning, *, predicts: bool = False) -> grpc.RpcMethodHandler:
        """Return the handler of a call with what surrounds it.

        To gRPC it is one of a stream of requests, which is the same on the wire: so the message is read when we say so.
        """

        async def handle(context: grpc.aio.ServicerContext) -> bytes:
            call = Call(context, self._plane, method, self._memory)
            context.add_done_callback(call.done)
            try:
                answer = await meaning(call)
            except asyncio.CancelledError:
                self._account(call, _LATE if context.time_remaining() == 0 else _CANCELLED)
                raise
            except Exception as error:  # noqa: BLE001 - every call gets an answer
                reply = self._plane.refuse(error, call.asked, predicts=predicts)
                answer = reply.problem or own_fault()
            return self._give(call, answer) if isinstance(answer, Answered) else await self._refuse(call, answer)

        return grpc.stream_unary_rpc_method_handler(guarded(method, handle))

    async def read(self, call: Call, *, query: bool = False) -> bytes:
        """Return the bytes of a call's message, which its share holds; raises Problem.

        Of a `query`, which anybody may make, the message is short, and waits behind no prediction.
        """
        reader = self._readers.queries if query else self._readers.inference
        self.unread += 1
        try:
            body = await reader.read(call.context, call.asked.deadline)
        finally:
            self.unread -= 1
        call.share.grow(len(body))
        return body

    async def settled(self, pending: Pending) -> Reply:
        """Return the reply of a request; one whose caller has gone lives on to its record."""
        try:
            return await pending.reply()
        except asyncio.CancelledError:
            if self.broken_off:
                pending.abandon()
            raise

    def _give(self, call: Call, answer: Answered) -> bytes:
        said = [(name.lower(), value) for name, value in answer.metadata]
        call.context.set_trailing_metadata(tuple(said + _identified(call)))
        self._account(call, _OK)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - tells mypy: a handler runs in one
        # gRPC waits as long as the caller does.
        call.taken = asyncio.get_running_loop().call_later(self._idle, task.cancel)
        return answer.message

    async def _refuse(self, call: Call, problem: Problem) -> NoReturn:
        self._account(call, status_of(problem)[0].name)
        call.share.resize(0)
        await refuse(call.context, problem, _identified(call))

    def _account(self, call: Call, status: str) -> None:
        origin, plane = call.asked.origin, self._plane
        if origin.kept and (spans := plane.tracer.call_spans):
            spans.write(origin, call.metadata, status)
        if plane.measure_call:
            plane.measure_call(origin.elapsed(), origin.route[1:], status)


def _identified(call: Call) -> Headers:
    said: Headers = []
    identify(said, call.asked.origin)
    return [(name.lower(), value) for name, value in said]
