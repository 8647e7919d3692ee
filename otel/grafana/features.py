"""The values of a model's features over time, against what it saw in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common, dashboard
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode

from otel.grafana import panels
from otel.grafana.logql import COPIES, PREDICTIONS, extreme, quantile
from otel.grafana.panels import RED, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.builders import timeseries
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel

    from otel.grafana.known import Known


def build(model: Known) -> Iterator[Builder[Panel]]:
    """Yield a panel for each feature, and one for what is beyond the range."""
    own = f'{PREDICTIONS} | prediction_model_name="{model.name}"'
    for feature in model.features:
        column = f"prediction_input_{feature.name}"
        lines = [
            Line(extreme("max", column, own), "highest"),
            Line(quantile(0.5, column, own), "median"),
            Line(extreme("min", column, own), "lowest"),
        ]
        unit = "" if feature.unit == "1" else f" in {feature.unit}"
        if feature.trained is None:
            yield panels.series(f"{feature.name}", f"Values{unit} as received.", lines, "short").span(6)
            continue
        low, high = feature.trained
        about = f"Values{unit} as received; red is beyond what the model saw in training ({low:g} to {high:g})."
        yield _within(panels.series(f"{feature.name}", about, lines, "short").span(6), low, high)
    beyond = [
        Line(f"sum(count_over_time({own} | {name} < {low!r} or {name} > {high!r} [$__auto]))", feature.name)
        for feature in model.features
        if feature.trained is not None
        for name in [f"prediction_input_{feature.name}"]
        for low, high in [feature.trained]
    ]
    if beyond:
        yield panels.series(
            f"Rows of {model.name} beyond the training range",
            f"Answered rows with a value that is lower or higher than any in training, by feature. {COPIES}",
            beyond,
            "short",
        ).span(panels.WIDTH)


def _within(panel: timeseries.Panel, low: float, high: float) -> timeseries.Panel:
    """Show what lies below or above a range on a red ground."""
    steps = [Threshold(None, RED), Threshold(low, "transparent"), Threshold(high, RED)]
    return panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)).thresholds_style(
        common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.LINE_AND_AREA)
    )
