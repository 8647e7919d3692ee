"""Write predictors.json, the dashboard of what Prometheus scrapes: `python -m otel.prometheus.dashboard`.

It has a data source to choose, since the Prometheus and the Grafana are the cluster's. The file is committed, since
Grafana reads it; a test holds it to what is written here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableOption, VariableRefresh

from otel.grafana.panels import ref_id, time_series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.builders import timeseries
    from grafana_foundation_sdk.cog.builder import Builder

FOLDER = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
CALLS = 'http_server_request_duration_seconds_{part}{{otel_scope_name="predictor", namespace=~"$namespace"{more}}}'
GRPC_CALLS = 'rpc_server_call_duration_seconds_{part}{{otel_scope_name="predictor", namespace=~"$namespace"{more}}}'


class Chart(NamedTuple):
    """A panel of lines over time: what each is called, and its query."""

    title: str
    description: str
    unit: str
    lines: dict[str, str]


def calls(part: str, by: str, more: str = "", histogram: str = CALLS) -> str:
    """Return calls a second by some labels, of one part of the histogram."""
    return f"sum by ({by}) (rate({histogram.format(part=part, more=more)}[$__rate_interval]))"


def quantile(share: float) -> str:
    """Return how long predictions took, but for the slowest."""
    answered = calls("bucket", "http_route, le", ', http_route=~".*(predict|infer).*"')
    return f"histogram_quantile({share}, {answered})"


def grpc_quantile(share: float) -> str:
    """Return the same of predictions by gRPC."""
    answered = calls("bucket", "rpc_method, le", ', rpc_method=~".*ModelInfer"', GRPC_CALLS)
    return f"histogram_quantile({share}, {answered})"


def value(name: str) -> str:
    """Return a metric of the chosen namespaces."""
    return f'{name}{{namespace=~"$namespace"}}'


def rate(name: str, by: str) -> str:
    """Return how fast a counter rises by some labels."""
    return f"sum by ({by}) (rate({value(name)}[$__rate_interval]))"


MODEL = "prediction_model_name, prediction_model_version"
NAMED = "{{prediction_model_name}}@{{prediction_model_version}}"
BATCHES = rate("predictor_model_batches_total", MODEL)
INFERENCE = rate("predictor_model_inference_time_seconds_total", MODEL)

CHARTS = {
    "Calls": (
        Chart(
            "Calls",
            "Answered calls by path and status, by gRPC by method and status; probes are not among them.",
            "reqps",
            {
                "{{http_route}} {{http_response_status_code}}": calls("count", "http_route, http_response_status_code"),
                "{{rpc_method}} {{rpc_response_status_code}}": calls(
                    "count", "rpc_method, rpc_response_status_code", histogram=GRPC_CALLS
                ),
            },
        ),
        Chart(
            "Duration of predictions",
            "Half of the answers were faster than the first line of their path, 99 of a hundred than the second.",
            "s",
            {
                "{{http_route}} median": quantile(0.5),
                "{{http_route}} 99 %": quantile(0.99),
                "{{rpc_method}} median": grpc_quantile(0.5),
                "{{rpc_method}} 99 %": grpc_quantile(0.99),
            },
        ),
        Chart(
            "Refused by reason",
            "Calls that were answered with a problem, by its word; docs/http.md says what each means.",
            "reqps",
            {"{{error_type}}": f"{rate('predictor_request_refused_total', 'error_type')} > 0"},
        ),
    ),
    "Models": (
        Chart("Rows", "Rows that have run.", "rowsps", {NAMED: rate("predictor_model_rows_total", MODEL)}),
        Chart(
            "Rows of a batch",
            "The mean size of a batch: what came while another ran.",
            "short",
            {NAMED: f"{rate('predictor_model_rows_total', MODEL)} / {BATCHES}"},
        ),
        Chart("Inference", "The mean time of a batch in the model.", "s", {NAMED: f"{INFERENCE} / {BATCHES}"}),
        Chart("Cores at work", "Batches that run at once, on average.", "short", {NAMED: INFERENCE}),
        Chart(
            "Queue",
            "Rows that wait, at most 4096 a process and model (PREDICTOR_QUEUE_ROWS).",
            "short",
            {f"{{{{pod}}}} {NAMED}": f"{value('predictor_model_queue')}"},
        ),
    ),
    "Log": (
        Chart(
            "Outbox in use",
            "The outbox's share of PREDICTOR_OUTBOX_BYTES; when it is full, predictions are refused.",
            "percentunit",
            {"{{pod}}": f"{value('predictor_outbox_size_bytes')} / {value('predictor_outbox_limit_bytes')}"},
        ),
        Chart(
            "Backlog",
            "Bytes that the sink has not accepted.",
            "bytes",
            {"{{pod}}": value("predictor_outbox_backlog_bytes")},
        ),
        Chart(
            "Oldest pending",
            "The age of the oldest record that the sink has not accepted.",
            "s",
            {"{{pod}}": value("predictor_outbox_age_seconds")},
        ),
        Chart(
            "Records",
            "Records that were written and that the sink accepted, all processes together.",
            "cps",
            {
                "written": rate("predictor_log_records_total", "namespace"),
                "accepted": rate("predictor_log_shipped_total", "namespace"),
            },
        ),
        Chart(
            "Lost and rejected",
            "Records that were declared lost, that the sink rejected, and refusals without a record, since each start.",
            "short",
            {
                "{{pod}} lost": value("predictor_log_lost_total"),
                "{{pod}} rejected": value("predictor_log_refused_total"),
                "{{pod}} unrecorded": value("predictor_log_unrecorded_total"),
            },
        ),
        Chart(
            "Failed requests to the sink",
            "Requests to the sink that failed and are sent again.",
            "reqps",
            {"{{pod}}": rate("predictor_log_retried_total", "pod")},
        ),
    ),
}
"""By the row that they stand in."""


def panel(chart: Chart) -> timeseries.Panel:
    """Return a chart as a panel."""
    made = time_series(chart.title, chart.description, chart.unit, SOURCE).min(0)
    for place, (legend, query) in enumerate(chart.lines.items()):
        target = prometheus.Dataquery().expr(query).legend_format(legend).range().ref_id(ref_id(place))
        made.with_target(target.datasource(SOURCE))
    return made


def variables() -> Iterator[Builder[Any]]:
    """Yield what the reader chooses."""
    yield (
        dashboard.DatasourceVariable("datasource")
        .label("Prometheus")
        .description("The Prometheus that scrapes the servers.")
        .type("prometheus")
    )
    yield (
        dashboard.QueryVariable("namespace")
        .label("Namespace")
        .description("The servers' Kubernetes namespaces.")
        .query("label_values(predictor_outbox_size_bytes, namespace)")
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )


def build() -> str:
    """Return the dashboard as JSON."""
    board = (
        dashboard.Dashboard("Predictors")
        .uid("predictors")
        .description("What Prometheus scrapes of the servers; whether the log is whole says Log health.")
        .tags(["prediction-log"])
        .time("now-1h", "now")
        .refresh("1m")
        .timezone("browser")
        .readonly()
        .variables([*variables()])
    )
    for row, charts in CHARTS.items():
        board.with_row(dashboard.Row(row))
        for chart in charts:
            board.with_panel(panel(chart))
    built = board.build()
    for number, each in enumerate(built.panels or [], start=1):
        each.id_val = number
    return f"{json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)}\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if sys.argv[1:] else FOLDER / "predictors.json").write_text(build(), encoding="utf-8")
