"""The components that bring models from elsewhere: an image volume, and a download that is held to checksums."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from predictor.config import settings
from scripts.manifests import rendering
from tests.support.external_programs import on_path
from tests.support.rendered_manifests import combined, environment, quantity, render
from tests.support.server import IRIS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rendered_manifests import Pod

COMPONENTS = rendering.FOLDER / "components"
LISTED = (".onnx", ".toml")


def served(models: str) -> Pod:
    """Return the server's pod as a component makes it."""
    return combined(("loki", models)).pod("predictor")


def served_by(models: str) -> list[Any]:
    """Return the containers that bring the models, in their order."""
    return [*served(models).spec["initContainers"]]


def readme(models: str) -> str:
    """Return what a component says of itself."""
    return (COMPONENTS / models / "README.md").read_text(encoding="utf-8")


def documents(models: str) -> list[list[Any]]:
    """Return the blocks of YAML in a component's README, each as its documents."""
    found = re.findall(r"^```yaml\n(.*?)^```$", readme(models), re.MULTILINE | re.DOTALL)
    return [[*yaml.safe_load_all(block)] for block in found]


def overlaid(folder: Path, models: str, shown: dict[str, Any]) -> list[rendering.Manifest]:
    """Return what kustomize makes of the base with Loki, a component, and what its README adds to an overlay."""
    to_here = os.path.relpath(rendering.FOLDER, folder.resolve())
    names = ["loki", models]
    overlay = shown | {
        "resources": [f"{to_here}/base"],
        "components": [f"{to_here}/components/{name}" for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    return rendering.parsed(render(folder))


@pytest.mark.parametrize("models", rendering.MODELS)
def test_the_server_reads_what_is_brought(models: str) -> None:
    """The server is told the folder at which the models' volume is mounted, for reading only."""
    (container,) = served(models).spec["containers"]
    told = settings.load(environment(container))
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == "models")
    assert str(told.model) == mount["mountPath"]
    assert mount["readOnly"] is True
    (plain,) = combined(("loki",)).pod("predictor").spec["containers"]
    assert all(one["name"] != "models" for one in plain["volumeMounts"])


def test_the_image_volume_is_named_by_an_overlay(tmp_path: Path) -> None:
    """The README's overlay gives the volume an image of a registry, and the server keeps its own."""
    ((shown,),) = documents("model-image")
    made = overlaid(tmp_path, "model-image", shown)
    (server,) = (each for each in made if rendering.name_of(each) == "Deployment/predictor")
    spec = server["spec"]["template"]["spec"]
    (volume,) = (each for each in spec["volumes"] if each["name"] == "models")
    (wanted,) = shown["images"]
    assert volume["image"] == {
        "reference": f"{wanted['newName']}:{wanted['newTag']}",
        "pullPolicy": "IfNotPresent",
    }
    assert spec["containers"][0]["image"] == "predictor:dev"


def test_an_image_of_models_can_be_made(tmp_path: Path) -> None:
    """The README's Dockerfile is two lines that copy a folder with a mode in which the server's user can read it."""
    commands = re.findall(r"^printf '(.*)' >models\.Dockerfile$", readme("model-image"), re.MULTILINE)
    lines = subprocess.run(["printf", *commands], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == ["FROM scratch", "COPY --chmod=755 . /"]
    assert f"--tag registry.example/models:1.0.0 {IRIS.relative_to(ROOT)}\n" in readme("model-image")
    assert documents("model-image")[0][0]["images"][0]["newName"] == "registry.example/models"
    assert not [*tmp_path.iterdir()]


def test_downloads_come_before_the_server() -> None:
    """One init container fetches into the volume, the next holds it to the list and cannot change it."""
    pod = served("model-download")
    fetch, check = served_by("model-download")
    assert fetch["image"] == check["image"]
    assert fetch["args"][:3] == ["sync", "$(MODEL_SOURCE)", "/mnt/models"]
    assert check["args"][:4] == ["checksum", "sha256", "/etc/models/SHA256SUMS", "/mnt/models"]
    assert "--copy-links" in check["args"], "the list is a link, as each file of a ConfigMap"
    assert "--one-way" not in check["args"], "a file that is not listed is a fault too"
    assert all(mount["readOnly"] for mount in check["volumeMounts"])
    (given,) = fetch["envFrom"]
    made = combined(("loki", "model-download"))
    source = made.one("ConfigMap", given["configMapRef"]["name"])["data"]
    remote, _, _ = source["MODEL_SOURCE"].partition(":")
    names = source.keys() - {"MODEL_SOURCE"}
    assert all(name.startswith(f"RCLONE_CONFIG_{remote.upper()}_") for name in names)
    assert source["RCLONE_CONFIG_MODELS_ENDPOINT"].endswith(".invalid"), "nobody's store is asked"
    (keys,) = (volume["secret"] for volume in pod.spec["volumes"] if "secret" in volume)
    assert keys["optional"] is True
    command = re.findall(r"create secret generic (\S+) --from-file (\S+)", readme("model-download"))
    assert command == [(keys["secretName"], "rclone.conf")]
    assert "--config=/etc/rclone/rclone.conf" in fetch["args"]
    assert {mount["name"]: mount["mountPath"] for mount in fetch["volumeMounts"]}["keys"] == "/etc/rclone"


@pytest.mark.parametrize(
    ("change", "served"), [("none", True), ("altered", False), ("missing", False), ("more", False)]
)
def test_what_is_not_listed_is_not_served(tmp_path: Path, change: str, served: bool) -> None:  # noqa: FBT001
    """rclone, with the containers' own arguments, takes a folder with exactly the listed files, and no other one."""
    rclone = on_path("rclone")
    store, models, mounted = tmp_path / "store", tmp_path / "models", tmp_path / "mounted"
    shutil.copytree(IRIS, store, ignore=lambda _, names: {name for name in names if not name.endswith(LISTED)})
    if change == "altered":
        (store / "model.toml").write_bytes((store / "model.toml").read_bytes() + b"\n")
    elif change == "missing":
        (store / "training.toml").unlink()
    elif change == "more":
        (store / "2").mkdir()
        (store / "2" / "model.onnx").write_bytes(b"more")
    (mounted / "..data").mkdir(parents=True)  # as the kubelet mounts a ConfigMap: each file is a link
    shutil.copy(COMPONENTS / "model-download" / "SHA256SUMS", mounted / "..data")
    (mounted / "SHA256SUMS").symlink_to("..data/SHA256SUMS")
    places = {"$(MODEL_SOURCE)": f"models:{store}", "/mnt/models": str(models), "/etc/models": str(mounted)}
    ended = []
    for container in served_by("model-download"):
        arguments = [
            re.sub("|".join(map(re.escape, places)), lambda at: places[at[0]], one) for one in container["args"]
        ]
        environment = {"RCLONE_CONFIG_MODELS_TYPE": "local", "HOME": str(tmp_path)}
        done = subprocess.run([rclone, *arguments], env=environment, capture_output=True, text=True, check=False)
        ended.append((done.returncode, done.stderr))
    assert ended[0][0] == 0, ended[0]
    assert (ended[1][0] == 0) is served, ended[1]


def test_the_example_of_checksums() -> None:
    """The component's own list is that of iris, so that it can be tried with the model that comes with the project."""
    listed = (COMPONENTS / "model-download" / "SHA256SUMS").read_text(encoding="utf-8")
    names = ("classifier.onnx", "model.toml", "outlier.onnx", "training.toml")
    own = [f"{hashlib.sha256((IRIS / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert listed == "".join(own), "run: cd models/iris && sha256sum *.onnx *.toml"
    assert {path.name for pattern in ("*.onnx", "*.toml") for path in IRIS.glob(pattern)} == set(names)


def test_the_list_is_made_as_the_readme_says(tmp_path: Path) -> None:
    """The README's command lists every file, those of folders below it and odd names too, as sha256sum checks it."""
    (command,) = re.findall(r"^cd churn/3 && (.*)$", readme("model-download"), re.MULTILINE)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"one")
    (tmp_path / "a name").write_bytes(b"two")
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.split("  ", 1)[1] for line in done.stdout.splitlines()] == ["1/model.onnx", "a name"]
    checked = subprocess.run(["sha256sum", "-c"], input=done.stdout, cwd=tmp_path, text=True, check=False)
    assert checked.returncode == 0


def test_another_source_rolls_the_pods(tmp_path: Path) -> None:
    """The README's overlay replaces source and list, and another list gives the pods another ConfigMap."""
    (overlay,), patches = documents("model-download")
    (patch,) = overlay["patches"]
    mounted = []
    for digest in ("0d1f", "0d1e"):
        text = yaml.safe_dump_all(patches).replace("0d1f", digest)
        (tmp_path / patch["path"]).write_text(text, encoding="utf-8")
        made = overlaid(tmp_path, "model-download", overlay)
        (server,) = (each for each in made if rendering.name_of(each) == "Deployment/predictor")
        spec = server["spec"]["template"]["spec"]
        (volume,) = (each for each in spec["volumes"] if each["name"] == "checksums")
        name = volume["configMap"]["name"]
        (listed,) = (each for each in made if each["metadata"]["name"] == name)
        assert digest in listed["data"]["SHA256SUMS"]
        source = spec["initContainers"][0]["envFrom"][0]["configMapRef"]["name"]
        (told,) = (each for each in made if each["metadata"]["name"] == source)
        assert told["data"].items() >= patches[0]["data"].items()
        assert told["data"]["RCLONE_CONFIG_MODELS_TYPE"] == "s3", "what the patch does not name stays"
        mounted.append(name)
    assert mounted[0] != mounted[1]


def test_models_fit_beside_the_outbox() -> None:
    """What the download may fill is added to what the server may, in whatever order the components are listed."""
    (plain,) = combined(("loki",)).pod("predictor").spec["containers"]
    own = quantity(plain["resources"]["limits"]["ephemeral-storage"])
    for chosen in (("loki", "model-download"), ("durable", "loki", "model-download")):
        pod = combined(chosen).pod("predictor")
        (volume,) = (each for each in pod.spec["volumes"] if each["name"] == "models")
        room = quantity(volume["emptyDir"]["sizeLimit"])
        assert quantity(pod.spec["initContainers"][0]["resources"]["limits"]["ephemeral-storage"]) >= own + room
        assert f"{room / 2**30:g} GiB" in readme("model-download")
