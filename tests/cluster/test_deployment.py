"""What `kubectl apply -k` gives: predictions through the Service, records in the Collector's log and in Loki."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.client import Client
from tests.cluster.conftest import need
from tests.cluster.kubectl import KubectlError, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.evidence import Since
    from tests.cluster.kubectl import Kubectl

_FEW = 50  # rows
_OUTLIER = {"data": [[50.0, 40.0, 30.0, 20.0]]}  # kept by every sampler


def test_records_are_in_the_collectors_log_and_in_loki(kubectl: Kubectl, since: Since, tmp_path: Path) -> None:
    """Every prediction that the Service has answered shows in `kubectl logs` of the Collector and is stored in Loki."""
    begun = datetime.now(UTC).isoformat()
    seen = tmp_path / "collector.log"
    follow = ["logs", "--selector=app.kubernetes.io/name=collector", "--follow", f"--since-time={begun}"]
    command = ["kubectl", f"--namespace={kubectl.namespace}", *follow, "--max-log-requests=100", "--tail=-1"]
    with Client(kubectl, clients=1) as client, seen.open("w") as log:
        # Followed from before the first one: a file that rotates away in between is read all the same.
        with subprocess.Popen(command, stdout=log) as process:
            try:
                client.more(_FEW)
                ledger = client.settle()
                jobs = {job for job, _ in ledger.answers}
                until(lambda: not [job for job in jobs if job not in seen.read_text()], "every job in the log", 120)
            finally:
                process.terminate()
        trace, answer = client.ask("/predict/test/label")
    evidence = since.settle(ledger)
    assert (ledger.cut, ledger.refusals) == (0, {})
    assert set(evidence.streams) >= {str(pod["metadata"]["uid"]) for pod in kubectl.pods("predictor")}
    (line,) = until(lambda: [each for each in since.entries() if answer["job_id"] in each.line], "the last one", 60)
    assert line.metadata["trace_id"] == trace
    assert line.metadata["prediction_label"] == answer["prediction"]


def test_a_record_says_where_it_was_written(kubectl: Kubectl, since: Since) -> None:
    """Each record carries the pod, its uid, its node and its namespace, from the server's own resource."""
    with Client(kubectl, clients=1) as client:
        client.more(_FEW)
        since.settle(client.settle())
    pods: dict[str, str] = {}  # by process
    for pod in kubectl.pods("predictor"):
        uid = pod["metadata"]["uid"]
        mine = [each for each in since.entries() if each.metadata["k8s_pod_uid"] == uid]
        assert mine
        for entry in mine:
            assert entry.metadata["k8s_pod_name"] == pod["metadata"]["name"]
            assert entry.metadata["k8s_node_name"] == pod["spec"]["nodeName"]
            process = entry.labels["service_instance_id"]
            assert pods.setdefault(process, uid) == uid
            expected = {"service_name": "predictor", "k8s_namespace_name": kubectl.namespace}
            assert entry.labels == expected | {"service_instance_id": process}


def test_an_outlier_has_its_trace_in_tempo(kubectl: Kubectl) -> None:
    """A prediction that matters leads from its answer's trace id to its spans, whatever the sampler says."""
    need(kubectl, "tempo")
    with Client(kubectl, clients=0) as client:
        trace, answer = client.ask("/predict", _OUTLIER)
    assert answer["is_outlier"]
    spans = until(lambda: _trace(kubectl, trace), f"trace {trace} in Tempo", 120)
    assert "POST /predict" in json.dumps(spans)
    assert answer["job_id"] in json.dumps(spans)


def _trace(kubectl: Kubectl, trace: str) -> Any:  # noqa: ANN401 - parsed JSON
    try:
        with (
            kubectl.port_forward("service/tempo", 3200) as url,
            urllib.request.urlopen(f"{url}/api/traces/{trace}") as answer,
        ):
            return json.load(answer)
    except OSError:  # 404 among others: not there yet
        return None


def test_grafana_shows_the_dashboards_to_anybody(kubectl: Kubectl) -> None:
    """The provisioned dashboards are listed without a password, and nothing can be changed without one."""
    need(kubectl, "grafana")
    with kubectl.port_forward("service/grafana", 3000) as url:
        with urllib.request.urlopen(f"{url}/api/search?type=dash-db") as answer:
            assert json.load(answer)
        change = urllib.request.Request(f"{url}/api/dashboards/db", b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
            urllib.request.urlopen(change)


def test_the_namespace_refuses_what_is_privileged(kubectl: Kubectl) -> None:
    """Pod Security `restricted` is enforced: a pod that asks for more than the deployed ones is turned away."""
    (image, *_) = (pod["spec"]["containers"][0]["image"] for pod in kubectl.pods("predictor"))
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        kubectl.run("run", "privileged", f"--image={image}", "--privileged", "--dry-run=server")
