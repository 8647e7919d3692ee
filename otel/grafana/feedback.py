"""What feedback has said since: how much of the log it covers, and how right the models were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel.grafana import feedback_logql as logql
from otel.grafana import panels
from otel.grafana.logql import or_zero
from otel.grafana.panels import Column, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel

_LIMIT = (
    "Exact, copies or not, for up to 5,000 {0} (Loki's max_query_series); with more Loki refuses the query: take a "
    "sample of the jobs, or ask `predictor log score`, which has no limit."
)
_ROWS = _LIMIT.format("predictions and as many rows with feedback")
_JOIN = (
    "The chosen time must hold both the predictions and their feedback, which may come days later. A prediction counts "
    "for the model that made it, whichever served when feedback came. Of several labels of a row the latest counts, as "
    f"in `predictor log score`. {_ROWS}"
)
_RECORD = (
    Column("prediction_feedback_label", "Truly", width=140),
    Column("prediction_feedback_value", "Number", "short", width=100),
    Column("prediction_feedback_comment", "Comment"),
    Column("prediction_job_id", "Job", link=panels.open_trace("var-job_id"), width=320),
    Column("prediction_index", "Row", width=60),
)


def build() -> Iterator[Builder[Panel]]:
    """Yield the panels of the row."""
    yield panels.series(
        "Feedback by label",
        "Feedback at the time it came, by the true label; numbers and comments without a label apart. It is of all "
        f"models and versions: which one it speaks of, only the prediction knows. {_LIMIT.format('feedbacks a point')}",
        [Line(logql.OVER_TIME, "{{said}}")],
        "short",
    ).span(12)
    yield (
        panels.number(
            "Coverage",
            f"Share of the answered rows of which feedback says a label or a number. {_JOIN}",
            logql.COVERAGE,
            "percentunit",
        )
        .height(8)
        .span(6)
    )
    yield (
        panels.number(
            "Feedback without its prediction",
            "Rows of which feedback says a label or a number although no model answered them in the chosen time: "
            f"the prediction is older, failed, or the job id is mistyped. {_ROWS}",
            or_zero(logql.STRAY),
            yellow=1,
        )
        .height(8)
        .span(6)
    )
    yield (
        panels.streams(
            "Accuracy by model version",
            "Answered rows; the share of which feedback says a label or a number; how many have a true label; the "
            "share of those that were called by it. That speaks for all rows only if those with feedback are a fair "
            f"sample of them. {_JOIN}",
            {
                Column("predictions", "Predictions", "none"): logql.PREDICTIONS_OF_MODELS,
                Column("coverage", "Coverage", "percentunit"): logql.COVERAGE_OF_MODELS,
                Column("judged", "True label known", "none"): logql.JUDGED_OF_MODELS,
                Column("accuracy", "Accuracy", "percentunit"): logql.ACCURACY_OF_MODELS,
            },
            [
                Column("prediction_model_name", "Model"),
                Column("prediction_model_version", "Version"),
                Column("prediction_model_digest", "Digest"),
            ],
        )
        .height(8)
        .span(12)
    )
    yield (
        panels.matrix(
            "Confusion",
            f"Predictions by the label that was logged (rows, by model version) and the true one (columns). {_JOIN}",
            logql.CONFUSION,
            rows=Column("logged", "Logged"),
            columns=Column("truly", "Truly"),
        )
        .height(8)
        .span(12)
    )
    yield panels.records(
        "Newest feedback",
        "The newest 200 feedbacks of all models, each once, also those that a later one corrects; "
        "Job leads to what was predicted, if the chosen time holds it.",
        logql.FEEDBACK,
        _RECORD,
    )
