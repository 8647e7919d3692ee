"""Gives the SDK the ids of a request and the answer of its sampler, which is asked once."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from predictor.core import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry import trace
    from opentelemetry.util.types import Attributes

    from predictor.core.result import Origin

_ROOT_RATIO = re.compile(r"ParentBased\{root:TraceIdRatioBased\{([0-9.e+-]+)\},")
"""How the SDK describes a parent-based sampler with a ratio at its root; the ratio stands there with all its digits."""


class _Assigned(NamedTuple):
    trace_id: int
    span_id: int
    result: SamplingResult | None


_assigned: ContextVar[_Assigned | None] = ContextVar("assigned", default=None)


def assign_ids(origin: Origin) -> None:
    """Have the next server span of this context take a request's ids and sample."""
    _assigned.set(_Assigned(int(origin.trace_id, 16), int(origin.span_id, 16), origin.sample))


def constant_answer(sampler: Sampler) -> SamplingResult | None:
    """Return what `sampler` answers to every request without a parent; None if it depends on the request."""
    if sampler is ALWAYS_ON or sampler is DEFAULT_ON:
        return sampler.should_sample(Context(), 1, "")
    return None


def wanted_traces(sampler: Sampler) -> Callable[[str], bool]:
    """Return a test of trace ids: whether `sampler` must be asked about a request without a parent.

    Of a ratio the answer is mostly no, known from the trace id alone; asking costs as much as encoding half a record.
    """
    ratio = _ratio_of(sampler)
    if ratio is None or ratio.bound > ratio.TRACE_ID_LIMIT:
        return lambda _: True
    bound = f"{ratio.bound:016x}"
    return lambda trace_id: trace_id[16:] < bound


def _ratio_of(sampler: Sampler) -> TraceIdRatioBased | None:
    """Return the SDK's own ratio that decides about requests without a parent, or None if something else does."""
    if type(sampler) is TraceIdRatioBased:
        return sampler
    if type(sampler) is ParentBasedTraceIdRatio:  # of any other parent-based one the root may be of any type
        described: str = sampler.get_description()  # type: ignore[no-untyped-call] # the SDK's own
        if match := _ROOT_RATIO.match(described):
            return TraceIdRatioBased(float(match[1]))
    return None


class AssignedIds(IdGenerator):
    """Gives the SDK the ids that the request has already, then random ones."""

    def generate_trace_id(self) -> int:
        """Return the trace id that the request has."""
        assigned = _assigned.get()
        return assigned.trace_id if assigned else int(ids.trace_id(), 16)

    def generate_span_id(self) -> int:
        """Return the span id that the request has, once."""
        assigned = _assigned.get()
        if assigned is None:
            return int(ids.span_id(), 16)
        _assigned.set(None)  # the server span has it; spans under it draw their own
        return assigned.span_id


class AnsweredSampler(Sampler):
    """Repeats what the provider's own sampler answered when the request began; samples where nobody was asked."""

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
        assigned = _assigned.get()
        if assigned is None or assigned.result is None:
            return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, attributes, *more)
        # The span begins with the answer's attributes: those that it was given and the sampler's own.
        own: Mapping[str, Any] = assigned.result.attributes
        return SamplingResult(assigned.result.decision, {**(attributes or {}), **own}, assigned.result.trace_state)

    def get_description(self) -> str:
        """Return what the SDK may print."""
        return "the answer given when the request began"
