"""The cluster under test: ready before the first test, as it was found after the last one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cluster.evidence import Since
from tests.cluster.kill import tidy
from tests.cluster.kubectl import NAMESPACE, Kubectl, KubectlError, until

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTS = pytest.StashKey[list[str]]()
_READY = "ready"
_REFUSED = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}


def pytest_report_header() -> str:
    """Say on which cluster pods are about to be killed."""
    try:
        context = Kubectl().run("config", "current-context", timeout=20).strip()
    except (KubectlError, OSError) as error:
        context = f"none ({error})"
    return f"kubectl context: {context}, namespace: {NAMESPACE}"


def pytest_configure(config: pytest.Config) -> None:
    """Begin to collect what was compared."""
    config.stash[_COUNTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much was compared: a test of nothing would pass as well."""
    terminalreporter.section("compared with Loki")
    for line in config.stash[_COUNTS]:
        terminalreporter.line(line)


def predictor(kubectl: Kubectl) -> str:
    """Return the predictor's workload: a Deployment, or with the component `durable` a StatefulSet."""
    for kind in ("deployment", "statefulset"):
        if kubectl.get(kind, "predictor"):
            return f"{kind}/predictor"
    pytest.fail(f"nothing is deployed in {NAMESPACE}: run `kubectl apply -k kustomize/overlays/minikube` first")


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Kubectl]:
    """Return kubectl for the namespace, when its predictor, Collector and Loki are rolled out.

    In the end every pod that a test has lent a container to is replaced, and everything is rolled out again.
    """
    if not shutil.which("kubectl"):
        pytest.fail("there is no kubectl on the PATH")
    kubectl = Kubectl()
    workloads = predictor(kubectl), "daemonset/collector", "statefulset/loki"
    for workload in workloads:
        kubectl.rolled_out(workload)
    yield kubectl
    tidy(kubectl, "collector", "loki", "tempo", "grafana")
    for workload in workloads:
        kubectl.rolled_out(workload)


@pytest.fixture
def since(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Since]:
    """Return what Loki has of this test."""
    since = Since(kubectl)
    yield since
    request.config.stash[_COUNTS].extend(f"{request.node.name}: {count}" for count in since.counts)


@pytest.fixture(scope="session")
def workload(kubectl: Kubectl) -> str:
    """Return the predictor's workload, `deployment/predictor` or `statefulset/predictor`."""
    return predictor(kubectl)


def need(kubectl: Kubectl, name: str) -> None:
    """Return when the pods of one kind are ready; skip where there are none, or where their image cannot be had."""
    if not kubectl.pods(name):
        pytest.skip(f"{name} is not deployed here")

    def verdict() -> str | None:
        statuses = [each for pod in kubectl.pods(name) for each in pod["status"].get("containerStatuses", [])]
        for status in statuses:
            reason = status["state"].get("waiting", {}).get("reason")
            if reason in _REFUSED:
                return f"{status['image']}: {reason}"
        return _READY if statuses and all(status["ready"] for status in statuses) else None

    if (found := until(verdict, f"{name} is ready")) != _READY:
        pytest.skip(f"{name} does not run here: {found}")
