"""What was drawn for a request, handed to the SDK: its ids, and the answer of the sampler, which is asked once."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased

from predictor import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

    from predictor.prediction import Origin


class _Drawn(NamedTuple):
    trace_id: int
    span_id: int
    result: SamplingResult | None


_drawn: ContextVar[_Drawn | None] = ContextVar("drawn", default=None)


def hand_on(origin: Origin) -> None:
    """Have the next server span of this context take a request's ids and sample."""
    _drawn.set(_Drawn(int(origin.trace_id, 16), int(origin.span_id, 16), origin.sample))


def asks(sampler: Sampler) -> Callable[[str], bool]:
    """Return what tells whether `sampler` must be asked about a request without a parent, by its trace id.

    Of a ratio the answer is mostly no, known from the trace id alone; asking costs as much as encoding half a record.
    """
    root = getattr(sampler, "_root", sampler) if type(sampler) is ParentBased else sampler
    if type(root) is not TraceIdRatioBased or root.bound > root.TRACE_ID_LIMIT:
        return lambda _: True
    bound = f"{root.bound:016x}"
    return lambda trace_id: trace_id[16:] < bound


class DrawnIds(IdGenerator):
    """Gives the SDK the ids that were drawn for the request, then random ones."""

    def generate_trace_id(self) -> int:
        """Return the trace id that was drawn."""
        drawn = _drawn.get()
        return drawn.trace_id if drawn else int(ids.trace_id(), 16)

    def generate_span_id(self) -> int:
        """Return the span id that was drawn, once."""
        drawn = _drawn.get()
        if drawn is None:
            return int(ids.span_id(), 16)
        _drawn.set(None)  # the server span has it; spans under it draw their own
        return drawn.span_id


class Asked(Sampler):
    """Answers what the provider's own sampler answered when `begin` asked it, and yes where nobody asked."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: Attributes = None,
        *more: Any,  # noqa: ANN401 - links and trace state, handed on
    ) -> SamplingResult:
        """Answer for a span that begins."""
        drawn = _drawn.get()
        if drawn is None or drawn.result is None:
            return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, attributes, *more)
        # The span begins with the answer's attributes: those that it was given and the sampler's own.
        own: Mapping[str, Any] = drawn.result.attributes
        return SamplingResult(drawn.result.decision, {**(attributes or {}), **own}, drawn.result.trace_state)

    def get_description(self) -> str:
        """Return what the SDK may print."""
        return "the answer given when the request began"
