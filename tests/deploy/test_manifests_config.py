"""What ConfigMaps and the folder itself are held to: hashes, files that are there, pieces, nothing unexplained."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from scripts.manifests import rendering
from tests.support.rendered_manifests import combined, everything, full

if TYPE_CHECKING:
    from tests.support.rendered_manifests import Pod, Rendering

OUR_IMAGES = ("predictor:", "registry.invalid/predictor:")
HASHED = re.compile(r".+-[a-z0-9]{10}")
PARTS = [*rendering.FOLDER.glob("overlays/*"), *rendering.FOLDER.glob("components/*")]


def files(made: Rendering, pod: Pod) -> set[str]:
    """Return the paths of all files that ConfigMaps bring into a pod's first container."""
    maps = {one["metadata"]["name"]: one["data"] for one in made.kind("ConfigMap")}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod.spec["containers"][0].get("volumeMounts", [])}
    found = set()
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume and volume["name"] in mounts:
            data = maps[volume["configMap"]["name"]]
            items = volume["configMap"].get("items", [{"key": key, "path": key} for key in data])
            assert {item["key"] for item in items} <= data.keys(), f"{made.name}: {pod.name}"
            found |= {f"{mounts[volume['name']]}/{item['path']}" for item in items}
    return found


def test_changed_configuration_rolls_the_pods() -> None:
    """Every ConfigMap has its content's hash in its name, so new content means new pods; each is somebody's."""
    for made in everything():
        used = {
            volume["configMap"]["name"]
            for pod in made.pods()
            for volume in pod.spec.get("volumes", [])
            if "configMap" in volume
        }
        used |= {
            source["configMapRef"]["name"]
            for pod in made.pods()
            for container in pod.containers
            for source in container.get("envFrom", [])
            if "configMapRef" in source
        }
        # Dashboard and alerts for a Grafana of the cluster's are mounted by nobody here.
        sidecars = {"grafana_dashboard", "grafana_alert"}
        maps = [one for one in made.kind("ConfigMap") if not sidecars & one["metadata"].get("labels", {}).keys()]
        there = {one["metadata"]["name"] for one in maps}
        assert used == there, made.name
        assert all(HASHED.fullmatch(name) for name in there), made.name


def test_kubectl_can_apply_every_object() -> None:
    """`kubectl apply` keeps each object in an annotation, and all annotations of an object hold 256 KiB at most."""
    for name in rendering.overlays():
        for manifest in full(name).objects:
            assert len(json.dumps(manifest).encode()) < 250 * 1024, rendering.name_of(manifest)


def test_files_in_arguments_are_mounted() -> None:
    """Every file that a program is told to read is in the ConfigMap that is mounted there, or in our own image."""
    assert "COPY predictor/demo/iris /srv/models/iris\n" in (rendering.ROOT / "Dockerfile").read_text()
    for made in everything():
        for pod in made.pods():
            mounted = files(made, pod)
            for argument in pod.spec["containers"][0].get("args", []):
                if named := re.search(r"(?:^|=)(/(?!var/)\S+)$", argument):
                    ours = rendering.ROOT / named[1].removeprefix("/srv/")
                    in_image = pod.spec["containers"][0]["image"].startswith(OUR_IMAGES) and ours.is_file()
                    assert in_image or named[1] in mounted, f"{made.name}: {pod.name}: {argument}"


def test_components_choose_the_collectors_pieces() -> None:
    """The Collector reads base.yaml and exactly the pieces of the components that were chosen."""
    for chosen in rendering.combinations():
        arguments = combined(chosen).pod("collector").spec["containers"][0]["args"]
        pieces = [argument.removeprefix("--config=/etc/otelcol/").removesuffix(".yaml") for argument in arguments]
        wanted = (
            {"base"} | ({"stdout", "loki", "tempo"} & set(chosen)) | ({"kubernetes"} if "tempo" in chosen else set())
        )
        assert (pieces[0], set(pieces), len(pieces)) == ("base", wanted, len(wanted)), chosen
        if "tempo" in chosen:  # it replaces a list of tempo.yaml
            assert pieces.index("kubernetes") > pieces.index("tempo"), chosen


def test_every_file_is_named_and_every_part_explained() -> None:
    """No manifest lies about unused, and each overlay and component has a README."""
    for folder in [rendering.FOLDER / "base", *PARTS]:
        text = (folder / "kustomization.yaml").read_text()
        for path in folder.glob("*.yaml"):
            assert path.name == "kustomization.yaml" or path.name in text, f"{folder.name}/{path.name} is not used"
    for folder in [rendering.FOLDER, *PARTS]:
        readme = (folder / "README.md").read_text()
        assert readme.startswith("# "), folder
        assert len(readme.splitlines()) >= 3, folder
    listed = (rendering.FOLDER / "README.md").read_text()
    assert all(f" {path.name}" in listed for path in PARTS)
