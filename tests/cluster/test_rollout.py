"""Rolling restarts under load, as an upgrade makes them: no request fails, nothing is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.client import Client

if TYPE_CHECKING:
    from tests.cluster.evidence import Since
    from tests.cluster.kubectl import Kubectl

_ROWS = 200


def test_rolling_the_predictors_fails_no_request(kubectl: Kubectl, since: Since, workload: str) -> None:
    """All servers are replaced and no caller notices; the streams of the old ones are closed as shut down."""
    old = {str(pod["metadata"]["uid"]) for pod in kubectl.pods("predictor")}
    # Without a pause each kept connection has a request under way when its server ends, or sends one just then.
    with Client(kubectl, clients=2, pace=0.0) as client:
        client.more(_ROWS)
        kubectl.run("rollout", "restart", workload)
        kubectl.rolled_out(workload)
        client.more(_ROWS)
        status = client.status()
        ledger = client.settle()
    assert not old & {str(pod["metadata"]["uid"]) for pod in kubectl.pods("predictor")}
    assert (ledger.cut, ledger.refusals) == (0, {}), status
    evidence = since.settle(ledger, dict.fromkeys(old, 1))
    for pod in old:
        assert evidence.reasons(pod)[-1] == "shutdown"


@pytest.mark.parametrize("rolled", ["daemonset/collector", "statefulset/loki"])
def test_rolling_what_carries_and_stores_loses_nothing(kubectl: Kubectl, since: Since, rolled: str) -> None:
    """While Collectors or Loki are replaced no request fails, and all records arrive in the end."""
    with Client(kubectl) as client:
        client.more(_ROWS)
        kubectl.run("rollout", "restart", rolled)
        kubectl.rolled_out(rolled)
        client.more(_ROWS)
        ledger = client.settle()
    assert (ledger.cut, ledger.refusals) == (0, {})
    since.settle(ledger)
