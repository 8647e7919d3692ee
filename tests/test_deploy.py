"""`make deploy`, `undeploy`, `images` and `port-forward` with a kubectl that only writes down what it is asked."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from external import kustomize
from server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = ("sh", "bash", "env", "grep", "sed", "mktemp", "rm", "cat", "tr", "sleep")
KUBECTL = r"""#!/bin/sh
echo "$*" >>"$ASKED"
case "$*" in
  kustomize*) "$KUSTOMIZE" build "$2" | sed "s|registry.invalid/|${REGISTRY:-registry.invalid}/|" ;;
  *current-context) echo "${CONTEXT:-somewhere}" ;;
  *"get --raw"*) [ -z "${AWAY:-}" ] ;;
  *"get deployments"*) printf 'deployment.apps/predictor\nstatefulset.apps/loki\n' ;;
  *"rollout status ${STUCK:-nothing}"*) echo "error: timed out" >&2; exit 1 ;;
  *"get services"*) [ -z "${AWAY:-}" ] && echo "${SERVICES-service/api service/grafana}" ;;
  *port-forward*) echo "Forwarding"; exec sleep 600 ;;
esac
"""


class Person:
    """Somebody at a terminal: the tools that are on the path, and what kubectl was asked."""

    def __init__(self, folder: Path) -> None:
        """Put nothing on the path but plain tools."""
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.asked_at = folder / "asked"
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def gets(self, name: str, script: str) -> None:
        """Put a program on the path."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment for what is typed."""
        return {"PATH": str(self.bin), "ASKED": str(self.asked_at), "KUSTOMIZE": str(kustomize())} | more

    def types(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of our scripts from the project's folder."""
        command = [str(ROOT / "scripts" / script), *arguments]
        environment = self.environment(**more)
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    @property
    def asked(self) -> str:
        """Return what kubectl was asked, a line each."""
        return self.asked_at.read_text() if self.asked_at.exists() else ""


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Return somebody who has kubectl."""
    person = Person(tmp_path)
    person.gets("kubectl", KUBECTL)
    return person


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a failed command has said."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_an_overlay_that_is_not_there(person: Person) -> None:
    """A wrong OVERLAY is answered by the names that there are."""
    for script in ("deploy", "undeploy"):
        assert one_sentence(person.types(script, "gek")) == "There is no overlay gek; the overlays are: gke minikube."


def test_without_kubectl(tmp_path: Path) -> None:
    """A machine without kubectl hears what to install."""
    for number, command in enumerate((["deploy", "minikube"], ["undeploy", "minikube"], ["port-forward"])):
        (folder := tmp_path / str(number)).mkdir()
        assert "needs kubectl: install it" in one_sentence(Person(folder).types(*command))


def test_a_registry_must_be_set(person: Person) -> None:
    """Without a registry nothing is applied, and the sentence is the command that sets one."""
    sentence = one_sentence(person.types("deploy", "gke"))
    assert "cd kustomize/overlays/gke && kustomize edit set image predictor=" in sentence
    assert "apply" not in person.asked
    assert person.types("deploy", "gke", REGISTRY="images.example").returncode == 0
    assert "apply" in person.asked


def test_without_a_cluster(person: Person) -> None:
    """When no API server answers nothing is applied, and the sentence names the context."""
    assert "No Kubernetes cluster answers in the context somewhere" in one_sentence(
        person.types("deploy", "minikube", AWAY="1")
    )
    for command in (["undeploy", "minikube"], ["port-forward"]):
        assert "No Kubernetes cluster answers" in one_sentence(person.types(*command, AWAY="1"))
    assert not {"apply", "delete"} & set(person.asked.split())


def test_deploy_waits_and_says_how_to_reach_it(person: Person) -> None:
    """After applying, each workload's rollout is waited for; then API and Grafana are named."""
    done = person.types("deploy", "minikube")
    assert (done.returncode, done.stderr) == (0, "")
    asked = [line for line in person.asked.splitlines() if "apply" in line or "rollout" in line]
    assert asked[0].startswith("apply --filename ")
    assert [line.split()[4] for line in asked[1:]] == ["deployment.apps/predictor", "statefulset.apps/loki"]
    assert "http://127.0.0.1:8000/predict/test/label" in done.stdout
    assert "http://127.0.0.1:3000" in done.stdout


def test_a_rollout_that_does_not_end(person: Person) -> None:
    """A workload that does not become ready is named, and the exit status says so."""
    done = person.types("deploy", "minikube", STUCK="statefulset.apps/loki", TIMEOUT="5s")
    assert done.returncode == 1
    assert "statefulset.apps/loki is not ready after 5s" in done.stderr
    assert "Everything runs" not in done.stdout


def test_undeploy_removes_what_was_applied(person: Person) -> None:
    """What an overlay made is deleted by the same overlay, and twice is no error."""
    assert person.types("undeploy", "gke").returncode == 0
    assert "delete --kustomize kustomize/overlays/gke --ignore-not-found" in person.asked


def test_forwarding_ends_cleanly(person: Person) -> None:
    """Ctrl-C ends both forwards and leaves no process behind; the exit status is 0."""
    command = [str(ROOT / "scripts" / "port-forward")]
    with subprocess.Popen(command, env=person.environment(), stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout
        lines = "".join(forward.stdout.readline() for _ in range(5))  # kubectl's two among them
        forward.send_signal(signal.SIGINT)
        assert forward.wait(20) == 0
        assert forward.stdout.read() == ""  # the end of it: nobody holds it any more
    assert "http://127.0.0.1:8000" in lines
    assert "http://127.0.0.1:3000" in lines
    assert "port-forward service/api 8000:8000" in person.asked


def test_forwarding_without_grafana(person: Person) -> None:
    """Where Grafana is not deployed the API alone is forwarded; without the API the way to it is said."""
    assert "make deploy first" in one_sentence(person.types("port-forward", SERVICES="service/loki"))
    command = [str(ROOT / "scripts" / "port-forward")]
    environment = person.environment(SERVICES="service/api")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout
        lines = "".join(forward.stdout.readline() for _ in range(3))
        forward.terminate()
        assert forward.wait(20) == 0
    assert "Ctrl-C" in lines
    assert ":3000" not in lines
    assert "grafana" not in person.asked.replace("get services", "")


@pytest.mark.parametrize("builder", ["docker", "buildah"])
def test_images_are_loaded_into_minikube(person: Person, builder: str) -> None:
    """The image is handed over under the name that the kubelet looks for; elsewhere a sentence says what to do."""
    person.gets(builder, f'#!/bin/sh\necho "{builder} $*" >>"$ASKED"\n')
    elsewhere = person.types("load-image", "predictor:dev")
    assert elsewhere.returncode == 0
    assert "push predictor:dev to a registry" in elsewhere.stdout
    without = person.types("load-image", "predictor:dev", CONTEXT="minikube")
    assert "needs minikube: install it" in one_sentence(without)
    person.gets("minikube", '#!/bin/sh\necho "minikube $*" >>"$ASKED"\n')
    assert person.types("load-image", "predictor:dev", CONTEXT="minikube").returncode == 0
    assert "minikube image load /" in person.asked
    name = "predictor:dev" if builder == "docker" else ":docker.io/library/predictor:dev"
    assert f"{name}\nminikube" in person.asked
