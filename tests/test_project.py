"""The project's own promises: locks, make targets, CI and how an environment is made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
MAKEFILE = (ROOT / "Makefile").read_text()
PIN = re.compile(r"^([a-z0-9-]+==\S+(?: ; [^\\]+)?) ?\\$", re.MULTILINE)


def make_commands(text: str) -> set[str]:
    """Return the targets of the `make <target>` commands, not of the word in prose, that a text gives."""
    return set(re.findall(r"(?:^\s*|`|\$ |\S=\S* )make ([a-z0-9-]+)", text, re.MULTILINE))


def run_venv(path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/venv with nothing on the PATH but `path`."""
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "venv"), *arguments],
        env={"PATH": str(path), "VENV": str(path / "venv")} | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def fake_python(folder: Path, name: str, *, version: str, has_venv: bool = True) -> None:
    """Put a command into `folder` that answers what scripts/venv asks of a Python, and says which one made a venv."""
    major, minor = version.split(".")
    old_enough = 1 if (int(major), int(minor)) < (3, 11) else 0
    command = folder / name
    command.write_text(f"""#!/bin/sh
case "$*" in
  --version) echo "Python {version}" ;;
  *version_info\\ \\<*) exit {old_enough} ;;
  *ensurepip*) exit {0 if has_venv else 1} ;;
  *-venv*) echo "python{version}-venv" ;;
  *) echo "{name} was asked for $*" >&2; exit 3 ;;
esac
""")
    command.chmod(0o755)


def test_locks_pin_every_package_with_its_hashes_and_name_no_place() -> None:
    """A lock works with any registry and on any machine: it holds versions and hashes, no address and no path."""
    peers = [f"bench-{peer}" for peer in ("bentoml", "kserve", "litserve", "mlserver")]
    assert [lock.stem for lock in LOCKS] == [*peers, "dev", "manifests", "runtime", "train"]
    for lock in LOCKS:
        text = lock.read_text()
        assert "://" not in text
        assert not re.search(r"--(index|extra-index|find-links)", text)
        assert not re.search(r"(?<![\w.])/[a-z]", text)
        requirements = [line for line in text.splitlines() if line[:1].isalnum()]
        assert len(requirements) == len(PIN.findall(text)), f"{lock.name}: every requirement is pinned and hashed"


def test_what_is_tested_is_what_runs() -> None:
    """The development lock holds every version of the runtime lock, so that tests run on what is shipped."""
    pins = {lock.stem: set(PIN.findall(lock.read_text())) for lock in LOCKS}
    assert pins["runtime"]
    assert pins["runtime"] <= pins["dev"]


def test_locks_answer_what_pyproject_asks_for() -> None:
    """A dependency that was added to pyproject.toml without `make lock` is noticed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    runtime = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["gunicorn"]
    assert groups["build"] == project["build-system"]["requires"]
    wanted = {
        "runtime": runtime + groups["build"],
        "dev": runtime + groups["build"] + groups["dev"],
        "train": runtime + groups["build"] + groups["train"],
        "manifests": groups["build"] + groups["manifests"],
    }
    for name, requirements in wanted.items():
        locked = {pin.partition("==")[0] for pin in PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text())}
        asked = {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in requirements}
        assert asked <= locked


def test_make_explains_every_target() -> None:
    """`make` alone shows each target with a line on what it does."""
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    explained = dict(re.findall(r"^  make (\S+) +(\S.*)$", shown, re.MULTILINE))
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    assert {"run", "test", "lint", "lock", "image", "collector", "help", "deploy", "port-forward"} <= targets
    assert set(explained) == targets


def test_ci_runs_the_commands_that_are_documented() -> None:
    """CI runs the very commands that the README gives, lint beside them, and names no target that is not there."""
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    readme = make_commands((ROOT / "README.md").read_text())
    ci = (ROOT / ".ci" / "run").read_text()
    assert {"run", "test"} <= readme <= targets
    assert {"lint", "collector", "manifests", "test", "test-stack", "chaos"} == make_commands(ci)
    assert "scripts/smoke.py" in ci
    assert '["make", "run"]' in (ROOT / "scripts" / "smoke.py").read_text()


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3.13": "3.13", "python3.11": "3.11", "python3": "3.9"}, "python3.13"),
        ({"python3": "3.12"}, "python3"),
        ({"python3.12": "3.9", "python": "3.11"}, "python"),
    ],
)
def test_the_newest_python_that_works_makes_the_environment(
    tmp_path: Path, pythons: dict[str, str], chosen: str
) -> None:
    """Without PYTHON= the newest Python that really runs is taken; a shim that fails is passed over."""
    broken = tmp_path / "python3.14"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    for name, version in pythons.items():
        fake_python(tmp_path, name, version=version)
    assert f"{chosen} was asked for -m venv" in run_venv(tmp_path, "lock").stderr


def test_python_on_the_command_line_wins(tmp_path: Path) -> None:
    """PYTHON= names the Python to use, whatever else is there."""
    fake_python(tmp_path, "python3.13", version="3.13")
    fake_python(tmp_path, "mine", version="3.11")
    assert "mine was asked for -m venv" in run_venv(tmp_path, "lock", PYTHON="mine").stderr


@pytest.mark.parametrize(
    ("version", "has_venv", "sentence"),
    [
        ("3.9", True, "Python 3.11 or later is needed and Python 3.9 was found"),
        ("3.12", False, "apt install python3.12-venv"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    tmp_path: Path,
    version: str,
    has_venv: bool,  # noqa: FBT001 - a parameter of the case
    sentence: str,
) -> None:
    """A Python that is too old or has no venv module ends in one sentence that says what to install."""
    fake_python(tmp_path, "python3", version=version, has_venv=has_venv)
    done = run_venv(tmp_path, "runtime")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "venv").exists()


def test_no_python_at_all_is_said_in_one_sentence(tmp_path: Path) -> None:
    """A machine without Python hears what is needed."""
    done = run_venv(tmp_path, "runtime")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no Python was found" in done.stderr


def test_a_second_make_installs_nothing(tmp_path: Path) -> None:
    """An environment that holds the very lock is left alone, and a lock that changed is installed."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (venv / ".made").touch()
    path = os.environ["PATH"]
    without_pip = run_venv(tmp_path, "runtime", PATH=path)
    assert "pip could not install requirements/runtime.txt" in without_pip.stderr

    content = b"".join((ROOT / name).read_bytes() for name in ("requirements/dev.txt", "pyproject.toml"))
    place = f"{ROOT.resolve()}\n".encode()
    stamp = subprocess.run(["cksum"], input=content + place, capture_output=True, check=True).stdout
    (venv / ".holds-dev").write_bytes(stamp)
    for lock in ("dev", "runtime"):  # the one holds the other
        done = run_venv(tmp_path, lock, PATH=path)
        assert (done.returncode, done.stderr) == (0, "")
    assert run_venv(tmp_path, "train", PATH=path).returncode == 1


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime's own telemetry is off: loading a model leaves no device id and no event store at home."""
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    folders = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    script = "import predictor, onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    model = str(ROOT / "models" / "iris" / "classifier.onnx")
    subprocess.run([sys.executable, "-c", script, model], env=environment | folders, check=True)
    assert list(tmp_path.rglob("*")) == []
