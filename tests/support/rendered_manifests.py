"""What kustomize renders, as objects: the overlays, and the base with every combination of components."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from scripts.manifests import rendering
from tests.support.external_programs import kustomize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Manifest = dict[str, Any]
_UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"([0-9.]+)([a-zA-Z]*)")


@dataclass(frozen=True, slots=True)
class Pod:
    """The pods of one workload: its manifest, their labels, and their specification."""

    workload: Manifest
    labels: Mapping[str, str]
    spec: Manifest

    @property
    def name(self) -> str:
        """Return `Kind/name` of the workload."""
        return rendering.name_of(self.workload)

    @property
    def containers(self) -> list[Manifest]:
        """Return all containers, those of the start too."""
        return [*self.spec["containers"], *self.spec.get("initContainers", [])]

    def ports(self) -> dict[str, int]:
        """Return the container ports by name."""
        return {port["name"]: port["containerPort"] for one in self.containers for port in one.get("ports", [])}


@dataclass(frozen=True, slots=True)
class Rendering:
    """The objects of one overlay or combination."""

    name: str
    objects: tuple[Manifest, ...]

    def kind(self, *kinds: str) -> list[Manifest]:
        """Return the objects of these kinds."""
        return [manifest for manifest in self.objects if manifest["kind"] in kinds]

    def one(self, kind: str, name: str) -> Manifest:
        """Return the one object of a kind and a name."""
        (found,) = [manifest for manifest in self.kind(kind) if manifest["metadata"]["name"] == name]
        return found

    def pods(self) -> list[Pod]:
        """Return the pods of every workload, those of jobs included."""
        templates = [(one, one["spec"]["template"]) for one in self.kind("Deployment", "StatefulSet", "DaemonSet")]
        templates += [(one, one["spec"]["jobTemplate"]["spec"]["template"]) for one in self.kind("CronJob")]
        return [Pod(workload, it["metadata"]["labels"], it["spec"]) for workload, it in templates]

    def pod(self, name: str) -> Pod:
        """Return the pods of `app.kubernetes.io/name`."""
        (found,) = [pod for pod in self.pods() if pod.labels["app.kubernetes.io/name"] == name]
        return found


def render(folder: Path) -> str:
    """Return what kustomize makes of a folder, as YAML; raises RenderingError."""
    kustomize()
    return rendering.render(folder)


def text(name: str) -> str:
    """Return an overlay as YAML."""
    return render(rendering.FOLDER / "overlays" / name)


def _rendering(name: str, text: str) -> Rendering:
    return Rendering(name, tuple(rendering.parsed(text)))


@cache
def overlay(name: str) -> Rendering:
    """Return an overlay as it is applied."""
    return _rendering(name, text(name))


@cache
def full(name: str, models: str = rendering.MODELS[0]) -> Rendering:
    """Return an overlay with all further components, one of those that bring the models."""
    kustomize()
    return _rendering(f"{name} with all components, {models}", rendering.full(name, models))


@cache
def combined(chosen: tuple[str, ...]) -> Rendering:
    """Return the base with some components."""
    kustomize()
    return _rendering("+".join(chosen), rendering.combined(chosen))


def deployed() -> list[Rendering]:
    """Return what people apply: each overlay, as it is and with all components that go together."""
    every = [full(name, models) for name in rendering.overlays() for models in rendering.MODELS]
    return [*map(overlay, rendering.overlays()), *every]


def everything() -> Iterator[Rendering]:
    """Yield what is deployed, and the base with every combination of components."""
    yield from deployed()
    with ThreadPoolExecutor() as pool:  # each is a process of kustomize's
        yield from pool.map(combined, rendering.combinations())


def quantity(text: str | float) -> float:
    """Return what Kubernetes means by `500m` or `1Gi`: cores or bytes."""
    match = _QUANTITY.fullmatch(str(text))
    assert match, text
    return float(match[1]) * _UNITS[match[2]]


def variables(container: Manifest) -> dict[str, str]:
    """Return a container's environment; what the downward API fills in is its field's path."""
    return {
        one["name"]: one["value"] if "value" in one else one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in container.get("env", [])
    }


def environment(container: Manifest) -> dict[str, str]:
    """Return a container's environment as its process gets it: `$(NAME)` is the variable that was declared before."""
    known: dict[str, str] = {}
    for name, value in variables(container).items():
        known[name] = re.sub(r"\$\((\w+)\)", lambda named: known.get(named[1], named[0]), value)
    return known
