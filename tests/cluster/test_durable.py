"""With the component `durable`: pods deleted without grace while Loki is gone, and nothing acknowledged is missing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.cluster.client import Client
from tests.cluster.kill import kill, until_ready
from tests.cluster.kubectl import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.evidence import Since
    from tests.cluster.kubectl import Kubectl

_ROWS = 200


def test_deleted_pods_lose_nothing_without_a_sink(kubectl: Kubectl, since: Since, workload: str) -> None:
    """What killed servers and pods deleted at once acknowledged while there was no Loki is in it in the end."""
    if not workload.startswith("statefulset/"):
        pytest.skip("the component `durable` is not deployed: what a deleted pod has not shipped goes with it")
    pods = [(str(pod["metadata"]["name"]), str(pod["metadata"]["uid"])) for pod in kubectl.pods("predictor")]
    with Client(kubectl) as client:
        client.more(_ROWS)
        with _no_loki(kubectl):
            client.more(_ROWS)
            kill(kubectl, kubectl.pods("predictor")[0], python=True)
            client.more(_ROWS)
            for name, uid in pods:
                kubectl.run("delete", "pod", name, "--grace-period=0", "--force")
                until(lambda name=name, uid=uid: _other(kubectl, name, uid), f"another pod {name}")  # type: ignore[misc]
                client.more(_ROWS)
                until_ready(kubectl, name)
        client.more(_ROWS)
        ledger = client.settle()
    wanted = {uid: 2 if number == 0 else 1 for number, (_, uid) in enumerate(pods)}  # the first was killed before
    evidence = since.settle(ledger, wanted)
    for _, uid in pods:
        assert None not in evidence.reasons(uid)
    assert "crash" in evidence.reasons(pods[0][1])


@contextlib.contextmanager
def _no_loki(kubectl: Kubectl) -> Iterator[None]:
    """Scale Loki to nothing, and in the end to what it was."""
    before = kubectl.get("statefulset", "loki")["spec"]["replicas"]
    try:
        kubectl.run("scale", "statefulset/loki", "--replicas=0")
        kubectl.run("wait", "pod", "--selector=app.kubernetes.io/name=loki", "--for=delete", "--timeout=180s")
        yield
    finally:
        kubectl.run("scale", "statefulset/loki", f"--replicas={before}")
        kubectl.rolled_out("statefulset/loki")


def _other(kubectl: Kubectl, name: str, uid: str) -> bool:
    pod = kubectl.get("pod", name)
    return bool(pod) and pod["metadata"]["uid"] != uid
