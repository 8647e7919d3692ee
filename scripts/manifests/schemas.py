"""Strict schemas: a field that no schema knows is a fault, and so is a kind that has no schema."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from scripts.manifests.rendering import ROOT, Manifest, name_of

GATEWAY_API = "sigs.k8s.io/gateway-api@v1.3.0"  # fields that are newer than this, a GKE of today need not know
OWN = ROOT / "tests" / "schemas"


class Schemas:
    """The schemas of Kubernetes' versions, of the Gateway API's and of our own folder's CustomResourceDefinitions."""

    # The oldest that the manifests promise to work with, one between, and the newest that kubernetes-validate knows.
    versions: tuple[str, ...] = ("1.32", "1.35", "1.37")

    def __init__(self, definitions: list[Path]) -> None:
        """Read the definitions; raises ValueError if there are none, since then nothing would be checked by them."""
        self._custom: dict[tuple[str, str], Any] = {}
        self._known: dict[tuple[str, str], list[str]] = {}
        for path in definitions:
            self._add(path)
        if not self._custom:
            msg = "there are no CustomResourceDefinitions"
            raise ValueError(msg)

    def faults(self, manifest: Manifest, version: str) -> list[str]:
        """Return what is wrong with one object in one version of Kubernetes, a sentence each."""
        key = (version, json.dumps(manifest, sort_keys=True, default=str))
        if key not in self._known:  # most objects are the same in every combination
            self._known[key] = [f"{name_of(manifest)}: {fault}" for fault in self._check(manifest, version)]
        return self._known[key]

    def _check(self, manifest: Manifest, version: str) -> list[str]:
        if not manifest.get("apiVersion") or not manifest.get("kind"):
            return ["has no apiVersion or no kind"]
        custom = self._custom.get((manifest["apiVersion"], manifest["kind"]))
        if custom:
            return [_sentence(error) for error in jsonschema.Draft202012Validator(custom).iter_errors(manifest)]
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"Kubernetes {version}: {_sentence(error)}"]
        except kubernetes_validate.SchemaNotFoundError as error:
            return [str(error.message)]
        return []

    def _add(self, path: Path) -> None:
        for definition in yaml.safe_load_all(path.read_text()):
            if definition["kind"] != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    schema = _closed(version["schema"]["openAPIV3Schema"])
                    self._custom[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema


def _sentence(error: jsonschema.ValidationError) -> str:
    return f"{'.'.join(str(step) for step in error.absolute_path)}: {error.message}"


def _closed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the schema with no room for properties that it does not name, as `kubectl apply` warns of them."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def definitions() -> list[Path]:
    """Return the Gateway API's CustomResourceDefinitions, from its Go module, and those of our own folder."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", GATEWAY_API],  # noqa: S607 - the Go that is on the path
        capture_output=True,
        text=True,
        check=False,
        cwd="/",  # no module's folder
    )
    if done.returncode:
        msg = f"{GATEWAY_API} cannot be had: {done.stderr or done.stdout}"
        raise OSError(msg)
    standard = Path(json.loads(done.stdout)["Dir"], "config", "crd", "standard")
    return sorted(standard.glob("*_*s.yaml")) + sorted(OWN.glob("*.yaml"))
