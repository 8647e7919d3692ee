"""The commands of docs/operations.md, the cluster's tutorial and the components name what is deployed and is there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import TYPE_CHECKING

from tests.support.rendered_manifests import deployed, full
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [
    ROOT / "docs" / "operations.md",
    ROOT / "docs" / "tutorials" / "in-your-cluster.md",
    *sorted((ROOT / "kustomize" / "components").glob("*/README.md")),
]
KINDS = {
    "daemonset": "DaemonSet",
    "deployment": "Deployment",
    "service": "Service",
    "statefulset": "StatefulSet",
}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the pages with its words; pipes, loops and the like are words too."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = re.findall(r"^```console\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        for line in "".join(shown).splitlines():
            yield line, shlex.split(line)


@cache
def names() -> dict[str, set[str]]:
    """Return the names of what is deployed, by kind."""
    found: dict[str, set[str]] = {}
    for made in deployed():
        for manifest in made.objects:
            found.setdefault(manifest["kind"], set()).add(manifest["metadata"]["name"])
    return found


def test_names_in_commands() -> None:
    """Every workload, Service, claim and label that a command or a sentence names is deployed."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = re.findall(rf"\b({'|'.join(KINDS)})(?:/| (?=predictor))([a-z-]+)", text)
    assert len(set(named)) >= 6
    for kind, name in named:
        assert name in names()[KINDS[kind]], f"{kind}/{name}"
    labels = {pod.labels["app.kubernetes.io/name"] for made in deployed() for pod in made.pods()}
    assert set(re.findall(r"app\.kubernetes\.io/name=(\w+)", text)) <= labels
    predictor = full("minikube").pod("predictor").workload
    (claim,) = predictor["spec"]["volumeClaimTemplates"]
    claims = re.findall(r"\bpvc (\S+?-\d)\b", text)
    assert claims
    for name in claims:
        assert re.fullmatch(rf"{claim['metadata']['name']}-{predictor['metadata']['name']}-\d", name)


def test_commands() -> None:
    """Every command names the namespace, make targets, files and ports that are there."""
    seen = 0
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line, words in commands():
        seen += 1
        for number, word in enumerate(words):
            # What is applied names its namespace itself; a kind of the cluster has none.
            named = {"diff", "apply", "clusterstoragecontainer"}
            if word == "kubectl" and named.isdisjoint(words[number : number + 3]):
                assert words[number + 1 : number + 3] == ["--namespace", "prediction-log"], line
            path = word.partition("=")[2] or word
            if re.match(r"(otel|kustomize|scripts|bench)/\S", path):
                assert (ROOT / path).exists(), line
            if word == "make":
                assert {one for one in words[number + 1 :] if re.fullmatch(r"[a-z-]+", one)} <= targets, line
        if "kubectl" in words and "port-forward" in words:
            kind, _, name = words[words.index("port-forward") + 1].partition("/")
            service = full("minikube").one(KINDS[kind], name)
            assert int(words[-1].partition(":")[2]) in [port["port"] for port in service["spec"]["ports"]], line
    assert seen > 30
