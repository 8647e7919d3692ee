"""The component prometheus: scraped where the server listens, and alerts that promtool tries on made-up series."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import Rule

from otel.prometheus import alerts, dashboard, grafana_rule
from predictor.api.protobuf import messages
from scripts.manifests import rendering
from tests.server.test_scrape_port import scrape, scraped
from tests.support.external_programs import promtool
from tests.support.grpc_client import ON, calling
from tests.support.rendered_manifests import combined, full, render, variables
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

FOLDER = ROOT / "kustomize" / "components" / "prometheus"
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["spec"]
CASES = (ROOT / "tests" / "deploy" / "alerts.yaml").read_text(encoding="utf-8")
BOARD: dict[str, Any] = json.loads((dashboard.FOLDER / "predictors.json").read_text(encoding="utf-8"))
GRAFANA: dict[str, Any] = yaml.safe_load((ROOT / alerts.GRAFANA).read_text(encoding="utf-8"))
NOT_OURS = {"up"}
"""Metrics that Prometheus makes itself."""


def names_in(expression: str) -> set[str]:
    """Return the metrics that an expression of PromQL reads."""
    return set(re.findall(r"\b(?:up|[a-z]+(?:_[a-z]+)+)(?=[{\[ ])", re.sub(r"\b\w+(?==~?\")", "", expression))) - {
        "histogram_quantile",
        "predict_linear",
    }


def drawn_queries() -> list[str]:
    """Return the queries of the dashboard, with values for Grafana's variables."""
    queries = [target["expr"] for each in BOARD["panels"] for target in each.get("targets", [])]
    return [query.replace("$namespace", ".*").replace("$__rate_interval", "2m") for query in queries]


