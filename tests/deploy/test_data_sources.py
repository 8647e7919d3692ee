"""Grafana's data sources, the links between dashboards, and how all of it is mounted."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from predictor.server.otel_resource import resource
from tests.support.grafana_dashboards import BOARDS, FOLDER, ROOT, data_source, provisioned, variables

if TYPE_CHECKING:
    from collections.abc import Iterator


def links(value: Any) -> Iterator[str]:  # noqa: ANN401 - any part of a dashboard
    """Yield every URL in it."""
    if isinstance(value, dict):
        if isinstance(value.get("url"), str) and value["url"]:
            yield value["url"]
        for part in value.values():
            yield from links(part)
    elif isinstance(value, list):
        for part in value:
            yield from links(part)


def test_data_sources_exist() -> None:
    """Panels, queries and variables name data sources that are provisioned."""
    kinds = {each["uid"]: each["type"] for each in provisioned("datasources.yaml")["datasources"]}
    assert kinds == {"loki": "loki", "tempo": "tempo"}
    text = json.dumps(list(BOARDS.values()))
    references = re.findall(r'"datasource": \{"type": "(\w+)", "uid": "(\w+)"\}', text)
    assert references
    assert len(references) == text.count('"datasource":')
    assert all(kinds[uid] == kind for kind, uid in references)


def test_links_lead_somewhere() -> None:
    """A link names a dashboard that exists and variables that it has; only fields of records are put in."""
    found = [*links(list(BOARDS.values())), *links(data_source("loki")["jsonData"])]
    inner = [url for url in found if url.startswith("/d/")]
    assert len(inner) > len(BOARDS)
    for url in inner:
        parts = urlsplit(url)
        board = parts.path.removeprefix("/d/")
        for name, value in parse_qsl(parts.query.replace("${__url_time_range}", ""), keep_blank_values=True):
            if name.startswith("var-"):
                assert name.removeprefix("var-") in variables(board), url
                assert value == "${__value.raw}"
            else:
                assert name in {f"${{{each}:queryparam}}" for each in variables(board)}, url


def test_a_record_leads_to_its_trace() -> None:
    """The records' trace id opens Tempo; the label that queries make where a span was kept opens the dashboard."""
    in_explore, on_board = data_source("loki")["jsonData"]["derivedFields"]
    labels = ["prediction_trace_id_of_old", "trace_id", "trace", "traceparent"]
    assert [label for label in labels if re.search(in_explore["matcherRegex"], label)] == ["trace_id"]
    assert [label for label in labels if re.search(on_board["matcherRegex"], label)] == ["trace"]
    assert (in_explore["datasourceUid"], in_explore["url"]) == ("tempo", "${__value.raw}")
    assert in_explore["matcherType"] == on_board["matcherType"] == "label"
    assert on_board["url"] == "/d/trace?var-trace_id=${__value.raw}"


def test_a_trace_leads_to_its_records() -> None:
    """Tempo asks Loki by an attribute that every span has, in a range that has a length."""
    settings = data_source("tempo")["jsonData"]["tracesToLogsV2"]
    assert settings["datasourceUid"] == "loki"
    (tag,) = settings["tags"]
    assert tag == {"key": "service.name", "value": "service_name"}
    assert tag["key"] in resource().attributes
    assert settings["spanStartTimeShift"] == "-1m"
    assert settings["spanEndTimeShift"] == "1m"
    assert settings["filterByTraceID"] is True
    assert settings["query"] == '{${__tags}} | trace_id="${__span.traceId}"'


def test_config_maps_hold_every_file_and_can_be_applied() -> None:
    """Every dashboard is mounted, and a ConfigMap fits into the annotation that `kubectl apply` makes of it."""
    files = {
        each["name"]: each["files"]
        for each in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    }
    assert files["grafana-provisioning"] == ["datasources.yaml", "providers.yaml"]
    assert files["grafana-dashboards"] == [f"dashboards/{name}.json" for name in BOARDS]
    for paths in files.values():
        applied = json.dumps({path: (FOLDER / path).read_text() for path in paths})
        assert len(applied.encode()) < 230_000, "metadata.annotations takes 262,144 bytes"


def test_dashboards_are_read_where_they_are_mounted() -> None:
    """The provider reads the folder into which the deployments mount the dashboards."""
    (provider,) = provisioned("providers.yaml")["providers"]
    folder = provider["options"]["path"]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert any(f"otel/grafana/dashboards:{folder}:" in each for each in compose["services"]["grafana"]["volumes"])
    deployment = yaml.safe_load((ROOT / "kustomize" / "components" / "grafana" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "dashboards", "mountPath": folder, "readOnly": True} in container["volumeMounts"]
