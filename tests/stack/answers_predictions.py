"""What the dashboards `predictions` and `trace` must answer to the planted records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.stack.answers import Answer, Asked, counts, figures, one, quantile, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.planting import Fact

_FEATURES = {
    "sepal_length": (4.3, 7.9),
    "sepal_width": (2.0, 4.4),
    "petal_length": (1.0, 6.9),
    "petal_width": (0.1, 2.4),
}
"""Of iris, with the lowest and highest value among the 100 flowers that it was trained on."""
_MODEL = ("prediction_model_name", "prediction_model_version")


def _outliers(*by: str) -> Callable[[Asked], Answer]:
    return lambda asked: figures(lambda values: sum(values) / len(values), "prediction_outlier", asked.answered(), *by)


def _rate(facts: list[Fact], asked: Asked, by: str) -> Answer:
    return {labels: many / asked.seconds for labels, many in counts(facts, by).items()}


def _feature(which: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    return lambda asked: which(asked) if asked.model in {None, "iris"} else {}


def _beyond(name: str) -> Callable[[Asked], Answer]:
    low, high = _FEATURES[name]

    def expect(asked: Asked) -> Answer:
        values = [fact.values.get(f"prediction_input_{name}", low) for fact in asked.answered()]
        many = sum(not low <= value <= high for value in values)
        return one(many) if many else {}

    return expect


def _extreme(which: Callable[[list[float]], float], name: str) -> Callable[[Asked], Answer]:
    return lambda asked: figures(which, f"prediction_input_{name}", asked.answered(), "service_name")


def _number(which: Callable[[list[float]], float]) -> Callable[[Asked], Answer]:
    return lambda asked: figures(which, "prediction_value", asked.answered(), "service_name")


def _median_by_version(asked: Asked) -> Answer:
    return figures(lambda values: float(np.median(values)), "prediction_value", asked.answered(), *_MODEL)


def _traces(asked: Asked) -> Answer:
    return one(len({fact.values["trace_id"] for fact in asked.attempts() if fact.values.get("flags") == 1}))


NUMBERS: dict[tuple[str, str, str], Callable[[Asked], Answer]] = {
    ("predictions", "Predictions", "A"): lambda asked: one(len(asked.answered())),
    ("predictions", "Failures", "A"): lambda asked: one(len(asked.failed())),
    ("predictions", "Outliers", "A"): _outliers("service_name"),
    ("predictions", "Median confidence", "A"): quantile(0.5, "prediction_confidence"),
    ("predictions", "99 % are faster than", "A"): quantile(0.99, "prediction_duration_total"),
    ("predictions", "Traces", "A"): _traces,
    ("predictions", "Predictions by label", "A"): lambda asked: _rate(asked.answered(), asked, "prediction_label"),
    ("predictions", "Share of outliers", "A"): _outliers(*_MODEL),
    ("predictions", "Failures by error", "A"): lambda asked: _rate(asked.failed(), asked, "error_type"),
    ("predictions", "Models", "A"): lambda asked: counts(asked.attempts(), *_MODEL, "prediction_model_digest"),
    **{
        ("predictions", "Confidence", ref): quantile(share, "prediction_confidence")
        for ref, share in (("A", 0.05), ("B", 0.25), ("C", 0.5))
    },
    **{
        ("predictions", "Numbers over time", ref): quantile(share, "prediction_value")
        for ref, share in (("A", 0.05), ("B", 0.25), ("C", 0.5), ("D", 0.75), ("E", 0.95))
    },
    ("predictions", "Median number by model version", "A"): _median_by_version,
    ("predictions", "Lowest and highest number", "A"): _number(max),
    ("predictions", "Lowest and highest number", "B"): _number(min),
    **{
        ("predictions", f"Seconds: {name}", ref): quantile(share, f"prediction_duration_{name}")
        for name in ("total", "queue", "inference")
        for ref, share in (("A", 0.5), ("B", 0.95), ("C", 0.99))
    },
    **{
        ("predictions", name, ref): _feature(which)
        for name in _FEATURES
        for ref, which in (
            ("A", _extreme(max, name)),
            ("B", quantile(0.5, f"prediction_input_{name}")),
            ("C", _extreme(min, name)),
        )
    },
    **{
        ("predictions", "Rows of iris beyond the training range", ref): _beyond(name)
        for ref, name in zip("ABCD", _FEATURES, strict=True)
    },
}


def _newest(asked: Asked) -> list[Fact]:
    if asked.label:
        return asked.answered()
    return asked.attempts()


def _of_trace(asked: Asked) -> list[Fact]:
    return [fact for fact in asked.facts if fact.values.get("trace_id") == f"{6:032x}"]


def _of_job(asked: Asked) -> list[Fact]:
    return [fact for fact in asked.facts if fact.values.get("prediction_job_id", "").endswith("9000-000000000010")]


def _of_traces(asked: Asked) -> list[Fact]:
    return [fact for fact in asked.facts if fact.values.get("flags") == 1]


RECORDS: dict[tuple[str, str, str], Callable[[Asked], list[Fact]]] = {
    ("predictions", "Servers", "annotation"): lambda asked: [*asked.events("opened"), *asked.events("closed")],
    ("predictions", "Newest records", "A"): lambda asked: unique(_newest(asked)),
    ("trace", "Records of the trace", "A"): lambda asked: unique(_of_trace(asked)),
    ("trace", "Records of the job", "A"): lambda asked: unique(_of_job(asked)),
    ("trace", "Newest records with a trace", "A"): lambda asked: unique(_of_traces(asked)),
}
