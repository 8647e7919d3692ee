"""The component grpc: the port, a Service whose clients balance by themselves, and nothing without it."""

from __future__ import annotations

import pytest

from scripts.manifests import rendering
from tests.support.rendered_manifests import combined, full, variables


@pytest.mark.parametrize("name", rendering.overlays())
def test_the_service_leads_where_the_server_listens(name: str) -> None:
    """The headless Service selects the predictors, and its port is the one that the server is told to listen on."""
    made = full(name)
    service = made.one("Service", "grpc")["spec"]
    pod = made.pod("predictor")
    assert service["clusterIP"] == "None"
    assert service["selector"].items() <= dict(pod.labels).items()
    (port,) = service["ports"]
    (container,) = pod.spec["containers"]
    assert pod.ports()[port["targetPort"]] == port["port"] == int(variables(container)["PREDICTOR_GRPC_PORT"])


def test_durable_pods_have_the_port() -> None:
    """A StatefulSet gets it as the Deployment does."""
    assert combined(("loki", "durable", "grpc")).pod("predictor").ports()["grpc"] == 8001


def test_nothing_without_the_component() -> None:
    """Without it the server has no port for gRPC, and no Service leads to one."""
    made = combined(("loki",))
    assert set(made.pod("predictor").ports().values()) == {8000}
    assert "grpc" not in [each["metadata"]["name"] for each in made.kind("Service")]
