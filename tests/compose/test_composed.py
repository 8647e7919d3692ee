"""compose.yaml started by docker or podman: a prediction is in Loki, its trace in Tempo, and outages cost nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.external_programs import absent
from tests.support.server import ROW

if TYPE_CHECKING:
    from tests.compose.composed import Composed


def test_a_prediction_is_found_in_loki(composed: Composed) -> None:
    """What the server answered is in Loki under its job and its trace, through the Collector, which printed it too."""
    job_id, trace_id = composed.predict(ROW)
    entry = composed.stored(job_id)
    assert entry.labels["service_name"] == "predictor"
    assert (entry.metadata["trace_id"], entry.metadata["flags"]) == (trace_id, "1")
    assert entry.metadata["prediction_label"] == "virginica"
    assert composed.wait("collector", lambda: job_id in composed.printed("collector"))


def test_its_trace_is_found_in_tempo(composed: Composed) -> None:
    """Every request is traced, and Tempo has the spans of its trace."""
    if "tempo" not in composed.services:
        absent("tempo", "set TEMPO=/path/to/tempo, or have a registry that gives its image")
    _, trace_id = composed.predict(ROW)

    def spans() -> set[str]:
        batches = composed.get("tempo", f"/api/traces/{trace_id}").get("batches", [])
        return {span["name"] for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]}

    assert composed.wait("tempo", spans) == {"POST /predict", "predict", "queue", "inference"}


def test_services_are_healthy(composed: Composed) -> None:
    """Each health check is a program that the image has, and says that all is well."""
    if composed.engine.asks_by_shell:
        pytest.skip("podman-compose runs health checks by a shell before 1.5, and these images have none")
    for name in {"predictor", "loki", "tempo"} & {*composed.services}:
        composed.wait(name, partial(composed.engine.healthy, composed.container(name)))


def test_an_outage_is_bridged(composed: Composed) -> None:
    """While Loki is away predictions go on; what was answered meanwhile is there soon after it is back."""
    composed.compose("stop", "loki")
    job_id, _ = composed.predict(ROW)
    assert composed.wait("predictor", lambda: composed.get("predictor", "/readyz").get("shipping_problem"))
    composed.compose("start", "loki")
    assert composed.stored(job_id).metadata["prediction_job_id"] == job_id


def test_the_outbox_outlives_its_container(composed: Composed) -> None:
    """After `down` and `up` all is there: what Loki had, and what was answered while Loki was away."""
    before, _ = composed.predict(ROW)
    composed.stored(before)
    composed.compose("stop", "loki")
    kept, _ = composed.predict(ROW)
    composed.down()
    composed.up()
    for job_id in (before, kept):
        assert composed.stored(job_id).metadata["prediction_job_id"] == job_id


def test_grafana_has_the_dashboards(composed: Composed) -> None:
    """Whoever opens Grafana finds the dashboards without an account."""
    if "grafana" not in composed.services:
        absent("grafana", "have a registry that gives its image")
    boards = composed.wait("grafana", lambda: composed.get("grafana", "/api/search?type=dash-db"))
    assert {"predictions", "log-health", "trace"} <= {board["uid"] for board in boards}
