"""The end of a container's first process, as `kill -9` would bring it, in any cluster and without a privilege.

Nobody inside can kill a PID namespace's first process by a signal. The kernel can, and does when the process has used
up its CPU time; whoever has the same user and group may lower that limit.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.cluster.kubectl import until

if TYPE_CHECKING:
    from tests.cluster.kubectl import Kubectl

_END = "import resource; resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))"
_SIGKILL = 137
_PREFIX = "test-kill-"


class Killed(NamedTuple):
    """Which container was killed."""

    pod: str
    uid: str
    restarts: int
    """How often it has been started anew by now."""


def kill(kubectl: Kubectl, pod: Any, *, python: bool) -> Killed:  # noqa: ANN401 - parsed JSON
    """Kill the first container of a pod; return when another has taken its place. A kill that kills nothing fails.

    `python`: there is one in the container; otherwise the predictor's image lends its own, in an ephemeral container.
    """
    name = str(pod["metadata"]["name"])
    before = _status(kubectl, name)
    container = pod["spec"]["containers"][0]
    if python:
        kubectl.run("exec", name, f"--container={container['name']}", "--", "python", "-c", _END)
    else:
        _inject(kubectl, name, container)
    until(lambda: _status(kubectl, name)["restartCount"] > before["restartCount"], f"the end of {name}'s container")
    after = _status(kubectl, name)
    ended = after["lastState"]["terminated"]
    assert ended["containerID"] == before["containerID"], f"{name}: another container ended than the one to be killed"
    assert ended["exitCode"] == _SIGKILL, f"{name} ended by itself: {ended}"
    assert ended["reason"] != "OOMKilled", f"{name} ran out of memory: {ended}"
    return Killed(name, str(pod["metadata"]["uid"]), int(after["restartCount"]))


def until_ready(kubectl: Kubectl, pod: str) -> None:
    """Return when a pod's first container is ready again."""
    until(lambda: _status(kubectl, pod)["ready"], f"{pod} is ready again")


def tidy(kubectl: Kubectl, *names: str) -> None:
    """Replace the pods that carry ended ephemeral containers: a pod cannot be rid of them otherwise."""
    for name in names:
        for pod in kubectl.pods(name):
            if any(each["name"].startswith(_PREFIX) for each in pod["spec"].get("ephemeralContainers", [])):
                kubectl.run("delete", "pod", str(pod["metadata"]["name"]), "--wait")


def _status(kubectl: Kubectl, name: str) -> Any:  # noqa: ANN401 - parsed JSON
    pod = kubectl.get("pod", name)
    assert pod, f"{name} is gone"
    container = pod["spec"]["containers"][0]["name"]
    (status,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == container)
    return status


def _inject(kubectl: Kubectl, name: str, container: dict[str, Any]) -> None:
    """Add a container that shares the target's processes, and is no one else than it."""
    pod = kubectl.get("pod", name)
    identity = pod["spec"].get("securityContext", {}) | container.get("securityContext", {})
    assert identity.get("runAsUser"), f"{name} does not say which user it runs as"
    (lender, *_) = kubectl.pods("predictor")[0]["spec"]["containers"]
    pod["spec"].setdefault("ephemeralContainers", []).append(
        {
            "name": _PREFIX + secrets.token_hex(3),
            "image": lender["image"],
            "imagePullPolicy": lender["imagePullPolicy"],
            "command": ["python", "-c", _END],
            "targetContainerName": container["name"],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "runAsUser": identity["runAsUser"],
                "runAsGroup": identity.get("runAsGroup", identity["runAsUser"]),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
    )
    del pod["metadata"]["resourceVersion"]  # the status may change meanwhile; only the new container is taken
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{name}/ephemeralcontainers"
    kubectl.run("replace", f"--raw={path}", "--filename=-", stdin=json.dumps(pod))