@pytest.mark.parametrize("name", rendering.overlays())
def test_scraped_where_the_server_listens(name: str) -> None:
    """The PodMonitor selects the predictors and names the port that they listen on, at all addresses of the pod."""
    made = full(name)
    (monitor,) = made.kind("PodMonitor")
    pod = made.pod("predictor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= dict(pod.labels).items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (container,) = pod.spec["containers"]
    given = variables(container)
    assert pod.ports()[endpoint["port"]] == int(given["OTEL_EXPORTER_PROMETHEUS_PORT"])
    assert (given["OTEL_METRICS_EXPORTER"], given["OTEL_EXPORTER_PROMETHEUS_HOST"]) == ("prometheus", "0.0.0.0")
    job = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    assert f'up{{job="{job}"}}' in str(RULES), "the job that the operator makes of the monitor"


def test_nothing_is_scraped_without_the_component() -> None:
    """Without it the server has no port for metrics, and nobody is let in."""
    made = combined(("loki",))
    assert set(made.pod("predictor").ports().values()) == {8000}
    assert not made.kind("PodMonitor", "PrometheusRule")


async def test_alerts_read_what_the_server_tells(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric and label value of the rules is in a scrape, so that no rule waits for what never comes."""
    async with scraped(monkeypatch, outbox, **ON) as here, calling(here) as client:
        await here.get("/predict/test")
        await client.ask("ModelReady", messages.ModelReadyRequest(name="iris"))
        found = await scrape(here)
    samples = [sample for family in found.values() for sample in family.samples]
    there = {sample.name for sample in samples}
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    read = {name for rule in rules for name in names_in(rule["expr"])}
    drawn = {name for query in drawn_queries() for name in names_in(query)}
    assert len(read) >= 8
    assert drawn <= there
    histograms = ("http_server_request_duration", "rpc_server_call_duration")
    histogram = {f"{name}_seconds_{part}" for name in histograms for part in ("created", "sum")}
    assert drawn >= there - histogram - {"target_info"}, "each metric is drawn somewhere"
    assert read - NOT_OURS <= there
    said = {(label, value) for sample in samples for label, value in sample.labels.items()}
    for rule in rules:
        for label, value in re.findall(r'(\w+)="([^"]+)"', rule["expr"]):
            assert label == "job" or (label, value) in said, rule["alert"]
    (routes,) = {pattern for rule in rules for pattern in re.findall(r'http_route=~"([^"]+)"', rule["expr"])}
    calls = re.findall(r"^\| `(?:GET|POST) (/\S*)` \|", (ROOT / "docs" / "http.md").read_text(), re.MULTILINE)
    predicting = {call for call in calls if re.fullmatch(routes, call)}
    assert {"/predict", "/v2/models/{model}/infer", "/v1/models/{model}:predict"} <= predicting
    assert not {"/livez", "/metadata", "/v2/models/{model}", "/feedback"} & predicting


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Prometheus takes rules and queries, and each alert fires on the series that it is for, and on no others."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(RULES), encoding="utf-8")
    (tmp_path / "cases.yaml").write_text(CASES, encoding="utf-8")
    verify = FOLDER.parent / "verify" / "alerts.yaml"
    drawn = tmp_path / "drawn.yaml"
    recorded = [{"record": f"query:{at}", "expr": query} for at, query in enumerate(drawn_queries())]
    drawn.write_text(yaml.safe_dump({"groups": [{"name": "drawn", "rules": recorded}]}), encoding="utf-8")
    for command in (f"check rules {rules} {verify} {drawn}", f"test rules {tmp_path / 'cases.yaml'}"):
        done = subprocess.run([promtool(), *command.split()], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_what_the_generator_writes() -> None:
    """Nobody edits the JSON, nobody forgets to write it; each panel has a title of its own and says what it shows."""
    written = (dashboard.FOLDER / "predictors.json").read_text(encoding="utf-8")
    assert written == dashboard.build(), "run: python -m otel.prometheus.dashboard"
    panels = [each for each in BOARD["panels"] if each["type"] != "row"]
    assert len({each["title"] for each in panels}) == len(panels) >= 12
    assert all(each["description"].endswith(".") for each in panels)
    (found,) = [
        each for each in combined(("loki", "prometheus")).kind("ConfigMap") if "predictors.json" in each["data"]
    ]
    assert found["data"]["predictors.json"] == written
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_both_forms_of_the_alerts_are_written_from_one_table() -> None:
    """Nobody edits the PrometheusRule or Grafana's file, nobody forgets to write them."""
    for path, text in alerts.written().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, "run: python -m otel.prometheus.alerts"


def test_grafana_asks_what_prometheus_asks() -> None:
    """Each alert is one rule of Grafana's with the same expression, duration, severity and words."""
    ours = [(group["name"], rule) for group in RULES["groups"] for rule in group["rules"]]
    theirs = [(group["name"], rule) for group in GRAFANA["groups"] for rule in group["rules"]]
    assert len(ours) == len(theirs) == 8
    for (group, rule), (folded, made) in zip(ours, theirs, strict=True):
        assert (made["title"], folded) == (rule["alert"], group)
        assert made["data"][0]["model"]["expr"] == rule["expr"]
        assert (made["for"], made["labels"]) == (rule.get("for", "0s"), rule["labels"])
        assert made["annotations"].keys() == rule["annotations"].keys()
        for name, text in made["annotations"].items():
            assert re.sub(r"{{.*?}}", "", text) == re.sub(r"{{.*?}}", "", rule["annotations"][name])


def test_grafana_takes_the_rules() -> None:
    """Every rule has the fields and values of Grafana's provisioning, and fires for any series, one of value 0 too.

    The fields are those of AlertRuleGroupV1, AlertRuleV1 and QueryV1 in Grafana's pkg/services/provisioning/alerting.
    """
    assert GRAFANA["apiVersion"] == 1
    uids = []
    for group in GRAFANA["groups"]:
        assert group.keys() == {"orgId", "name", "folder", "interval", "rules"}
        for made in group["rules"]:
            known = {name: value for name, value in made.items() if name != "missing_series_evals_to_resolve"}
            again = json.loads(json.dumps(Rule.from_json(made), cls=JSONEncoder))
            assert again | known == again, "the SDK knows every field"
            assert (made["noDataState"], made["execErrState"]) == ("OK", "Error")
            query, every, firing = made["data"]
            assert query["datasourceUid"] == query["model"]["datasource"]["uid"] == grafana_rule.SOURCE
            assert query["model"]["instant"] is True
            names = [step["refId"] for step in made["data"]]
            assert names == [step["model"]["refId"] for step in made["data"]]
            assert set(re.findall(r"is_(\w+)\(\$(\w+)\)", every["model"]["expression"])) == {
                (kind, names[0]) for kind in ("number", "nan", "inf")
            }
            assert (firing["model"]["expression"], made["condition"]) == (names[1], names[2])
            (condition,) = firing["model"]["conditions"]
            assert condition["evaluator"] == {"type": "gt", "params": [0]}
            assert re.fullmatch(r"\d+[ms]", made["for"])
            for text in made["annotations"].values():
                assert "$" not in text, "would name a variable of the environment"
                for value in re.findall(r"{{ (.*?) }}", text):
                    assert re.fullmatch(r"\.Labels\.pod|humanize\w+ \.Values\.query\.Value", value)
            uids.append(made["uid"])
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)


def test_grafana_evaluates_instead_of_prometheus(tmp_path: Path) -> None:
    """The overlay of the component's README has the rules where a Grafana looks for them, and each alert once."""
    readme = (FOLDER.parent / "grafana-alerts" / "README.md").read_text(encoding="utf-8")
    (shown,) = (yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL))
    to_here = os.path.relpath(rendering.FOLDER, tmp_path.resolve())
    overlay = {
        "resources": [f"{to_here}/base"],
        "components": [f"{to_here}/components/{path.rpartition('/')[2]}" for path in ("loki", *shown["components"])],
        "patches": shown["patches"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    made = rendering.parsed(render(tmp_path))
    assert not [each for each in made if each["kind"] == "PrometheusRule"]
    (found,) = (each for each in made if each["metadata"].get("labels", {}).get("grafana_alert") == "1")
    assert found["metadata"]["namespace"] == "prediction-log"
    assert yaml.safe_load(found["data"]["predictor-alerts.yaml"]) == GRAFANA


def test_scaling_by_rows_in_the_queue(tmp_path: Path) -> None:
    """The patch in the component hpa replaces the CPU by the metric that the adapter makes of one in a scrape."""
    folder = FOLDER.parent / "hpa"
    adapter = yaml.safe_load((folder / "adapter.example.yaml").read_text(encoding="utf-8"))
    (rule,) = adapter["rules"]["custom"]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    (shown,) = (yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL))
    (patch,) = shown["patches"]
    (tmp_path / patch["path"]).write_text((folder / patch["path"]).read_text(encoding="utf-8"), encoding="utf-8")
    names = ["loki", *(path.rpartition("/")[2] for path in shown["components"])]
    to_here = os.path.relpath(rendering.FOLDER, tmp_path.resolve())
    overlay = {
        "resources": [f"{to_here}/base"],
        "components": [f"{to_here}/components/{name}" for name in names],
        "patches": [patch],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    made = rendering.parsed(render(tmp_path))
    (scaler,) = [each for each in made if each["kind"] == "HorizontalPodAutoscaler"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert scaler["spec"]["maxReplicas"] == 10
    series, _, selected = rule["seriesQuery"].partition("{")
    assert series in {name for query in drawn_queries() for name in names_in(query)}, "which are held to a scrape"
    query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", selected.rstrip("}"))
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": [{"record": "q", "expr": query}]}]}))
    done = subprocess.run(
        [promtool(), "check", "rules", rules], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_and_explained() -> None:
    """Each alert fires in some case, has a severity, and says in two sentences what it means and what to do."""
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert f'alertname="{rule["alert"]}", alertstate="firing"' in CASES, rule["alert"]
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"].keys() == {"summary", "description"}
