"""The data plane: admits, starts, refuses and accounts for every prediction, whichever door it came through.

A door (aiohttp's handlers, the fast lane, gRPC) opens a request with `open`, may `admit` it before its body has come,
gives `begin` what a codec decoded, and has the reply encoded by the same codec. Nothing here is a coroutine: a task for
each request would cost more than its prediction.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgspec

from predictor.api.problem_details import problem_of
from predictor.core.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from predictor.api.answers import Answer
    from predictor.api.json_body import BodyHead
    from predictor.api.slices import Slices
    from predictor.core.problems import Kind
    from predictor.core.result import Origin, Rows, Tensors
    from predictor.serving.job import Job
    from predictor.serving.pipeline import Pipeline
    from predictor.tracing.tracer import Tracer

    CallKey = tuple[str, str]
    """Method and path of a call, as the table of calls has them."""
    Measure = Callable[[float, str, str, int], None]
    MeasureCall = Callable[[float, str, str], None]

_VALUE = 32
"""Bytes of one number as an object of Python, with its place in a list."""
_logger = logging.getLogger("predictor")


class InferRequest(msgspec.Struct, frozen=True, gc=False):
    """What a caller wants predicted, whatever form it came in."""

    rows: Rows
    """The values of the features, a list a row; empty for a model that takes tensors."""
    tensors: Tensors | None = None
    """The same as arrays by the names of the inputs, as `TensorRequests` has checked them; they are not copied."""
    size: int = 0
    """How many rows the tensors are; not needed without them."""
    id: str | None = None
    """`prediction.id` of its records."""
    own_outputs: bool = False
    """Whether `Job.outputs` shall have the file's own outputs; for a model that takes tensors it has them always."""
    form: Any = None
    """What the codec has to know once more when it encodes the answer: `Job.form`."""

    @property
    def held_bytes(self) -> int:
        """Bytes that rows or tensors hold if their values are numbers, about; texts are as long as their body."""
        arrays = sum(each.nbytes for each in self.tensors.values()) if self.tensors else 0
        return _VALUE * sum(map(len, self.rows)) + arrays


class Codec(Protocol):
    """What one form of a call means; knows HTTP's bodies and headers, but no socket."""

    takes_body: bool
    body_bytes: int
    """The largest body, after decompression."""

    def check(self, head: BodyHead) -> None:
        """Refuse a body by what its head declares; raises Problem."""

    def decode(self, head: BodyHead, body: bytes) -> InferRequest | Problem:
        """Return what is wanted."""

    def decode_in_slices(self, head: BodyHead, body: bytes) -> Slices[InferRequest | Problem]:
        """Return the same, slice by slice, of a large body."""

    def encode(self, reply: Reply) -> Answer:
        """Return what is answered."""


class ServingVersion(Protocol):
    """What a request needs of the model version that it belongs to."""

    @property
    def pipeline(self) -> Pipeline:
        """What predicts and logs."""

    @property
    def codecs(self) -> Mapping[CallKey, Codec]:
        """How its calls are read and answered; a model may lack some of them."""

    @property
    def refused(self) -> Callable[[Origin, Kind], None] | None:
        """What records a request whose rows were never known."""

    def hold(self) -> None:
        """Keep it open for a request that the pipeline does not know yet."""

    def release(self) -> None:
        """End one `hold`."""


class RequestContext(msgspec.Struct, frozen=True):
    """One request on its way: its ids and sample, the path it asked for, its deadline on the loop's clock."""

    origin: Origin
    path: str
    deadline: float
    served: ServingVersion | None = None
    """The model version that it belongs to, from its validation to its record; None if it predicts nothing."""


class Reply(msgspec.Struct, frozen=True):
    """What became of a request: either its predictions are in `job`, or there is a `problem`."""

    context: RequestContext
    job: Job | None
    problem: Problem | None = None


