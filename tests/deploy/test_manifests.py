"""What the pods of every overlay and combination of components are held to: security, images, resources, ends."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from scripts.manifests import rendering
from tests.support.rendered_manifests import combined, deployed, everything, quantity, variables

if TYPE_CHECKING:
    from tests.support.rendered_manifests import Manifest, Rendering

EXACT = re.compile(r"(?:[\w.-]+/)*[\w.-]+:(?:\d+\.\d+\.\d+|dev)(?:@sha256:[0-9a-f]{64})?")


@pytest.mark.parametrize("models", rendering.MODELS)
def test_components_come_in_any_order(models: str) -> None:
    """Whoever lists components in another order gets the same objects."""
    names = rendering.everything(models)
    one, other = combined(tuple(names)), combined(tuple(reversed(names)))

    def comparable(made: Rendering) -> dict[str, Manifest]:
        mine = replace(made, objects=copy.deepcopy(made.objects))  # the rendering is shared
        for pod in mine.pods():
            for container in pod.containers:
                for listed in ("env", "args", "ports"):  # their order means nothing, or is for other tests
                    container[listed] = sorted(container.get(listed, []), key=str)
        return {rendering.name_of(manifest): manifest for manifest in mine.objects}

    assert comparable(one) == comparable(other)


def test_pods_have_no_rights_that_they_do_not_need() -> None:
    """Every pod runs as an ordinary user with a read-only root, no capability, no host path, port or network."""
    for made in everything():
        assert made.pods()
        for pod in made.pods():
            where = f"{made.name}: {pod.name}"
            context = pod.spec["securityContext"]
            assert context["runAsNonRoot"] is True, where
            assert min(context["runAsUser"], context["runAsGroup"]) >= 10_000, where
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), where
            kinds = ("configMap", "emptyDir", "image", "persistentVolumeClaim", "secret")
            there = {frozenset(volume) for volume in pod.spec.get("volumes", [])}
            assert there <= {frozenset({"name", kind}) for kind in kinds}, where
            for container in pod.containers:
                own = container["securityContext"]
                assert own["allowPrivilegeEscalation"] is False, where
                assert own["readOnlyRootFilesystem"] is True, where
                assert own["capabilities"] == {"drop": ["ALL"]}, where
                assert own.get("privileged", False) is False, where
                assert not {"runAsUser", "runAsNonRoot"} & own.keys(), f"{where}: undoes what the pod says"
                assert not any("hostPort" in port for port in container.get("ports", [])), where


def test_only_the_collector_of_traces_has_a_token() -> None:
    """No pod gets a token of the API server but the Collector, and that only with the component tempo."""
    for made in everything():
        accounts = {account["metadata"]["name"] for account in made.kind("ServiceAccount")}
        traced = any(pod.labels["app.kubernetes.io/name"] == "tempo" for pod in made.pods())
        for pod in made.pods():
            assert pod.spec["serviceAccountName"] in accounts
            assert pod.spec["enableServiceLinks"] is False, f"{made.name}: {pod.name}"
            wanted = traced and pod.labels["app.kubernetes.io/name"] == "collector"
            assert pod.spec["automountServiceAccountToken"] is wanted, f"{made.name}: {pod.name}"
        assert all(account["automountServiceAccountToken"] is False for account in made.kind("ServiceAccount"))


def test_stateful_sets_have_headless_services() -> None:
    """The Service that a StatefulSet names is headless and chooses its pods, so that each has an address of its own."""
    found = set()
    for made in everything():
        services = {service["metadata"]["name"]: service["spec"] for service in made.kind("Service")}
        for one in made.kind("StatefulSet"):
            service = services[one["spec"]["serviceName"]]
            assert service["clusterIP"] == "None", f"{made.name}: {rendering.name_of(one)}"
            assert service["selector"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
            found.add(one["metadata"]["name"])
    assert found == {"loki", "tempo", "predictor"}


def test_images_have_exact_tags() -> None:
    """What was tested is what runs: no image without an exact tag, none latest."""
    for made in everything():
        for pod in made.pods():
            images = [(one["image"], one["imagePullPolicy"]) for one in pod.containers]
            volumes = [one["image"] for one in pod.spec.get("volumes", []) if "image" in one]
            for image, policy in images + [(one["reference"], one["pullPolicy"]) for one in volumes]:
                assert EXACT.fullmatch(image), f"{made.name}: {image}"
                assert policy == "IfNotPresent"


def test_no_pod_takes_more_than_it_says() -> None:
    """Every container bounds CPU, memory and disk, and what its pod may write in volumes fits below the disk bound."""
    for made in everything():
        for pod in made.pods():
            for container in pod.containers:
                requests, limits = container["resources"]["requests"], container["resources"]["limits"]
                for what in ("cpu", "memory", "ephemeral-storage"):
                    assert 0 < quantity(requests[what]) <= quantity(limits[what]), f"{made.name}: {pod.name}: {what}"
            scratch = [volume["emptyDir"] for volume in pod.spec.get("volumes", []) if "emptyDir" in volume]
            at_once, at_start = (
                [quantity(one["resources"]["limits"]["ephemeral-storage"]) for one in pod.spec.get(key, [])]
                for key in ("containers", "initContainers")
            )
            bound = max(sum(at_once), *at_start, 0)  # as the kubelet has it
            assert sum(quantity(one["sizeLimit"]) for one in scratch) < bound, f"{made.name}: {pod.name}"


def test_go_programs_know_their_memory_limit() -> None:
    """Collector, Loki, Tempo and Grafana collect garbage at 80 % of the limit, or earlier, instead of being killed."""
    for made in deployed():
        for name in ("collector", "loki", "tempo", "grafana"):
            (container,) = made.pod(name).spec["containers"]
            soft = quantity(variables(container)["GOMEMLIMIT"].removesuffix("B"))
            limit = quantity(container["resources"]["limits"]["memory"])
            assert 0.4 * limit < soft <= 0.8 * limit, f"{made.name}: {name}"


def test_probes_ask_different_questions() -> None:
    """Whether to send traffic and whether to restart are two questions: no pod answers both at the same place."""
    for made in everything():
        for pod in made.pods():
            if pod.labels["app.kubernetes.io/name"] == "client" or pod.workload["kind"] == "CronJob":
                continue  # answers nobody
            for container in pod.spec["containers"]:
                readiness, liveness = container["readinessProbe"], container["livenessProbe"]
                assert (readiness.get("httpGet"), readiness.get("tcpSocket")) != (
                    liveness.get("httpGet"),
                    liveness.get("tcpSocket"),
                ), f"{made.name}: {pod.name}"
                for probe in (readiness, liveness, container["startupProbe"]):
                    port = (probe.get("httpGet") or probe["tcpSocket"])["port"]
                    assert port in pod.ports(), f"{made.name}: {pod.name}: {port}"


def test_variables_are_declared_before_they_are_used() -> None:
    """Kubernetes fills in `$(NAME)` only from variables that stand above; others stay as they are written."""
    for made in everything():
        for pod in made.pods():
            for container in pod.containers:
                known: set[str] = set()
                for one in container.get("env", []):
                    assert set(re.findall(r"\$\((\w+)\)", one.get("value", ""))) <= known, f"{made.name}: {one}"
                    known.add(one["name"])
