"""The dashboard `predictions`: what the models answer, how sure they are, how fast, on what, and how right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard

from otel.grafana import features, feedback, panels, variables
from otel.grafana.logql import (
    ATTEMPTS,
    COPIES,
    KEPT,
    OUTLIER_SHARE,
    PREDICTIONS,
    count,
    events,
    extreme,
    or_zero,
    quantile,
)
from otel.grafana.panels import LOKI, Column, Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel

    from otel.grafana.known import Known

_DURATIONS = {
    "total": "from the arrival of the request to the writing of the record",
    "queue": "from the arrival to the start of the batch",
    "inference": "that the batch ran",
}
_TABLE = (
    Column("prediction_label", "Label", width=110),
    Column("prediction_confidence", "Confidence", "percentunit", width=100),
    Column("prediction_outlier", "Outlier", width=80),
    Column("prediction_outlier_score", "Score", "short", width=90),
    Column("prediction_duration_total", "Total", "s", width=90),
    Column("prediction_duration_queue", "Queue", "s", width=90),
    Column("prediction_duration_inference", "Inference", "s", width=90),
    Column("error_type", "Error", width=140),
    Column("prediction_model_name", "Model", width=90),
    Column("prediction_model_version", "Version", width=110),
    Column("prediction_job_id", "Job", link=panels.open_trace("var-job_id")),
    Column("prediction_index", "Row", width=60),
    Column("trace", "Trace", link=panels.open_trace("var-trace_id")),
)


def build(models: Sequence[Known]) -> dashboard.Dashboard:
    """Return the dashboard; the models that are known fill the lists and have a row of features each."""
    board = (
        dashboard.Dashboard("Predictions")
        .uid("predictions")
        .description("What the models answer, how sure they are, how fast, on what, and how right; from the log alone.")
        .time("now-30m", "now")
        .refresh("30s")
        .annotation(_starts())
        .variables(
            variables.variables(
                variables.choice("model", "Model", "Any other name can be typed.", [m.name for m in models]),
                variables.choice("version", "Version", "Any other version can be typed.", [m.version for m in models]),
                variables.choice(
                    "label", "Label", "Of answers; failures have none.", [la for m in models for la in m.labels]
                ),
                variables.number(),
                variables.sample(),
            )
        )
    )
    for panel in (*_numbers(), *_answers(), *_latencies()):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Numbers"))
    for panel in _values():
        board.with_panel(panel)
    for model in models:
        board.with_row(dashboard.Row(f"Features of {model.name} against its training range"))
        for panel in features.build(model):
            board.with_panel(panel)
    board.with_row(dashboard.Row("Feedback"))
    for panel in feedback.build():
        board.with_panel(panel)
    board.with_row(dashboard.Row("Records"))
    board.with_panel(_seen())
    return board.with_panel(
        panels.records(
            "Newest records",
            "The newest 200 predictions and failures, each once. "
            "Job leads to all records of the request; a trace is linked where a span was kept, and only there.",
            f'{ATTEMPTS} | prediction_label=~"$label" {KEPT}',
            _TABLE,
        ).height(14)
    )


def _numbers() -> Iterator[Builder[Panel]]:
    yield panels.number(
        "Predictions",
        f"Rows that were answered in the chosen time. {COPIES}",
        or_zero(count(PREDICTIONS)),
    )
    yield panels.number(
        "Failures",
        f"Rows and requests that were answered with an error, whatever label is chosen. {COPIES}",
        or_zero(count(f'{ATTEMPTS} | error_type!=""')),
        yellow=1,
    )
    yield panels.number(
        "Outliers",
        "Share of the answered rows that the detector calls outliers; nothing without a detector.",
        OUTLIER_SHARE.replace("RANGE", "$__range").replace("BY", "service_name"),
        "percentunit",
        yellow=0.1,
        red=0.3,
    )
    yield panels.number(
        "Median confidence",
        "Half of the answers were less sure than this.",
        quantile(0.5, "prediction_confidence").replace("$__auto", "$__range"),
        "percentunit",
    )
    yield panels.number(
        "99 % are faster than",
        "From the arrival of the request to the writing of its record.",
        quantile(0.99, "prediction_duration_total").replace("$__auto", "$__range"),
        "s",
        yellow=0.25,
        red=1,
    )
    yield panels.number(
        "Traces",
        "Different traces of which spans were kept: a sample, and outliers, errors and slow predictions.",
        or_zero(f'count(sum by (trace_id) (count_over_time({ATTEMPTS} | flags="1" [$__range])))'),
    )


def _answers() -> Iterator[Builder[Panel]]:
    yield panels.series(
        "Predictions by label",
        f"Answered rows a second. {COPIES}",
        [Line(f"sum by (prediction_label) (rate({PREDICTIONS} [$__auto]))", "{{prediction_label}}")],
        "cps",
    )
    yield panels.series(
        "Share of outliers",
        "Of the answered rows, by model; models without a detector are absent.",
        [
            Line(
                OUTLIER_SHARE.replace("RANGE", "$__auto").replace(
                    "BY", "prediction_model_name, prediction_model_version"
                ),
                "{{prediction_model_name}} {{prediction_model_version}}",
            )
        ],
        "percentunit",
    ).min(0)
    yield panels.series(
        "Failures by error",
        f"Failed rows and requests a second, by error.type, whatever label is chosen. {COPIES}",
        [Line(f'sum by (error_type) (rate({ATTEMPTS} | error_type!="" [$__auto]))', "{{error_type}}")],
        "cps",
    )


def _latencies() -> Iterator[Builder[Panel]]:
    yield panels.series(
        "Confidence",
        "The probability of the most probable class: the median, and what 5 % and 25 % of the answers stay below.",
        [Line(quantile(share, "prediction_confidence"), f"{share:.0%}") for share in (0.05, 0.25, 0.5)],
        "percentunit",
    ).span(6)
    for name, meaning in _DURATIONS.items():
        yield panels.series(
            f"Seconds: {name}",
            f"Seconds {meaning}, of answered rows; 50 %, 95 % and 99 % stay below.",
            [Line(quantile(share, f"prediction_duration_{name}"), f"{share:.0%}") for share in (0.5, 0.95, 0.99)],
            "s",
        ).span(6)


def _values() -> Iterator[Builder[Panel]]:
    yield panels.series(
        "Numbers over time",
        "The number that the variable Number names: 5 %, 25 %, 50 %, 75 % and 95 % of the answers stay below. "
        "Answers without it are left out.",
        [Line(quantile(share, "$number"), f"{share:.0%}") for share in (0.05, 0.25, 0.5, 0.75, 0.95)],
        "short",
    ).span(12)
    by = ("prediction_model_name", "prediction_model_version")
    yield panels.series(
        "Median number by model version",
        "Half of the answers of a version are below its line: a new version that answers otherwise shows here.",
        [
            Line(
                quantile(0.5, "$number").replace("(service_name)", f"({', '.join(by)})"),
                "{{prediction_model_name}} {{prediction_model_version}}",
            )
        ],
        "short",
    ).span(6)
    yield panels.series(
        "Lowest and highest number",
        "The extremes of the number that the variable Number names.",
        [Line(extreme("max", "$number"), "highest"), Line(extreme("min", "$number"), "lowest")],
        "short",
    ).span(6)


def _seen() -> Builder[Panel]:
    by = "by (prediction_model_name, prediction_model_version, prediction_model_digest)"
    open_model = (
        "/d/predictions?var-model=${__value.raw}&${service:queryparam}&${namespace:queryparam}&${__url_time_range}"
    )
    return panels.streams(
        "Models",
        f"Every model with records in the chosen time; a click on its name shows it alone. {COPIES}",
        {Column("rows", "Records"): f"sum {by} (count_over_time({ATTEMPTS} [$__range]))"},
        [
            Column("prediction_model_name", "Model", link=open_model),
            Column("prediction_model_version", "Version"),
            Column("prediction_model_digest", "Digest"),
        ],
    ).height(6)


def _starts() -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name("Servers")
        .datasource(LOKI)
        .enable(enable=True)
        .icon_color("blue")
        .expr(events("opened", "closed"))
    )
