"""The project's own promises: locks, make targets, CI and how an environment is made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LOCKS = (
    sorted((ROOT / "requirements").glob("*.txt"))
    + sorted((ROOT / "bench" / "peers").glob("*.txt"))
    + sorted((ROOT / "tests" / "clients").glob("*.txt"))
)
MAKEFILE = (ROOT / "Makefile").read_text()
PIN = re.compile(r"^([a-z0-9-]+(?:\[[a-z0-9, -]+\])?==\S+(?: ; [^\\]+)?) ?\\$", re.MULTILINE)


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
    ours = ["dev", "log", "lowest", "manifests", "pip", "runtime", "supply-chain", "train", "uv"]
    assert [lock.stem for lock in LOCKS] == [
        *ours,
        "bentoml",
        "kserve",
        "litserve",
        "mlserver",
        "open-inference",
        "openapi",
        "tritonclient",
    ]
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
    extras = project["project"]["optional-dependencies"]
    base = project["project"]["dependencies"] + extras["gunicorn"]
    runtime = base + extras["grpc"] + extras["prometheus"]
    assert groups["build"] == project["build-system"]["requires"]
    wanted = {
        "pip": groups["pip"],
        "uv": groups["uv"],
        "lowest": runtime + extras["log"] + groups["build"] + groups["dev"],
        "runtime": runtime + groups["build"],
        "log": runtime + extras["log"] + groups["build"],
        "dev": runtime + groups["build"] + groups["dev"],
        "train": base + groups["build"] + groups["train"],
        "manifests": groups["build"] + groups["manifests"],
        "supply-chain": groups["build"] + groups["supply-chain"],
    }
    for name, requirements in wanted.items():
        locked = {
            re.split(r"[\[=]", pin)[0] for pin in PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text())
        }
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
    assert {
        "lint",
        "sbom",
        "audit",
        "workflows",
        "collector",
        "manifests",
        "promtool",
        "test",
        "test-lowest",
        "test-stack",
        "chaos",
    } == make_commands(ci)
    scripts = set(re.findall(r"(?<!\S)scripts/\S+", ci))
    assert {"scripts/newcomer", "scripts/try-locks", "scripts/try-wheel", "scripts/clients"} <= scripts
    newcomer = (ROOT / "scripts" / "newcomer").read_text()
    assert "as_newcomer python3 scripts/smoke.py" in newcomer
    assert "env -i HOME=" in newcomer
    assert '["make", "run"]' in (ROOT / "scripts" / "smoke.py").read_text()


@pytest.mark.parametrize("status", [0, 3])
def test_ci_notices_what_fails_beside(status: int) -> None:
    """What runs beside other steps is shown whole, in its order, and its failure ends CI with its status."""
    functions = re.findall(
        r"^(?:beside|together|step)\(\) \{.*?\}$|^(?:logs|pids|names)=.*?$",
        (ROOT / ".ci" / "run").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert len(functions) == 6
    typed = f"""
    fails() {{
      echo before
      (exit {status})
      echo after
    }}
    beside slow sh -c 'sleep 0.2; echo slow printed'
    beside other fails
    step fore
    together
    rm -r "$logs"
    step done"""
    script = "\n".join([*functions, typed])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    shown = re.sub(r" \(\d+ min since the start\)|\n+", "|", done.stdout).strip("|").split("|")
    wanted = ["== fore", "== slow: status 0", "slow printed", f"== other: status {status}", "before"]
    assert [line for line in shown if line] == [*wanted, *(["after", "== done"] if status == 0 else [])]


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
    assert f"{chosen} was asked for -m venv" in run_venv(tmp_path, "uv").stderr


def test_python_on_the_command_line_wins(tmp_path: Path) -> None:
    """PYTHON= names the Python to use, whatever else is there."""
    fake_python(tmp_path, "python3.13", version="3.13")
    fake_python(tmp_path, "mine", version="3.11")
    assert "mine was asked for -m venv" in run_venv(tmp_path, "uv", PYTHON="mine").stderr


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
    assert "pip could not install requirements/pip.txt" in without_pip.stderr

    files = ("requirements/pip.txt", "requirements/dev.txt", "pyproject.toml")
    content = b"".join((ROOT / name).read_bytes() for name in files)
    place = f"{ROOT.resolve()}\n".encode()
    stamp = subprocess.run(["cksum"], input=content + place, capture_output=True, check=True).stdout
    (venv / ".holds-dev").write_bytes(stamp)
    for lock in ("dev", "runtime"):  # the one holds the other
        done = run_venv(tmp_path, lock, PATH=path)
        assert (done.returncode, done.stderr) == (0, "")
    assert run_venv(tmp_path, "train", PATH=path).returncode == 1


def test_the_locked_pip_installs(tmp_path: Path) -> None:
    """Whatever pip a Python brought along only installs the pip of the lock, by its hash, which installs the rest."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".made").touch()
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\n[ "$2" != pip ] || echo "$@" >>"{tmp_path}/asked"\n')
    python.chmod(0o755)
    for lock in ("runtime", "uv"):
        assert run_venv(tmp_path, lock, PATH=os.environ["PATH"]).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert all(line.startswith("-m pip install ") for line in asked)
    ends = [
        "requirements/pip.txt",
        "requirements/runtime.txt",
        "--editable .",
        "requirements/pip.txt",
        "requirements/uv.txt",
    ]
    assert len(asked) == len(ends)
    for line, end in zip(asked, ends, strict=True):
        assert line.endswith(end)
        assert ("--require-hashes" in line) is not end.startswith("--editable")


