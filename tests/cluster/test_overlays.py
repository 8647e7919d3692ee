"""Every overlay as the API server itself judges it: its admission, defaults and validation, without a change."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.kubectl import Kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_OVERLAYS = sorted(path.name for path in (_ROOT / "kustomize" / "overlays").iterdir())
_ELSEWHERE = {"Gateway", "HTTPRoute", "GCPBackendPolicy", "HealthCheckPolicy"}  # GKE's; others must exist everywhere


@pytest.fixture
def empty() -> Iterator[Kubectl]:
    """Make a namespace of its own: what is deployed already has fields that nobody may change."""
    kubectl = Kubectl(f"test-overlay-{secrets.token_hex(3)}")
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/warn=restricted")
    yield kubectl
    kubectl.run("delete", "namespace", kubectl.namespace, "--wait")


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_the_api_server_takes_the_overlay(empty: Kubectl, overlay: str, tmp_path: Path) -> None:
    """The API server accepts every object without a warning; the only kinds that it may lack are GKE's own."""
    _accepted(empty, tmp_path, overlay)


@pytest.mark.parametrize("models", ["model-download", "model-image"])
def test_the_api_server_takes_models_from_elsewhere(empty: Kubectl, models: str, tmp_path: Path) -> None:
    """Pods that bring their models are taken too, as restricted as all others; an image volume where there are some."""
    on = r'^kubernetes_feature_enabled\{name="ImageVolume",.*\} 1$'
    if models == "model-image" and not re.search(on, empty.run("get", "--raw=/metrics"), re.MULTILINE):
        pytest.skip("this cluster has no image volumes")
    _accepted(empty, tmp_path, "minikube", models)


def _accepted(empty: Kubectl, folder: Path, overlay: str, *components: str) -> None:
    """Hold an overlay, with more components, to what the API server says of it."""
    to_here = os.path.relpath(_ROOT / "kustomize", folder.resolve())
    kustomization = {
        "namespace": empty.namespace,
        "resources": [f"{to_here}/overlays/{overlay}"],
        "components": [f"{to_here}/components/{name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
    rendered = empty.run("kustomize", str(folder)).split("\n---\n")
    known = set(re.findall(r"(\S+)$", empty.run("api-resources", "--no-headers"), re.MULTILINE))
    taken = {kind: [each for each in rendered if _kind(each) == kind] for kind in map(_kind, rendered)}
    unknown = taken.keys() - known
    assert unknown <= _ELSEWHERE
    text = "\n---\n".join(each for kind in taken.keys() & known for each in taken[kind])
    answer = empty.run("apply", "--dry-run=server", "--warnings-as-errors", "--filename=-", stdin=text)
    assert len(answer.splitlines()) == sum(len(taken[kind]) for kind in taken.keys() & known)


def _kind(rendered: str) -> str:
    (kind,) = re.findall(r"^kind: (\w+)$", rendered, re.MULTILINE)
    return str(kind)
