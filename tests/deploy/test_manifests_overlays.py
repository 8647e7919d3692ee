"""What the overlays are held to: only what differs from place to place, and that it fits there."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scripts.manifests import rendering
from tests.support.external_programs import kustomize
from tests.support.rendered_manifests import combined, full, overlay, quantity, render, variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rendered_manifests import Manifest, Rendering

GIBI = 2**30


def leaves(patch: Any, original: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - YAML
    """Yield path, new and old value of everything that a strategic-merge patch sets."""
    if isinstance(patch, dict):
        for key, value in patch.items():
            yield from leaves(value, original.get(key) if isinstance(original, dict) else None, f"{path}.{key}")
    elif isinstance(patch, list) and all(isinstance(item, dict) and "name" in item for item in patch):
        there = {item["name"]: item for item in original or []}
        for item in patch:
            rest = {key: value for key, value in item.items() if key != "name"}
            yield from leaves(rest, there.get(item["name"]), f"{path}.{item['name']}")
    else:
        yield path, patch, original


@pytest.mark.parametrize("name", rendering.overlays())
def test_overlays_hold_only_what_differs(name: str) -> None:
    """No patch of an overlay says again what the base and its components say already."""
    folder = rendering.FOLDER / "overlays" / name
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    plain = combined(tuple(sorted(path.rpartition("/")[2] for path in kustomization["components"])))
    patches = [
        yaml.safe_load((folder / patch["path"]).read_text()) for patch in kustomization["patches"] if "path" in patch
    ]
    assert patches
    for patch in patches:
        original = plain.one(patch["kind"], patch["metadata"]["name"])
        for path, new, old in leaves({"spec": patch["spec"]}, original):
            assert new != old, f"overlays/{name}: {patch['kind']}{path} is {old} anyway"


def tracing(made: Rendering) -> tuple[str | None, ...]:
    """Return how the server samples traces."""
    told = variables(made.pod("predictor").spec["containers"][0])
    return told["OTEL_TRACES_EXPORTER"], told["OTEL_TRACES_SAMPLER"], told.get("OTEL_TRACES_SAMPLER_ARG")


def test_strangers_cannot_force_tracing() -> None:
    """On GKE one request in twenty is traced whatever its traceparent says; on minikube all are."""
    assert tracing(overlay("gke")) == ("otlp", "traceidratio", "0.05")
    assert tracing(overlay("minikube"))[:2] == ("otlp", "always_on")


def test_each_overlay_names_its_cluster() -> None:
    """Records and spans say which cluster they come from."""
    for name in rendering.overlays():
        told = variables(overlay(name).pod("collector").spec["containers"][0])
        assert f"k8s.cluster.name={name}" in told["OTEL_RESOURCE_ATTRIBUTES"].split(",")


def replicas(workload: Manifest) -> int:
    """Return how many pods there are at once during an update, on one node."""
    spec = workload["spec"]
    surge = spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
    return int(spec.get("replicas", 1)) + int(surge)


def test_minikube_has_room_for_an_update() -> None:
    """Everything, a fourth server of an update included, fits on 2 CPUs and 4 GB beside Kubernetes' own pods."""
    sums = dict.fromkeys(("cpu", "memory", "ephemeral-storage"), 0.0)
    for pod in overlay("minikube").pods():
        for container in pod.containers:
            for what in sums:
                sums[what] += replicas(pod.workload) * quantity(container["resources"]["requests"][what])
    assert sums["cpu"] <= 2 - 0.85  # what minikube's control plane, DNS and CNI ask for
    assert sums["memory"] <= 3.7 * GIBI - 0.7 * GIBI  # what the node shows of 4 GB, less the same
    assert sums["ephemeral-storage"] <= 16 * GIBI  # of minikube's disk of 20 GB


def test_autopilot_takes_the_requests_as_they_are() -> None:
    """On GKE each pod asks for what Autopilot neither raises nor refuses: CPU, memory in proportion, disk."""
    for pod in full("gke").pods():
        asked = [container["resources"]["requests"] for container in pod.containers]
        cpu, memory, disk = (
            sum(quantity(one[what]) for one in asked) for what in ("cpu", "memory", "ephemeral-storage")
        )
        assert cpu >= 0.05, pod.name
        assert 1 <= memory / GIBI / cpu <= 6.5, pod.name
        assert 10 * 2**20 <= disk <= 10 * GIBI, pod.name


def test_disks_differ_from_place_to_place() -> None:
    """On GKE the disks are persistent ones of a named class; on minikube they are small and of the default class."""
    for name in ("loki", "tempo"):
        gke, minikube = (
            made.pod(name).workload["spec"]["volumeClaimTemplates"][0]["spec"]
            for made in (overlay("gke"), overlay("minikube"))
        )
        assert gke["storageClassName"] in {"standard-rwo", "premium-rwo"}
        assert "storageClassName" not in minikube
        assert quantity(minikube["resources"]["requests"]["storage"]) <= 2 * GIBI


def test_the_registry_is_set_as_the_readme_says(tmp_path: Path) -> None:
    """GKE's image is one that cannot be pulled until the README's command names a registry."""
    assert overlay("gke").pod("predictor").spec["containers"][0]["image"].startswith("registry.invalid/")
    readme = (rendering.FOLDER / "overlays" / "gke" / "README.md").read_text()
    (command,) = re.findall(r"^kustomize (edit set image predictor=(\S+))$", readme, re.MULTILINE)
    for folder in ("kustomize", "otel"):
        shutil.copytree(rendering.FOLDER.parent / folder, tmp_path / folder)
    copy = tmp_path / "kustomize" / "overlays" / "gke"
    subprocess.run([kustomize(), *command[0].split()], cwd=copy, check=True)
    assert f"image: {command[1]}\n" in render(copy)
    assert ".invalid" not in render(copy)


def test_tokens_of_gke(tmp_path: Path) -> None:
    """The patch of the overlay's README has the server want the tokens of the Secret that its command makes."""
    readme = (rendering.FOLDER / "overlays" / "gke" / "README.md").read_text()
    (patch,) = re.findall(r"```yaml\n(  - target: .*?)```", readme, re.DOTALL)
    (secret, file) = re.findall(r"create secret generic (\S+) --from-file (\S+)", readme)[0]
    for folder in ("kustomize", "otel"):
        shutil.copytree(rendering.FOLDER.parent / folder, tmp_path / folder)
    copy = tmp_path / "kustomize" / "overlays" / "gke"
    kustomization = copy / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("patches:\n", f"patches:\n{patch}", 1))
    (made,) = (each for each in rendering.parsed(render(copy)) if rendering.name_of(each) == "Deployment/predictor")
    spec = made["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    path = variables(container)["PREDICTOR_TOKEN_FILE"]
    (mount,) = (each for each in container["volumeMounts"] if path.startswith(f"{each['mountPath']}/"))
    (volume,) = (each for each in spec["volumes"] if each["name"] == mount["name"])
    assert (volume["secret"]["secretName"], path.rpartition("/")[2]) == (secret, file)
    assert (oct(volume["secret"]["defaultMode"]), mount["readOnly"]) == ("0o440", True)


def test_rows_of_gke_are_bounded() -> None:
    """The public overlay bounds the rows of each pod, as its README says; the base bounds none."""
    readme = (rendering.FOLDER / "overlays" / "gke" / "README.md").read_text()
    (container,) = overlay("gke").pod("predictor").spec["containers"]
    rows = variables(container)["PREDICTOR_ROWS_PER_SECOND"]
    assert int(rows) > 0
    assert f"each pod predicts {rows} rows a second" in readme
