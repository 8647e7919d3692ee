"""The alert rules, one table for two programs: `python -m otel.prometheus.alerts` writes both files.

Prometheus gets a PrometheusRule, Grafana a file of provisioning with the same expressions. Both are committed, since
kustomize reads them; a test holds them to what is written here.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from otel.prometheus import grafana_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PROMETHEUS = "kustomize/components/prometheus/alerts.yaml"
GRAFANA = "otel/prometheus/grafana-alerts/predictor-alerts.yaml"
CALLS = 'http_server_request_duration_seconds_{part}{{otel_scope_name="predictor"{more}}}'
GRPC_CALLS = 'rpc_server_call_duration_seconds_{part}{{otel_scope_name="predictor"{more}}}'


class Alert(NamedTuple):
    """A rule: when it fires, for how long that must be so, and what a person is told."""

    name: str
    expr: str
    lasts: str
    severity: str
    summary: str
    description: str


def calls(part: str, http: str = "", grpc: str = "", by: str = "namespace") -> str:
    """Return calls a second by some labels, by HTTP and by gRPC, of one part of the histograms."""
    first = f"rate({CALLS.format(part=part, more=http)}[5m])"
    return f"sum by ({by}) ({first} or rate({GRPC_CALLS.format(part=part, more=grpc)}[5m]))"


ALERTS: Mapping[str, tuple[Alert, ...]] = {
    "prediction-log": (
        Alert(
            "PredictionLogNotShipping",
            "predictor_outbox_age_seconds > 300",
            "5m",
            "warning",
            "{{ $labels.pod }}: the oldest unshipped record is {{ $value | humanizeDuration }} old",
            "The sink does not take what comes; nothing is lost while the outbox has room. "
            "/readyz of the pod says why: shipping_problem.",
        ),
        Alert(
            "PredictionLogOutboxFilling",
            # Of an outbox that ships, since one without an endpoint is full by design; and not of the first megabytes.
            "predict_linear(predictor_outbox_size_bytes[1h], 4 * 3600) > predictor_outbox_limit_bytes "
            "and predictor_outbox_size_bytes > 0.2 * predictor_outbox_limit_bytes "
            "and predictor_outbox_age_seconds > 60",
            "10m",
            "warning",
            "{{ $labels.pod }}: the outbox is full within four hours",
            "Then predictions are refused (503 outbox-full), or lost with PREDICTOR_OUTBOX_FULL=lose. "
            "Mend the way to the sink, or give the outbox more room (PREDICTOR_OUTBOX_BYTES).",
        ),
        Alert(
            "PredictionLogOutboxFull",
            'increase(predictor_request_refused_total{error_type="outbox-full"}[5m]) > 0',
            "",
            "critical",
            "{{ $labels.pod }} refuses predictions that it could not log",
            "The outbox is full or its disk fails. /readyz of the pod says which.",
        ),
        Alert(
            "PredictionLogLost",
            "increase(predictor_log_lost_total[15m]) > 0",
            "",
            "critical",
            "{{ $labels.pod }} has declared records lost",
            "Answers went out with X-Prediction-Logged false, or files of the outbox are gone. "
            "`predictor log verify` names the numbers.",
        ),
        Alert(
            "PredictionLogRejected",
            "increase(predictor_log_refused_total[15m]) > 0",
            "",
            "warning",
            "{{ $labels.pod }}: the sink has rejected records",
            "They are kept in the outbox, in rejected/; `predictor log rejected` shows them with the sink's words.",
        ),
    ),
    "predictor": (
        Alert(
            "PredictorErrors",
            calls("count", ', http_response_status_code=~"5.."', ', error_type!=""') + f" / {calls('count')} > 0.01",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of all calls fail: 5xx, and by gRPC INTERNAL, UNAVAILABLE and the like",
            "predictor_request_refused_total says why, by error_type.",
        ),
        Alert(
            "PredictorSlow",
            "histogram_quantile(0.99, "
            + calls("bucket", ', http_route=~".*(predict|infer).*"', ', rpc_method=~".*ModelInfer"', "namespace, le")
            + ") > 0.25",
            "10m",
            "warning",
            "The slowest hundredth of the predictions takes {{ $value | humanizeDuration }} or more",
            "Rows that wait (predictor_model_queue) want more pods; inference that is slow by itself wants another "
            "model or more CPU.",
        ),
        Alert(
            "PredictorNotScraped",
            'up{job="prediction-log/predictor"} == 0 or absent(up{job="prediction-log/predictor"})',
            "10m",
            "warning",
            "No metrics of predictors come, so no other alert can",
            "The pod may be down, or the network policy prometheus-to-predictor does not name your Prometheus.",
        ),
    ),
}
"""By the group that they are evaluated in."""


def for_prometheus() -> dict[str, Any]:
    """Return the rules as an object of the Prometheus operator."""
    groups = []
    for group, alerts in ALERTS.items():
        rules = []
        for alert in alerts:
            rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expr}
            if alert.lasts:
                rule["for"] = alert.lasts
            rule["labels"] = {"severity": alert.severity}
            rule["annotations"] = {"summary": alert.summary, "description": alert.description}
            rules.append(rule)
        groups.append({"name": group, "rules": rules})
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "predictor", "labels": {"app.kubernetes.io/name": "predictor"}},
        "spec": {"groups": groups},
    }


def for_grafana() -> dict[str, Any]:
    """Return the rules as a file of Grafana's provisioning."""
    groups = [
        {
            "orgId": 1,
            "name": group,
            "folder": "Prediction log",
            "interval": "1m",
            "rules": [
                grafana_rule.rule(
                    title=alert.name,
                    uid=re.sub(r"(?<=[a-z])(?=[A-Z])", "-", alert.name).lower(),
                    expr=alert.expr,
                    lasts=alert.lasts or "0s",
                    labels={"severity": alert.severity},
                    annotations={"summary": alert.summary, "description": alert.description},
                )
                for alert in alerts
            ],
        }
        for group, alerts in ALERTS.items()
    ]
    return {"apiVersion": 1, "groups": groups}


class _Dumper(yaml.SafeDumper):
    """YAML with long texts folded, so that they are read like prose."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = ">" if len(text) > 90 else None  # noqa: PLR2004 - what fits on a line beside its key
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def written() -> dict[str, str]:
    """Return what stands in each file, by its path from the project's root."""
    head = "# Written by `python -m otel.prometheus.alerts`. "
    words = {
        PROMETHEUS: "Each rule's words say what to do; docs/operations.md has more.\n"
        "# tests/deploy/alerts.yaml tries each on made-up series.\n",
        GRAFANA: "The rules of the component prometheus for Grafana to evaluate;\n"
        f"# {grafana_rule.SOURCE} is the uid of the data source that is asked.\n",
    }
    made = {PROMETHEUS: for_prometheus(), GRAFANA: for_grafana()}
    return {
        path: head + words[path] + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)
        for path, content in made.items()
    }


if __name__ == "__main__":
    for path, text in written().items():
        (Path(sys.argv[1] if sys.argv[1:] else ROOT) / path).write_text(text, encoding="utf-8")
