"""kubectl, as a person would type it: whatever cluster the current context points to, no other way in."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMESPACE = "prediction-log"
PATIENCE = 300.0  # s; a pod that is scheduled, pulled and made ready on a busy machine
_Fact = TypeVar("_Fact")
_PAUSE = 0.5  # s; what another machine does can only be polled


class KubectlError(Exception):
    """kubectl refused; says what was asked and what kubectl said."""


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, namespace: str = NAMESPACE) -> None:
        """Take the current context."""
        self.namespace = namespace

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = PATIENCE) -> str:
        """Run one command and return what it prints; raises KubectlError."""
        command = ["kubectl", f"--namespace={self.namespace}", *arguments]
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            msg = f"{' '.join(command)}: no answer within {timeout:.0f} s"
            raise KubectlError(msg) from error
        if done.returncode:
            msg = f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}"
            raise KubectlError(msg)
        return done.stdout

    def get(self, kind: str, name: str) -> Any:  # noqa: ANN401 - parsed JSON
        """Return one object, or None if there is none."""
        text = self.run("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def pods(self, name: str) -> list[Any]:
        """Return the pods of one kind (`app.kubernetes.io/name`) that are not on their way out, in a fixed order."""
        found = json.loads(self.run("get", "pods", f"--selector=app.kubernetes.io/name={name}", "--output=json"))
        alive = [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]
        return sorted(alive, key=lambda pod: str(pod["metadata"]["name"]))

    def create(self, *objects: dict[str, Any]) -> None:
        """Create objects in this namespace."""
        for each in objects:
            self.run("create", "--filename=-", stdin=json.dumps(each))

    def rolled_out(self, workload: str) -> None:
        """Return when a Deployment, DaemonSet or StatefulSet has all its pods, of its newest kind."""
        self.run("rollout", "status", workload, f"--timeout={PATIENCE:.0f}s", timeout=PATIENCE + 30)

    @contextlib.contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[str]:
        """Forward a free local port to a Service's or pod's; yields the URL."""
        command = ["kubectl", f"--namespace={self.namespace}", "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stderr
            try:
                line = process.stdout.readline()  # comes as soon as it listens; the end of the file if it cannot
                if not (found := re.match(r"Forwarding from (\S+) ->", line)):
                    msg = f"{' '.join(command)}: {process.stderr.read().strip()}"
                    raise KubectlError(msg)
                yield f"http://{found[1]}"
            finally:
                process.terminate()


def until(fact: Callable[[], _Fact], what: str, patience: float = PATIENCE) -> _Fact:
    """Return the first answer that is true; fails with `what` was waited for."""
    end = time.monotonic() + patience
    while not (answer := fact()):
        if time.monotonic() > end:
            pytest.fail(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(_PAUSE)
    return answer