class Pending:
    """A request that waits for its predictions. It lives on, to its record, when nobody calls back any more.

    The pipeline settles it like a future; `callback` is then called with the reply, once.
    """

    __slots__ = ("_plane", "_settled", "callback", "context", "job")

    def __init__(self, plane: DataPlane, context: RequestContext) -> None:
        """Be unsettled."""
        self._plane = plane
        self._settled = False
        self.callback: Callable[[Reply], None] | None = None
        self.context = context
        self.job: Job | None = None

    def done(self) -> bool:
        """Tell whether it is settled."""
        return self._settled

    def set_result(self, _: None) -> None:
        """Reply with the predictions."""
        self._settle(None)

    def set_exception(self, error: BaseException) -> None:
        """Reply with what went wrong."""
        self._settle(error)

    async def reply(self) -> Reply:
        """Return the reply, for doors whose callers have tasks; the request lives on if its task is cancelled."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def settle(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        self.callback = settle
        return await future

    def abandon(self) -> None:
        """Record at once that there will be no answer: PREDICTOR_DRAIN is over."""
        if not self._settled and self.job and self.context.served:
            self._settled, self.callback = True, None
            job, self.job = self.job, None
            self.context.served.pipeline.abandon(job)

    def _settle(self, error: BaseException | None) -> None:
        self._settled = True
        job, self.job = self.job, None  # no cycle is left for the collector to find
        callback, self.callback = self.callback, None
        reply = self._plane.settle(self.context, job, error)
        if callback is None:
            return
        try:
            callback(reply)
        except Exception:  # one answer that cannot be sent must not keep its batch-mates from theirs
            trace_id = self.context.origin.trace_id
            _logger.exception("an answer could not be sent", extra={"trace_id": trace_id})


class DataPlane:
    """Predictions of every model that is served, for any door."""

    def __init__(self, tracer: Tracer, *, deadline: float) -> None:
        """Take what gives ids; `deadline` is in seconds."""
        self.tracer = tracer
        self.measure: Measure | None = None
        """Called by HTTP's doors for every answered request: seconds, method, route, status."""
        self.measure_call: MeasureCall | None = None
        """The same of calls by gRPC: seconds, method, status."""
        self.refusals: dict[Kind, int] = {}
        """How many calls were answered with each problem."""
        self._deadline = deadline
        self.loop = asyncio.get_running_loop()

    def open(
        self,
        headers: Mapping[str, str],
        method: str,
        route: str,
        path: str | None = None,
        served: ServingVersion | None = None,
    ) -> RequestContext:
        """Draw the ids of a request, ask the sampler, and begin its deadline; `served` is what it wants predicted by.

        The door finds that in the catalog (`predictor.api.catalog`), in the same turn of the loop.
        """
        origin = self.tracer.begin(headers, method, route)
        return RequestContext(origin, route if path is None else path, self.loop.time() + self._deadline, served)

    def open_call(self, metadata: Mapping[str, str], method: str, within: float | None) -> RequestContext:
        """Do the same for a call by gRPC, whose message names the model later; it may take `within` seconds at most."""
        origin = self.tracer.begin(metadata, "", method)
        seconds = self._deadline if within is None else min(within, self._deadline)
        return RequestContext(origin, method, self.loop.time() + seconds)

    def admit(self, context: RequestContext) -> None:
        """Refuse a request before its body is read, when a refusal is cheapest; raises Problem."""
        served = context.served or _no_version()
        served.pipeline.admit()

    def begin(
        self, request: InferRequest | Problem, context: RequestContext, *, just_admitted: bool = False
    ) -> Reply | Pending:
        """Send a decoded request on its way; what could not be decoded is refused.

        Unless it was `just_admitted`, in this very turn of the loop, there must be room for it still.
        """
        if isinstance(request, Problem):
            context.origin.infer_id = request.infer_id
            return self.refuse(request, context)
        pending = Pending(self, context)
        try:
            context.origin.infer_id = request.id
            served = context.served or _no_version()
            pending.job = served.pipeline.start(
                context.origin, request, pending, context.deadline, just_admitted=just_admitted
            )
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            return self.refuse(error, context)
        return pending

    def refuse(self, error: Exception, context: RequestContext, *, predicts: bool = True) -> Reply:
        """Return the reply for an error; record the failure if the call predicts, and keep its trace."""
        origin = context.origin
        problem = problem_of(error, origin.route, origin.trace_id)
        self.refusals[problem.kind] = self.refusals.get(problem.kind, 0) + 1
        self.tracer.keep(origin, error=problem.kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR)
        served = context.served
        # Where the predictions have their records, only the answer failed: the log says one thing of a request.
        if predicts and served and served.refused and not (problem.recorded or origin.recorded):
            served.refused(origin, problem.kind)
        return Reply(context, None, problem)

    def settle(self, context: RequestContext, job: Job | None, error: BaseException | None) -> Reply:
        """Return the reply of a request that is done."""
        if job and context.served:
            context.served.pipeline.deadlines.discard(job)
        if error is None and job:
            return Reply(context, job)
        failure = error if isinstance(error, Exception) else RuntimeError("ended without an outcome")
        return self.refuse(failure, context)


def _no_version() -> NoReturn:
    msg = "a request that belongs to no model version predicts nothing"
    raise TypeError(msg)
