"""The component for KServe: its runtime and example fit KServe's own schemas, and the server that they start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest
import yaml

from predictor.config.settings import load as load_settings
from tests.support import bare_models
from tests.support.inference_protocol import tensor
from tests.support.rendered_manifests import combined, quantity
from tests.support.server import ROOT, serve_models

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "kustomize" / "components" / "kserve"
SCHEMAS = ROOT / "tests" / "schemas" / "kserve.yaml"
EXAMPLE = yaml.safe_load((FOLDER / "inferenceservice.example.yaml").read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a schema that has no room for properties that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def faults(manifest: Any) -> list[str]:  # noqa: ANN401 - YAML
    """Return what KServe's schemas have against a manifest."""
    for definition in yaml.safe_load_all(SCHEMAS.read_text(encoding="utf-8")):
        if definition["spec"]["names"]["kind"] == manifest["kind"]:
            (version,) = definition["spec"]["versions"]
            assert manifest["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
            validator = jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))
            return [f"{[*error.absolute_path]}: {error.message}" for error in validator.iter_errors(manifest)]
    pytest.fail(f"no schema for {manifest['kind']}")


def runtime() -> Any:  # noqa: ANN401 - YAML
    """Return the runtime as it is applied."""
    return combined(("kserve", "stdout")).one("ServingRuntime", "predictor-onnx")


def test_schemas_of_kserve() -> None:
    """Runtime and example have no field that KServe does not know, and none of another type; a new one is found."""
    for manifest in (runtime(), EXAMPLE):
        assert faults(manifest) == []
        assert faults(manifest | {"spec": manifest["spec"] | {"minReplica": 1}})


def test_the_container_is_that_of_the_base() -> None:
    """The runtime's container is held to what the base's is: rights, bounds, image; and its settings are settings."""
    made = combined(("kserve", "stdout"))
    (own,) = runtime()["spec"]["containers"]
    (base,) = made.pod("predictor").spec["containers"]
    assert own["name"] == "kserve-container"
    for key in ("image", "imagePullPolicy", "resources", "lifecycle", "volumeMounts"):
        assert own[key] == base[key], key
    assert own["securityContext"].items() >= base["securityContext"].items()
    pod = made.pod("predictor").spec["securityContext"]
    assert own["securityContext"]["runAsUser"] == pod["runAsUser"]
    assert own["securityContext"]["runAsNonRoot"] is True
    (volume,) = runtime()["spec"]["volumes"]
    assert quantity(volume["emptyDir"]["sizeLimit"]) < quantity(own["resources"]["limits"]["ephemeral-storage"])
    values = {each["name"]: each.get("value", "") for each in own["env"]}
    ours = {name: value for name, value in values.items() if name.startswith("PREDICTOR_")}
    settings = load_settings(ours | {"PREDICTOR_OUTBOX": "/var/lib/predictor"})
    (port,) = own["ports"]
    assert port["containerPort"] == settings.port == 8080
    grace = EXAMPLE["spec"]["predictor"]["terminationGracePeriodSeconds"]
    asleep = own["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace > asleep + settings.shutdown_delay + settings.drain + settings.flush


def test_probes_are_calls() -> None:
    """The probes ask at the container's port for calls of the protocol."""
    (own,) = runtime()["spec"]["containers"]
    for probe, path in (("startup", "live"), ("readiness", "ready"), ("liveness", "live")):
        assert own[f"{probe}Probe"]["httpGet"] == {"path": f"/v2/health/{path}", "port": 8080}


def test_the_download_of_kserve_is_let() -> None:
    """KServe's own init container, patched as the README says, has no more rights than Pod Security lets it have.

    What it is without the patch is config/storagecontainers/default.yaml of KServe 0.20.
    """
    own: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "default"},
        "spec": {
            "container": {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.20.0"},
            "supportedUriFormats": [{"prefix": "gs://"}, {"prefix": "s3://"}, {"regex": "https?://(.+)/(.+)"}],
            "workloadType": "initContainer",
        },
    }
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    path = ROOT / re.findall(r"--patch-file (\S+)", readme)[0]
    patch = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert (patch["kind"], patch["metadata"]) == (own["kind"], own["metadata"])
    patched = own | {"spec": own["spec"] | {"container": own["spec"]["container"] | patch["spec"]["container"]}}
    assert faults(patched) == []
    context = patched["spec"]["container"]["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    policy = yaml.safe_load((FOLDER / "storage.example.yaml").read_text(encoding="utf-8"))
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= runtime()["spec"]["labels"].items()
    assert "storage.example.yaml" in readme


async def test_a_repository_as_kserve_mounts_it(outbox: Path, tmp_path: Path) -> None:
    """A repository of Triton's layout, config.pbtxt included, is served under the name of its folder."""
    folder = tmp_path / "models" / EXAMPLE["metadata"]["name"]
    bare_models.price(folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text('platform: "onnxruntime_onnx"\n')
    row = tensor("x", np.ones((1, 3), np.float32))
    async with serve_models(outbox, tmp_path / "models") as here:
        assert (await here.get("/v2/health/ready")).status == 200
        answer = await here.post(f"/v2/models/{EXAMPLE['metadata']['name']}/infer", json={"inputs": [row]})
    assert answer.json["outputs"][0]["data"] == [3.0]


def test_the_example_is_served_by_the_runtime() -> None:
    """The example names the runtime, a format and a protocol that it has, and never scales to zero."""
    spec, predictor = runtime()["spec"], EXAMPLE["spec"]["predictor"]
    model = predictor["model"]
    assert model["runtime"] == runtime()["metadata"]["name"]
    assert model["modelFormat"]["name"] in {each["name"] for each in spec["supportedModelFormats"]}
    assert model["protocolVersion"] in spec["protocolVersions"]
    assert predictor["minReplicas"] >= 1
    assert EXAMPLE["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
