"""`make manifests` fails where it should: planted errors, exceptions without a reason or a need."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scripts.manifests import policy, rendering
from scripts.manifests.judge import Judge
from scripts.manifests.policy import Finding
from tests.support import external_programs
from tests.support.external_programs import kustomize
from tests.support.rendered_manifests import overlay, render, text

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = rendering.ROOT / ".cache" / "manifests" / "bin" / "python"


class Willing:
    """Schemas that find nothing."""

    versions: tuple[str, ...] = ("1.0",)

    def faults(self, _manifest: dict[str, Any], _version: str, /) -> list[str]:
        """Return nothing."""
        return []


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """Run what `make manifests` runs on one file; skips without its environment, as tests without kustomize do."""
    kustomize()
    command = [
        str(external_programs.built("manifests", PYTHON, "manifests")),
        "-m",
        "scripts.manifests",
        str(path),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=rendering.ROOT)


def test_planted_errors_are_found(tmp_path: Path) -> None:
    """A misspelt or mistyped field, an unknown kind, a missing securityContext, a latest image: each is a fault."""
    path = tmp_path / "manifests.yaml"
    path.write_text(text("gke"))
    done = check(path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    planted = {one["kind"] + "/" + one["metadata"]["name"]: one for one in rendering.parsed(path.read_text())}
    server = planted["Deployment/predictor"]["spec"]["template"]["spec"]["containers"][0]
    server["imagePolicy"] = server.pop("imagePullPolicy")
    del planted["StatefulSet/loki"]["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    planted["Deployment/grafana"]["spec"]["template"]["spec"]["containers"][0]["image"] = "grafana/grafana:latest"
    planted["Service/api"]["spec"]["ports"][0]["port"] = "8000"
    planted["HTTPRoute/api"]["spec"]["rules"][0]["backendRef"] = []
    planted["HealthCheckPolicy/api"]["spec"]["default"]["checkIntervalSec"] = 301
    planted["PodDisruptionBudget/loki"]["kind"] = "PodDisruptionBudge"
    path.write_text(yaml.safe_dump_all(planted.values()))
    done = check(path)
    assert done.returncode == 1
    for sentence in (
        "Deployment/predictor: Kubernetes 1.32: spec.template.spec.containers.0: Additional properties are not allowed",
        "Deployment/predictor: Kubernetes 1.37: ",
        "Service/api: Kubernetes 1.35: spec.ports.0.port: '8000' is not of type",
        "HTTPRoute/api: spec.rules.0: Additional properties are not allowed ('backendRef' was unexpected)",
        "HealthCheckPolicy/api: spec.default.checkIntervalSec: 301 is greater than the maximum of 300",
        "PodDisruptionBudge/loki: Couldn't find schema for kind PodDisruptionBudge",
        "StatefulSet.prediction-log.loki fails CKV_K8S_30",
        "Deployment.prediction-log.grafana fails CKV_K8S_14",
    ):
        assert sentence in done.stderr


def test_an_exception_that_nothing_needs_is_a_fault() -> None:
    """Findings pass by an exception only; one that met none is said, so that the list does not outlive them."""
    found = [Finding("CKV_1", "Deployment.a", "one"), Finding("CKV_2", "Deployment.a", "two")]
    judge = Judge(Willing(), lambda _: found, {("CKV_1", "Deployment.a"): "why", ("CKV_1", "Deployment.b"): "why"})
    judge.policy("here", "")
    judge.unneeded()
    assert judge.faults == [
        "here: Deployment.a fails CKV_2: two",
        "Deployment.b does not fail CKV_1: take the exception out",
    ]


def test_nothing_rendered_is_a_fault() -> None:
    """A stream without objects does not pass as one without faults."""
    judge = Judge(Willing(), lambda _: [], {})
    judge.schemas("here", "---\n")
    assert judge.faults == ["here: there is nothing in it"]


@pytest.mark.parametrize(
    "text",
    [
        "- {check: CKV_1, resources: [a]}",
        "- {check: CKV_1, resources: [a], reason: because}",
        "- {check: CKV_1, resources: [a, a], reason: a good reason}",
    ],
)
def test_an_exception_has_one_reason(tmp_path: Path, text: str) -> None:
    """An exception without a sentence, or one that is listed twice, is refused."""
    path = tmp_path / "checkov.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"gives no reason|excepted twice"):
        policy.exceptions(path)
    assert len(policy.exceptions()) > 5


def test_what_does_not_render_is_a_fault(tmp_path: Path) -> None:
    """A folder that kustomize refuses ends in its sentence, not in an empty rendering."""
    (tmp_path / "kustomization.yaml").write_text("resources: [not-there.yaml]\n")
    with pytest.raises(rendering.RenderingError, match=r"not-there\.yaml"):
        render(tmp_path)
    assert overlay("gke").objects
