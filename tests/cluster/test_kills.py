"""Processes killed under load, one kind of pod after another: what was acknowledged is in Loki."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.client import Client
from tests.cluster.conftest import need
from tests.cluster.kill import kill, until_ready

if TYPE_CHECKING:
    from tests.cluster.evidence import Since
    from tests.cluster.kubectl import Kubectl

_ROWS = 200  # acknowledged before, after and between the kills
_ROUNDS = 2
_MOST = 5  # pods of one kind that are killed, in a large cluster


def test_killed_predictors_lose_nothing(kubectl: Kubectl, since: Since) -> None:
    """Every acknowledged row of killed servers is in Loki; their streams are closed as crashes, the next are open."""
    with Client(kubectl) as client:
        client.more(_ROWS)
        killed = []
        for pod in kubectl.pods("predictor")[:_MOST]:
            killed.append(kill(kubectl, pod, python=True))
            client.more(_ROWS)
        for each in killed:
            until_ready(kubectl, each.pod)
        client.more(_ROWS)
        ledger = client.settle()
    assert killed
    assert set(ledger.refusals) <= {"draining"}
    evidence = since.settle(ledger, dict.fromkeys((each.uid for each in killed), 1))
    for each in killed:
        *dead, living = evidence.reasons(each.uid)
        assert dead, f"{each} has no stream of before the kill"
        assert set(dead) == {"crash"}
        assert living is None


@pytest.mark.parametrize("name", ["collector", "loki", "tempo", "grafana"])
def test_what_is_killed_on_the_way_loses_nothing(kubectl: Kubectl, since: Since, name: str) -> None:
    """While what stores, carries or shows records is killed, no request fails, and all of them arrive in the end."""
    need(kubectl, name)
    with Client(kubectl) as client:
        client.more(_ROWS)
        for pod in _ROUNDS * kubectl.pods(name)[:_MOST]:
            killed = kill(kubectl, pod, python=False)
            client.more(_ROWS)
            until_ready(kubectl, killed.pod)
        client.more(_ROWS)
        ledger = client.settle()
    assert (ledger.cut, ledger.refusals) == (0, {})
    since.settle(ledger)
