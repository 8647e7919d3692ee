"""docs/tutorials/in-your-cluster.md: its overlay renders, and is what the page says of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from scripts.manifests import rendering
from tests.support.rendered_manifests import render
from tests.support.server import ROOT
from tests.support.tutorial import blocks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rendered_manifests import Manifest

PAGE = (ROOT / "docs" / "tutorials" / "in-your-cluster.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Return what kustomize makes of the overlay that the page has its reader save, with a model in it."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(rendering.FOLDER, checkout / "kustomize", symlinks=True)
    shutil.copytree(ROOT / "otel", checkout / "otel", symlinks=True)
    saved = [block for block in blocks(PAGE) if block.file]
    assert len(saved) == 2
    for block in saved:
        file: Path = checkout / str(block.file)
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
    overlay = checkout / "kustomize" / "overlays" / "mine"
    (overlay / "wine.onnx").write_bytes(bytes(range(256)))
    return list(yaml.safe_load_all(render(overlay)))


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one object of a kind whose name begins so."""
    (found,) = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
    return found


def test_the_model_is_served(manifests: list[Manifest]) -> None:
    """The pods serve the file that the ConfigMap holds, whose name changes with the file."""
    held = one(manifests, "ConfigMap", "model-")
    assert list(held["binaryData"]) == ["wine.onnx"]
    pod = one(manifests, "StatefulSet", "predictor")["spec"]["template"]["spec"]
    (container,) = (each for each in pod["containers"] if each["name"] == "predictor")
    values = {each["name"]: each.get("value") for each in container["env"]}
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "model")
    assert values["PREDICTOR_MODEL"] == f"{mount['mountPath']}/wine.onnx"
    (volume,) = (each for each in pod["volumes"] if each["name"] == "model")
    assert volume["configMap"]["name"] == held["metadata"]["name"]


def test_the_components_are_there(manifests: list[Manifest]) -> None:
    """The outboxes have volumes of their own in place of the Deployment's, and the log is verified."""
    (claim,) = one(manifests, "StatefulSet", "predictor")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "outbox"
    assert not [each for each in manifests if each["kind"] == "Deployment" and each["metadata"]["name"] == "predictor"]
    assert one(manifests, "CronJob", "verify")["spec"]["schedule"]
