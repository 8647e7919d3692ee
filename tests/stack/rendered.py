"""The pods of a rendered overlay, so that a program on loopback runs with the configuration that is deployed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tests.support import rendered_manifests

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DOWNWARD = {
    "metadata.name": "pod-0",
    "metadata.uid": "6f4a0f5e-5d9c-4d5a-9a53-0d3a2f7c1b11",
    "spec.nodeName": "node-0",
    "spec.serviceAccountName": "account",
    "status.hostIP": "127.0.0.1",
    "status.podIP": "127.0.0.1",
}


@dataclass(frozen=True)
class Pod:
    """One container of a workload, and the texts of the ConfigMaps that are mounted into it."""

    container: dict[str, Any]
    files: dict[str, str]
    """Text by absolute path."""

    def lay_out(self, folder: Path) -> list[str]:
        """Write the mounted files under a folder and return the container's arguments with their paths there."""
        for path, text in self.files.items():
            file = folder / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        mounts = {str(PurePosixPath(path).parent) for path in self.files}
        found = []
        for argument in self.container.get("args", []):
            for mount in mounts:
                argument = argument.replace(f"{mount}/", f"{folder}{mount}/")  # noqa: PLW2901 - one after the other
            found.append(re.sub("-listen-address=$", "-listen-address=127.0.0.1", argument))  # a pod is alone
        return found

    def environment(self, namespace: str, **changes: str) -> dict[str, str]:
        """Return the container's variables as the kubelet would, with `changes` instead where they differ here."""
        downward = _DOWNWARD | {"metadata.namespace": namespace}
        values: dict[str, str] = {}
        for entry in self.container.get("env", []):
            name = entry["name"]
            if name in changes:
                values[name] = changes[name]
            elif "value" in entry:
                values[name] = _expand(entry["value"], values)
            else:
                values[name] = downward[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        return values | changes


def pod(overlay: str, name: str) -> Pod:
    """Return the first container of the pods with this name in an overlay; `client` is in none, so with all parts."""
    rendering = rendered_manifests.full(overlay) if name == "client" else rendered_manifests.overlay(overlay)
    spec = rendering.pod(name).spec
    container = spec["containers"][0]
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    files: dict[str, str] = {}
    for mount in container.get("volumeMounts", []):
        if source := volumes.get(mount["name"], {}).get("configMap"):
            assert "items" not in source, "not needed so far"
            data = rendering.one("ConfigMap", source["name"])["data"]
            files |= {f"{mount['mountPath']}/{file}": text for file, text in data.items()}
    return Pod(container, files)


def _expand(value: str, earlier: Mapping[str, str]) -> str:
    """Replace $(NAME) by a variable that was declared before, as the kubelet does."""
    return re.sub(r"\$\(([A-Za-z0-9_.-]+)\)", lambda match: earlier.get(match[1], match[0]), value)
