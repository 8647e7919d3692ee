"""The load inside the cluster, as a test holds it: a pod with the predictor's image that asks the Service `api`.

with Client(kubectl) as client:
    client.more(500)            # waits until so many more rows are acknowledged
    ledger = client.settle()    # what was acknowledged, complete
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.cluster import program
from tests.cluster.kubectl import KubectlError, until
from tests.support.ledger import Answer, Ledger

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tests.cluster.kubectl import Kubectl

_URL = "http://api:8000"
_PACE = 0.05  # s; the cluster may be one small machine, and every row is read back from Loki
_ROOT = Path(__file__).parents[2]
PROGRAM = (
    "tests/__init__.py",
    "tests/cluster/__init__.py",
    "tests/cluster/program.py",
    "tests/support/__init__.py",
    "tests/support/ledger.py",
)
"""All that the load is made of, under the same names in its pod."""
_LABELS = {"app.kubernetes.io/name": "client", "app.kubernetes.io/managed-by": "test-cluster"}
_ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode() or None, {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=30) as answer:
    print(json.dumps([answer.headers["X-Trace-Id"], json.load(answer)]))
"""


class Status(NamedTuple):
    """How far the load is."""

    rows: int
    """Acknowledged rows."""
    cut: int
    """Requests without an answer."""
    refusals: dict[str, int]
    errors: dict[str, int]
    settled: bool = False
    sha256: str = ""


class Client:
    """A pod that asks; gone when the block ends, however it ends."""

    def __init__(self, kubectl: Kubectl, clients: int = 4, pace: float = _PACE) -> None:
        """Ask with so many clients on kept connections and as many on new ones, pausing so many seconds in between."""
        self.name = f"test-client-{secrets.token_hex(3)}"
        self._kubectl = kubectl
        self._arguments = [_URL, str(clients), str(pace)]

    def __enter__(self) -> Self:
        """Start the pod and return when it is asking."""
        try:
            self._kubectl.create(*self._objects())
            self._kubectl.run("wait", f"pod/{self.name}", "--for=condition=Ready", "--timeout=120s")
            until(self.status, f"the first line of {self.name}", 60)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the pod and what belongs to it."""
        self._remove()

    def status(self) -> Status | None:
        """Return the newest counts; fails if the load itself broke."""
        pod = self._kubectl.get("pod", self.name)
        lines = self._kubectl.run("logs", self.name, "--tail=20").splitlines()
        if not pod or pod["status"]["phase"] != "Running":
            pytest.fail(f"{self.name} has ended:\n" + "\n".join(lines))
        return Status(**json.loads(lines[-1])) if lines else None

    def more(self, rows: int) -> None:
        """Wait until so many more rows are acknowledged."""
        before = self.status()
        assert before
        until(lambda: (now := self.status()) and now.rows >= before.rows + rows, f"{rows} more rows after {before}")

    def settle(self) -> Ledger:
        """Ask nothing more, and return the ledger; says if not all of it could be read."""
        self._exec("import os, signal; os.kill(1, signal.SIGUSR1)")
        status = until(lambda: (now := self.status()) and now.settled and now, "the load's end", 120)
        assert isinstance(status, Status)
        text = until(lambda: self._answers(status.sha256), "the whole ledger, by its digest", 120)
        assert text is not None
        ledger = Ledger(cut=status.cut, refusals=Counter(status.refusals))
        for line in text.splitlines():
            job, index, answer = json.loads(line)
            ledger.answers[job, index] = Answer(*answer)
        assert len(ledger.answers) == status.rows
        return ledger

    def ask(self, path: str, body: object = None) -> tuple[str, Any]:
        """Ask the Service once, from inside; return the trace id and the parsed answer."""
        trace, answer = json.loads(self._exec(_ASK, _URL + path, "" if body is None else json.dumps(body)))
        return trace, answer

    def _answers(self, sha256: str) -> str | None:
        # A long output of `exec` can be cut short without an error.
        text = self._kubectl.run("exec", self.name, "--", "cat", str(program.ANSWERS))
        return text if hashlib.sha256(text.encode()).hexdigest() == sha256 else None

    def _exec(self, code: str, *arguments: str) -> str:
        return self._kubectl.run("exec", self.name, "--", "python", "-c", code, *arguments)

    def _remove(self) -> None:
        for kind in ("pod", "configmap"):
            try:
                self._kubectl.run("delete", kind, self.name, "--ignore-not-found", "--wait")
            except KubectlError as error:  # the others are removed all the same
                print(error)  # noqa: T201 - pytest shows it

    def _objects(self) -> list[dict[str, Any]]:
        """Return the program and the pod; its name is the one that the NetworkPolicies let in."""
        meta = {"name": self.name, "labels": _LABELS}
        (predictor, *_) = self._kubectl.pods("predictor")[0]["spec"]["containers"]
        container = {
            "name": "client",
            "image": predictor["image"],
            "imagePullPolicy": predictor["imagePullPolicy"],
            "command": ["python", "-m", "tests.cluster.program", *self._arguments],
            "workingDir": "/program",
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "256Mi"},
                "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "1Gi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("program", "ledger")],
        }
        keys = {path.replace("/", "."): path for path in PROGRAM}  # a ConfigMap has no folders
        mounted = {"name": self.name, "items": [{"key": key, "path": path} for key, path in keys.items()]}
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "program", "configMap": mounted}, {"name": "ledger", "emptyDir": {}}],
        }
        return [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": meta,
                "data": {key: (_ROOT / path).read_text(encoding="utf-8") for key, path in keys.items()},
            },
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        ]
