"""`compose.yaml` is the cluster on one machine: the same images, the same files, nothing that it needs is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

KUSTOMIZE = ROOT / "kustomize"
OWN_FOLDERS = {"predictor": "/var/lib/predictor", "loki": "/loki", "tempo": "/var/tempo"}
"""What each image makes for its own user: only there a named volume belongs to whom it should."""


@cache
def services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    said: dict[str, dict[str, Any]] = compose()["services"]
    return said


@cache
def compose() -> dict[str, Any]:
    """Return the whole file."""
    said: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return said


@cache
def containers() -> dict[str, dict[str, Any]]:
    """Return the cluster's containers by name, as base and components have them before any overlay."""
    paths = [*(KUSTOMIZE / "base").glob("*.yaml"), *(KUSTOMIZE / "components").glob("*/*.yaml")]
    documents = [document for path in paths for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    pods = [document["spec"]["template"]["spec"] for document in documents if "template" in document.get("spec", {})]
    return {
        container["name"]: container for pod in pods for container in pod.get("containers", ()) if "image" in container
    }


def mounts(name: str) -> dict[str, str]:
    """Return what a service mounts: folder, file or named volume by the place in the container."""
    split = [volume.split(":") for volume in services()[name].get("volumes", ())]
    return {target: source for source, target, *_ in split}


def configuration(name: str) -> list[Path]:
    """Return the files that a service's command names, as they are here."""
    named = re.findall(r"config(?:\.file)?=(\S+)", " ".join(services()[name].get("command", ())))
    return [ROOT / mounts(name)[str(path.parent)] / path.name for path in map(PurePosixPath, named)]


def test_specification() -> None:
    """The file is what the Compose specification allows."""
    judge = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*judge, ROOT / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_same_images() -> None:
    """Every service of the cluster is there, with the same image."""
    wanted = {name: container["image"] for name, container in containers().items() if name in services()}
    assert wanted.keys() == services().keys() == {"predictor", "collector", "loki", "tempo", "grafana"}
    assert {name: service["image"] for name, service in services().items()} == wanted
    assert services()["predictor"]["build"] == "."


@pytest.mark.parametrize("name", ["collector", "loki", "tempo", "grafana"])
def test_files_are_there(name: str) -> None:
    """What is mounted exists, can only be read, and is of `otel/`; what the command names is in it."""
    service = services()[name]
    found = {target: source for target, source in mounts(name).items() if source.startswith("./")}
    for target, source in found.items():
        assert source.startswith("./otel/")
        assert (ROOT / source).exists(), source
        assert any(volume.endswith(f":{target}:ro,z") for volume in service["volumes"])
    assert all(path.is_file() for path in configuration(name))


def test_all_pieces_of_the_collector() -> None:
    """The Collector has every piece that works outside Kubernetes, in the order in which they are merged."""
    assert services()["collector"]["command"] == [
        f"--config=/etc/otelcol/{piece}.yaml" for piece in ("base", "stdout", "loki", "tempo")
    ]


@pytest.mark.parametrize("name", ["collector", "loki", "tempo"])
def test_variables(name: str) -> None:
    """Every variable that a service's files read has a default or is set, and none is set that nothing reads."""
    text = "".join(path.read_text(encoding="utf-8") for path in configuration(name))
    read = re.findall(r"\$\{(?:env:)?([A-Z_]+)(:-[^}]+)?\}", text)
    given = set(services()[name]["environment"]) - {"GOMEMLIMIT"}
    assert given <= {variable for variable, _ in read}
    assert all(default for variable, default in read if variable not in given)


@pytest.mark.parametrize("name", ["collector", "loki", "tempo"])
def test_memory(name: str) -> None:
    """Go collects its garbage before the memory limit is reached: at 80 % of it."""
    limit = re.fullmatch(r"(\d+)([mg])", services()[name]["mem_limit"])
    assert limit
    mebibytes = int(limit[1]) * {"m": 1, "g": 1024}[limit[2]]
    assert services()[name]["environment"]["GOMEMLIMIT"] == f"{mebibytes * 4 // 5}MiB"


def test_grafana_is_the_same() -> None:
    """Grafana is set as in the cluster: the same variables and the same places for the same files."""
    of_cluster = containers()["grafana"]
    assert services()["grafana"]["environment"] == {entry["name"]: entry["value"] for entry in of_cluster["env"]}
    assert services()["grafana"]["mem_limit"] == of_cluster["resources"]["limits"]["memory"].lower().removesuffix("i")
    writable = {path.partition(":")[0] for path in services()["grafana"]["tmpfs"]}
    places = {mount["mountPath"] for mount in of_cluster["volumeMounts"]}
    assert {path for path in places if not any(target.startswith(path) for target in mounts("grafana"))} == writable


@pytest.mark.parametrize("name", ["predictor", "collector", "loki", "tempo", "grafana"])
def test_restricted(name: str) -> None:
    """Each root is read-only, no right is left to gain, and ports are this machine's own."""
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-(\d+)\}:\1", port) for port in service.get("ports", ()))
    assert not {"privileged", "network_mode", "pid", "cap_add", "depends_on"} & service.keys()


def test_volumes() -> None:
    """Each named volume is declared, used once, and lies where its image has a folder of its user's."""
    named = [
        (source, name, target)
        for name in services()
        for target, source in mounts(name).items()
        if not source.startswith("./")
    ]
    assert sorted(source for source, _, _ in named) == sorted(compose()["volumes"])
    assert {name: target for _, name, target in named} == OWN_FOLDERS
    assert services()["loki"]["environment"]["LOKI_DATA"] == OWN_FOLDERS["loki"]


def test_health_checks() -> None:
    """Health is asked only with a program that the image is known to have."""
    asked = {
        name: service["healthcheck"]["test"][1] for name, service in services().items() if "healthcheck" in service
    }
    assert asked == {"predictor": "predictor", "loki": "/usr/bin/loki", "tempo": "/tempo"}
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (own,) = re.findall(r"^HEALTHCHECK (.*) \\\n  CMD (.*)$", image, re.MULTILINE)
    check = services()["predictor"]["healthcheck"]
    options = [f"--{name.replace('_', '-')}={check[name]}" for name in ("interval", "timeout", "start_period")]
    assert own == (" ".join(options), json.dumps(check["test"][1:])), "the image's own"
