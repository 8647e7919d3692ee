"""`make deploy`, `undeploy`, `images`, `port-forward`, `collector`, with programs that only note what is asked."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.external_programs import kustomize
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
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
  *"port-forward service/${WAITS:-nothing}"*) [ -e "$READY" ] || {
    echo "error: unable to forward port because pod is not running." >&2; exit 1; }
    echo "Forwarding"; exec sleep 600 ;;
  *port-forward*) echo "Forwarding"; echo "Forwarding again"
    [ -n "${GONE:-}" ] || exec sleep 600
    until [ -e "$GONE" ]; do sleep 0.05; done; rm "$GONE"; echo "error: lost connection to pod" >&2; exit 1 ;;
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


@contextmanager
def forwarding(person: Person, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run `make port-forward` until the block ends; by then the test has ended it."""
    command = [str(ROOT / "scripts" / "port-forward")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=person.environment(**more), stdout=pipe, stderr=pipe, text=True) as forward:
        try:
            yield forward
        finally:
            forward.terminate()


def lines(forward: subprocess.Popen[str], number: int) -> list[str]:
    """Return the next lines that it prints, sorted: API and Grafana come in any order."""
    assert forward.stdout
    return sorted(forward.stdout.readline().strip() for _ in range(number))


_API, _GRAFANA = "The API: http://127.0.0.1:8000/predict/test/label", "Grafana: http://127.0.0.1:3000"


def test_forwarding_ends_cleanly(person: Person) -> None:
    """Ctrl-C ends both forwards and leaves no process behind; the exit status is 0."""
    with forwarding(person) as forward:
        assert lines(forward, 3) == ["Ctrl-C ends it.", _GRAFANA, _API]
        forward.send_signal(signal.SIGINT)
        assert forward.wait(20) == 0
        assert forward.stdout
        assert forward.stdout.read() == ""  # the end of it: nobody holds it any more
    assert "port-forward service/api 8000:8000" in person.asked


def test_forwarding_waits_for_a_pod(person: Person, tmp_path: Path) -> None:
    """A pod that does not run yet is waited for, with kubectl's reason said once; the API's forward does not wait."""
    ready = tmp_path / "ready"
    with forwarding(person, WAITS="grafana", READY=str(ready)) as forward:
        assert lines(forward, 2) == ["Ctrl-C ends it.", _API]
        assert forward.stderr
        said = "Waiting for the service grafana: error: unable to forward port because pod is not running.\n"
        assert forward.stderr.readline() == said
        while person.asked.count("port-forward service/grafana") < 2:
            time.sleep(0.05)  # what another process has asked can only be looked up
        ready.touch()
        assert lines(forward, 1) == [_GRAFANA]
        assert person.asked.count("port-forward service/api") == 1
        forward.send_signal(signal.SIGTERM)
        assert forward.wait(20) == 0
        assert forward.stderr.read() == ""


def test_forwarding_goes_on_after_a_rollout(person: Person, tmp_path: Path) -> None:
    """A forward whose pod has gone begins anew by itself."""
    gone = tmp_path / "gone"
    with forwarding(person, SERVICES="service/api", GONE=str(gone)) as forward:
        assert lines(forward, 2) == ["Ctrl-C ends it.", _API]
        gone.touch()
        assert lines(forward, 1) == [_API]
        assert person.asked.count("port-forward service/api") == 2


def test_forwarding_without_grafana(person: Person) -> None:
    """Where Grafana is not deployed the API alone is forwarded; without the API the way to it is said."""
    assert "make deploy first" in one_sentence(person.types("port-forward", SERVICES="service/loki"))
    with forwarding(person, SERVICES="service/api") as forward:
        assert lines(forward, 2) == ["Ctrl-C ends it.", _API]
        forward.terminate()
        assert forward.wait(20) == 0
    assert "grafana" not in person.asked.replace("get services", "")


@pytest.mark.parametrize("builder", ["docker", "buildah"])
@pytest.mark.parametrize(
    ("tool", "context", "asked"),
    [
        ("minikube", "minikube", r"minikube image load \S+/image.tar"),
        ("kind", "kind-mine", r"kind load image-archive \S+/image.tar --name mine"),
    ],
)
def test_images_are_loaded_into_a_local_cluster(
    person: Person, builder: str, tool: str, context: str, asked: str
) -> None:
    """The image is handed over under the name that the kubelet looks for; elsewhere a sentence says what to do."""
    person.gets(builder, f'#!/bin/sh\necho "{builder} $*" >>"$ASKED"\n')
    elsewhere = person.types("load-image", "predictor:dev")
    assert elsewhere.returncode == 0
    assert "push predictor:dev to a registry" in elsewhere.stdout
    without = person.types("load-image", "predictor:dev", CONTEXT=context)
    assert f"needs {tool}: install it" in one_sentence(without)
    person.gets(tool, f'#!/bin/sh\necho "{tool} $*" >>"$ASKED"\n')
    assert person.types("load-image", "predictor:dev", CONTEXT=context).returncode == 0
    name = "predictor:dev" if builder == "docker" else ":docker.io/library/predictor:dev"
    assert re.search(rf"{name}\n{asked}\n", person.asked)


def test_building_the_collector_shows_that_it_moves(person: Person, tmp_path: Path) -> None:
    """The build says how long it takes, and while it is silent what it does and for how long already."""
    for tool in ("cksum", "chmod", "mkdir", "dirname"):
        (person.bin / tool).symlink_to(str(shutil.which(tool)))
    said = tmp_path / "said"
    # Each waits until the progress of its own step has been said, and so shows that it is.
    builder = (
        f"until grep -q 'still .*compiling the Collector, ' {said}; do sleep 0.05; done; touch .cache/collector/otelcol"
    )
    person.gets(
        "go",
        f"#!/bin/sh\nuntil grep -q 'still .*its builder, ' {said}; do sleep 0.05; done\n"
        f'echo "#!/bin/sh" >"$GOBIN/builder"; echo "{builder}" >>"$GOBIN/builder"; chmod +x "$GOBIN/builder"\n',
    )
    (person.bin / "touch").symlink_to(str(shutil.which("touch")))
    (tmp_path / "otel").mkdir()
    (tmp_path / ".cache" / "collector").mkdir(parents=True)
    shutil.copy(ROOT / "otel" / "builder.yaml", tmp_path / "otel")
    with said.open("w") as stderr:
        done = subprocess.run(
            [ROOT / "scripts" / "collector"],
            cwd=tmp_path,
            env=person.environment(PROGRESS_SECONDS="1"),
            stderr=stderr,
            timeout=60,
            check=False,
        )
    first, *between, last = said.read_text().splitlines()
    assert done.returncode == 0, said.read_text()
    assert "takes up to ten minutes" in first
    assert between[0] == "  still fetching and compiling its builder, 1 s"
    assert last == "Built .cache/collector/otelcol."
    assert sorted(path.name for path in (tmp_path / ".cache").iterdir()) == ["bin", "collector"]
