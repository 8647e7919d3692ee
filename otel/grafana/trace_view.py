"""The dashboard `trace`: from a record to its trace and back, for those who may not open Explore."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from otel.grafana import panels, variables
from otel.grafana.logql import KEPT, RECORDS
from otel.grafana.panels import Column

_RECORD = (
    Column("prediction_label", "Label", width=110),
    Column("prediction_confidence", "Confidence", "percentunit", width=100),
    Column("prediction_outlier", "Outlier", width=80),
    Column("error_type", "Error", width=140),
    Column("prediction_duration_total", "Total", "s", width=90),
    Column("prediction_kept", "Kept because", width=110),
    Column("k8s_pod_name", "Pod"),
    Column("prediction_job_id", "Job", link=panels.open_trace("var-job_id")),
    Column("prediction_index", "Row", width=60),
    Column("trace", "Trace", link=panels.open_trace("var-trace_id")),
)
_FEEDBACK = (
    Column("prediction_feedback_label", "Truly", width=110),
    Column("prediction_feedback_value", "Number", "short", width=90),
    Column("prediction_feedback_comment", "Comment"),
)


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    board = (
        dashboard.Dashboard("Trace")
        .uid("trace")
        .description(
            "A request's spans and records: give the trace id or the job id that its answer carried, or click on one."
        )
        .time("now-6h", "now")
        .variables(
            variables.variables(
                variables.text("trace_id", "Trace", "X-Trace-Id of an answer; its spans are there if they were kept."),
                variables.text("job_id", "Job", "job_id of an answer."),
            )
        )
    )
    board.with_panel(
        panels.trace(
            "Spans",
            "The trace of the box above, if spans of it were kept; a fresh one takes half a minute to show.",
            "${trace_id}",
        )
    )
    board.with_panel(
        panels.lines_of(
            "Records of the trace",
            "Every record with this trace id in the chosen time, each once; a caller's trace may have several jobs.",
            f'{RECORDS} | trace_id="$trace_id" | trace_id!="" {KEPT}',
        )
    )
    board.with_panel(
        panels.records(
            "Records of the job",
            "Every row of one request in the chosen time, and every feedback on them, which may come days later; each "
            "once, with the trace if a span was kept.",
            f'{RECORDS} | prediction_job_id="$job_id" | prediction_job_id!="" {KEPT}',
            (*_RECORD, *_FEEDBACK),
        )
    )
    return board.with_panel(
        panels.records(
            "Newest records with a trace",
            "The newest 200 records of which spans were kept, and why; a click on the trace shows it above.",
            f'{RECORDS} | event_name="prediction" | flags="1" {KEPT}',
            _RECORD,
        )
    )
