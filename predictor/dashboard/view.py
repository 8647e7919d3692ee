"""A prediction as the page shows it, without what `model.toml` keeps out of the log."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from predictor.core.grafana_links import link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.features import Feature
    from predictor.core.result import Prediction
    from predictor.inference.log_rules import OutputLog

MOST_FEATURES = 32
"""Of each row; a wide model's rows would make the stream wide too, and nobody reads a thousand plots."""
MOST_LABELS = 10
"""Of each row, the most probable ones."""


Value = float | int | bool | str | None


class Shown(msgspec.Struct, gc=False, omit_defaults=True):
    """One prediction as JSON; durations in seconds, the time in Unix milliseconds."""

    n: int
    """1, 2, 3 … since the start of this server."""
    job_id: str
    time: int
    route: str
    trace_id: str
    total: float
    index: int | None = None
    features: list[Value] | None = None
    """In the model's order, null where the value is not shown."""
    label: int | str | None = None
    """Its place among the labels, or the label itself where these are not known beforehand."""
    values: list[float] | None = None
    """What the model gives that is no probability, the first ones."""
    probabilities: list[tuple[int, float]] | None = None
    """Of labels by their index, the most probable first."""
    outlier: bool | None = None
    score: float | None = None
    queue: float | None = None
    inference: float | None = None
    batch: int | None = None
    error: str | None = None
    kept: str | None = None
    request_id: str | None = None
    link: str | None = None


class View:
    """How predictions of one model are shown."""

    def __init__(self, features: Sequence[Feature], grafana: str, outputs: OutputLog | None = None) -> None:
        """Take the model's features, the URL of a Grafana to link to, or "", and what is logged of its outputs."""
        self._answers = outputs is None or outputs.mode in {"keep", "round"}
        self._decimals = outputs.decimals if outputs and outputs.mode == "round" else None
        self._hidden = frozenset(place for place, feature in enumerate(features) if feature.log != "keep")
        self._most = min(len(features) or MOST_FEATURES, MOST_FEATURES)
        self._grafana = grafana

    def of(self, number: int, prediction: Prediction) -> Shown:
        """Return one prediction as it is shown."""
        p, origin = prediction, prediction.origin
        return Shown(
            number,
            p.job_id,
            origin.received_ns // 1_000_000,
            origin.route,
            origin.trace_id,
            p.total,
            index=p.index,
            features=None if p.features is None else self._values(p.features),
            label=p.label if self._answers else None,
            values=None if p.values is None or not self._answers else [*map(self._rounded, p.values[:MOST_LABELS])],
            probabilities=None
            if p.probabilities is None or not self._answers
            else self._probabilities(p.probabilities),
            outlier=p.outlier,
            score=None if p.score is None or not self._answers else self._rounded(p.score),
            queue=p.queue,
            inference=p.inference,
            batch=p.batch_size,
            error=p.error.word if p.error else None,
            kept=origin.kept,
            request_id=origin.request_id,
            link=link(self._grafana, origin.trace_id, p.job_id, origin.received_ns) if self._grafana else None,
        )

    def _probabilities(self, probabilities: list[float]) -> list[tuple[int, float]]:
        return [(label, self._rounded(value)) for label, value in _most_probable(probabilities)]

    def _rounded(self, value: float) -> float:
        return value if self._decimals is None else round(value, self._decimals)

    def _values(self, row: Sequence[Value]) -> list[Value]:
        head = row[: self._most]
        if not self._hidden:
            return list(head)
        return [None if place in self._hidden else value for place, value in enumerate(head)]


def _most_probable(probabilities: list[float]) -> list[tuple[int, float]]:
    return sorted(enumerate(probabilities), key=itemgetter(1), reverse=True)[:MOST_LABELS]  # faster than nlargest
