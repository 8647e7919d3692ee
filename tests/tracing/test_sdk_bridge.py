"""Whom the sampler is not asked about."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider, sampling

from predictor.core import ids
from predictor.tracing.sdk_bridge import constant_answer, wanted_traces


class _Own(sampling.TraceIdRatioBased):
    """A sampler that looks like the SDK's, and is not."""


@pytest.mark.parametrize("ratio", [0.0, 1e-19, 0.05, 0.5, 1 - 1e-16, 1.0])
@pytest.mark.parametrize("parent_based", [False, True])
def test_a_ratio_is_asked_about_those_that_it_wants(ratio: float, *, parent_based: bool) -> None:
    """Of a ratio exactly those are asked about that the SDK's sampler takes, up to the last bit of the bound."""
    root = sampling.TraceIdRatioBased(ratio)
    sampler = sampling.ParentBasedTraceIdRatio(ratio) if parent_based else root
    near = [min(max(0, root.bound + step), root.TRACE_ID_LIMIT) for step in (-1, 0, 1)]
    drawn = [f"{number:032x}" for number in near] + [ids.trace_id() for _ in range(200)]
    wanted = [
        sampler.should_sample(None, int(trace_id, 16), "POST /predict").decision is sampling.Decision.RECORD_AND_SAMPLE
        for trace_id in drawn
    ]
    assert [wanted_traces(sampler)(trace_id) for trace_id in drawn] == wanted


@pytest.mark.parametrize(
    "sampler", [sampling.ALWAYS_ON, sampling.DEFAULT_ON, _Own(0.0), sampling.ParentBased(_Own(0.0))]
)
def test_any_other_sampler_is_asked(sampler: sampling.Sampler) -> None:
    """What a sampler that is not the SDK's ratio says is not guessed."""
    assert wanted_traces(sampler)(ids.trace_id())


@pytest.mark.parametrize("name", ["traceidratio", "parentbased_traceidratio"])
def test_a_ratio_by_the_environment_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The samplers that `OTEL_TRACES_SAMPLER` makes of a ratio are not asked about what they do not take."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    wanted = wanted_traces(TracerProvider(shutdown_on_exit=False).sampler)
    assert wanted("1".zfill(32))
    assert not wanted("f" * 32)


@pytest.mark.parametrize("sampler", [sampling.ALWAYS_ON, sampling.DEFAULT_ON])
def test_a_sampler_that_takes_all_is_asked_once(sampler: sampling.Sampler) -> None:
    """What such a sampler says of requests without a parent is the same for each, and known beforehand."""
    known = constant_answer(sampler)
    asked = sampler.should_sample(None, int(ids.trace_id(), 16), "POST /predict")
    assert known
    assert (known.decision, known.attributes, known.trace_state) == (
        asked.decision,
        asked.attributes,
        asked.trace_state,
    )


@pytest.mark.parametrize(
    "sampler",
    [
        sampling.ALWAYS_OFF,
        sampling.TraceIdRatioBased(1.0),
        sampling.ParentBased(_Own(1.0)),
        sampling.StaticSampler(sampling.Decision.RECORD_AND_SAMPLE),
    ],
)
def test_any_other_answer_may_depend_on_the_request(sampler: sampling.Sampler) -> None:
    """Of a sampler that is not the SDK's own for all requests nothing is known beforehand."""
    assert constant_answer(sampler) is None
