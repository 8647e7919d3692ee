"""What the predictor's pods are held to in every overlay and combination: settings, outbox, updates, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.config import settings
from tests.support.rendered_manifests import environment, everything, full, overlay, quantity

if TYPE_CHECKING:
    from tests.support.rendered_manifests import Pod

MEBI = 2**20


def predictor_settings(pod: Pod) -> settings.Settings:
    """Return what the server makes of the predictor container's environment; it refuses what it does not know."""
    return settings.load(environment(pod.spec["containers"][0]))


def test_the_server_accepts_its_environment() -> None:
    """Every PREDICTOR_ and OTEL_ variable of the predictor is one that the server knows, with a value that it takes."""
    for made in everything():
        told = predictor_settings(made.pod("predictor"))
        assert told.refuses, "an unloggable prediction is not made"
        assert told.export.logs is not None


def test_a_server_is_not_killed_while_it_ends() -> None:
    """The grace outlasts the sleep before SIGTERM, drain and flush together, with ten seconds to spare."""
    for made in everything():
        pod = made.pod("predictor")
        told = predictor_settings(pod)
        sleep = pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed = sleep + told.shutdown_delay + told.drain + told.flush
        assert pod.spec["terminationGracePeriodSeconds"] >= needed + 10, made.name


def test_the_outbox_fits_its_volume() -> None:
    """PREDICTOR_OUTBOX_BYTES refuses predictions before the volume is full and before the pod is evicted for it.

    Beyond the bound may come what a failed fsync makes the server write again, refused records, and traces: 336 MiB.
    """
    for made in everything():
        pod = made.pod("predictor")
        told = predictor_settings(pod)
        (mount,) = (one for one in pod.spec["containers"][0]["volumeMounts"] if one["name"] == "outbox")
        assert str(told.outbox).startswith(mount["mountPath"]) or str(told.outbox) == "outbox"
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        claims = {claim["metadata"]["name"]: claim for claim in pod.workload["spec"].get("volumeClaimTemplates", [])}
        if mount["name"] in claims:
            room = quantity(claims[mount["name"]]["spec"]["resources"]["requests"]["storage"])
        else:
            room = quantity(volumes[mount["name"]]["emptyDir"]["sizeLimit"])
        assert room >= told.outbox_bytes + 336 * MEBI, made.name


def test_updates_lose_no_request() -> None:
    """The Deployment never has fewer servers than it should, and a drain takes one at a time, also one not ready."""
    for made in everything():
        workload = made.pod("predictor").workload
        if workload["kind"] == "Deployment":
            assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        budget = made.one("PodDisruptionBudget", "predictor")["spec"]
        assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_autoscaler_and_manifest_do_not_fight() -> None:
    """With the component hpa the number of servers is the autoscaler's, and it scales the workload that is there."""
    for made in everything():
        scalers = made.kind("HorizontalPodAutoscaler")
        workload = made.pod("predictor").workload
        assert ("replicas" in workload["spec"]) is not bool(scalers), made.name
        for scaler in scalers:
            target = scaler["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"]), made.name


def test_durable_outboxes_outlive_their_pods() -> None:
    """With the component durable the outbox is on a claim of the pod's own that nothing deletes by itself."""
    workload = full("minikube").pod("predictor").workload
    assert workload["kind"] == "StatefulSet"
    assert set(workload["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    assert overlay("minikube").pod("predictor").workload["kind"] == "Deployment"