def test_tools_that_install_and_lock_are_of_one_version() -> None:
    """What installs and what locks is pinned exactly, so that a lock is resolved and written the same everywhere."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for tool in ("pip", "uv"):
        (pinned,) = groups[tool]
        assert PIN.findall((ROOT / "requirements" / f"{tool}.txt").read_text()) == [pinned]
        assert re.fullmatch(rf"{tool}==[0-9.]+", pinned)


def locked(name: str) -> dict[str, list[Requirement]]:
    """Return the lines of a lock by the package's name; there are several where markers tell platforms apart."""
    found: dict[str, list[Requirement]] = {}
    for pin in PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text()):
        requirement = Requirement(pin)
        found.setdefault(requirement.name, []).append(requirement)
    return found


def holding() -> Iterator[tuple[Distribution, Requirement]]:
    """Yield what is installed in the version that the development lock has, with its line."""
    lines = locked("dev")
    for one in distributions():
        for line in lines.get(canonicalize_name(one.metadata["Name"]), ()):
            if line.specifier.contains(one.version, prereleases=True) and (not line.marker or line.marker.evaluate()):
                yield one, line


def test_locks_are_closed() -> None:
    """Whatever a locked package asks for stands in the lock, extras and all, in a version that it takes.

    Else pip's resolver asks the index anew, where a later release can break what was locked.
    """
    lines = locked("dev")
    seen, extras = 0, 0
    for one, line in holding():
        seen += 1
        for text in one.requires or ():
            asked = Requirement(text)
            if not any(not asked.marker or asked.marker.evaluate({"extra": extra}) for extra in ("", *line.extras)):
                continue
            extras += bool(asked.extras)
            name = canonicalize_name(asked.name)
            assert name in lines, f"{line.name} asks for {text}"
            for answer in lines[name]:
                assert asked.extras <= answer.extras, f"{line.name} asks for {text}, the lock has {answer}"
            versions = [spec.version for answer in lines[name] for spec in answer.specifier]
            assert any(asked.specifier.contains(version, prereleases=True) for version in versions), text
    assert seen > 50
    assert extras >= 2


def test_what_the_project_asks_for_with_an_extra_is_locked_with_it() -> None:
    """A lock's line names each extra that pyproject.toml asks for: without it pip resolves that package anew."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    asked = [(group, Requirement(text)) for group, texts in groups.items() for text in texts]
    found = [(group, one) for group, one in asked if one.extras]
    assert found
    for group, one in found:
        assert all(one.extras <= line.extras for line in locked(group)[one.name])


def test_the_lowest_versions_are_those_that_are_declared() -> None:
    """Every lower bound of what the project needs can be installed, and is what `make test-lowest` tries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = locked("lowest")
    for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
        asked = Requirement(text)
        (least,) = [Version(one.version) for one in asked.specifier if one.operator == ">="]
        assert min(Version(one.version) for line in lines[asked.name] for one in line.specifier) == least, text


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime's own telemetry is off: loading a model leaves no device id and no event store at home."""
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    folders = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    script = "import predictor, onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    model = str(ROOT / "models" / "iris" / "classifier.onnx")
    subprocess.run([sys.executable, "-c", script, model], env=environment | folders, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_both_names_of_the_command_are_the_same() -> None:
    """The command goes by two names: `predictor`, and the package's own, which `uvx` and `pipx run` look for."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == dict.fromkeys(["predictor", "prediction-log-server"], "predictor.__main__:main")
