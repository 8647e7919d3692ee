"""The forge's workflows: valid, pinned, with no more rights than they need, and made of commands that run anywhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.project.test_project import MAKEFILE
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
ACTIONS = sorted(FOLDER.glob("actions/*/action.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
_WRITES = {
    ("release.yml", "build"): {"id-token", "attestations"},
    ("release.yml", "pypi"): {"id-token"},
    ("release.yml", "image"): {"packages", "id-token", "attestations"},
    ("release.yml", "page"): {"contents"},
}
"""What a job may change, beyond reading the sources."""


def read(path: Path) -> dict[Any, Any]:
    """Return a workflow; YAML reads its key `on` as true."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """Return the jobs of a workflow."""
    found: dict[str, dict[str, Any]] = read(path)["jobs"]
    return found


JOBS = [pytest.param(path, name, id=f"{path.stem}-{name}") for path in WORKFLOWS for name in jobs(path)]


def runs(steps: list[dict[str, Any]]) -> list[str]:
    """Return the commands of these steps, a line each."""
    return [line for step in steps for line in str(step.get("run", "")).splitlines() if line.strip()]


@pytest.mark.parametrize(("path", "name"), JOBS)
def test_steps_are_the_projects_commands(path: Path, name: str) -> None:
    """Each step is an action, a target of the Makefile or a script of this repository; none is a program in YAML."""
    for line in runs(jobs(path)[name]["steps"]):
        assert "${{" not in line, f"{line}: what the forge fills in could be a command; it belongs in env"
        assert not set(";&|<>`") & set(line), f"{line}: several commands belong in a script"
        program, *arguments = shlex.split(line)
        if program == "make":
            targets = {one for one in arguments if "=" not in one}
            assert targets <= TARGETS, line
            assert targets, line
        else:
            script = arguments[0] if program == "bash" else program
            assert script.startswith(("scripts/", ".ci/")), line
            assert os.access(ROOT / script, os.X_OK) or program == "bash", line
            assert (ROOT / script).is_file(), line


@pytest.mark.parametrize(("path", "name"), JOBS)
def test_jobs_have_bounds(path: Path, name: str) -> None:
    """Each job has a name, an end, and just the rights that it needs, and leaves no token of the forge in its files."""
    job = jobs(path)[name]
    assert job["name"]
    assert 0 < job["timeout-minutes"] <= 120
    assert job["runs-on"] == "ubuntu-24.04"
    assert {right for right, kind in job["permissions"].items() if kind == "write"} == _WRITES.get(
        (path.name, name), set()
    )
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_begin_without_rights(path: Path) -> None:
    """A workflow has no right of its own, runs once at a time for a branch or a tag, and lends none to a fork."""
    workflow = read(path)
    assert workflow["permissions"] == {}
    assert "github.ref" in workflow["concurrency"]["group"]
    assert "pull_request_target" not in workflow[True]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_actions_are_pinned(path: Path) -> None:
    """Each action is named by its commit, with the version beside it; one action is of one commit everywhere."""
    used = re.findall(r"^ *(?:- )?uses: (\S+)(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    for action, version in used:
        if action.startswith("./"):
            assert (ROOT / action / "action.yml").is_file()
        else:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", version), action
    everywhere = "".join(one.read_text(encoding="utf-8") for one in [*WORKFLOWS, *ACTIONS])
    pins = set(re.findall(r"uses: ([\w-]+/[\w-]+)@(.*)", everywhere))
    assert len(pins) == len({name for name, _ in pins})


@pytest.mark.parametrize(("schema", "paths"), [("github-workflows", WORKFLOWS), ("github-actions", ACTIONS)])
def test_the_forge_takes_them(schema: str, paths: list[Path]) -> None:
    """The forge's schemas accept the workflows and the action that sets up."""
    judge = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)]
    done = subprocess.run(judge, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_python_and_both_ends_of_the_dependencies_are_tried() -> None:
    """All tests run with each Python of .ci/run, with the lowest dependencies, and with the highest by a new lock."""
    (minors,) = re.findall(r"^for minor in ([\d ]+); do", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    pythons = [f"3.{minor}" for minor in minors.split()]
    ci = jobs(FOLDER / "workflows" / "ci.yml")
    assert ci["test"]["strategy"]["matrix"]["python"] == pythons
    setup = [step["with"]["python"].split() for step in ci["all"]["steps"] if "python" in step.get("with", {})]
    assert [sorted(found) for found in setup] == [pythons]
    assert runs(ci["lowest"]["steps"]) == ["make test-lowest"]
    assert runs(ci["highest"]["steps"]) == ["make lock ARGS=--upgrade", "make test"]


def test_every_tier_of_tests_runs_on_the_forge() -> None:
    """Each target of the Makefile that tests, tries or judges runs in the workflows, by itself or in .ci/run."""
    commands = [line for path in WORKFLOWS for job in jobs(path).values() for line in runs(job["steps"])]
    run = (ROOT / ".ci" / "run").read_text() + "\n".join(commands)
    wanted = {name for name in TARGETS if name.startswith(("test", "try-"))}
    wanted |= {"lint", "workflows", "manifests", "audit", "sbom", "chaos", "clients", "image", "dist"}
    assert not {name for name in wanted if not re.search(rf"make (?:[a-z-]+ )*{name}\b|scripts/{name}\b", run)}


@pytest.mark.parametrize("place", ["/", "/.github/actions/setup"])
def test_pins_are_moved(place: str) -> None:
    """The forge's bot proposes new commits of actions, in the workflows and in the action that sets up."""
    updates = yaml.safe_load((FOLDER / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    (actions,) = (one for one in updates if one["package-ecosystem"] == "github-actions")
    assert place in actions["directories"]
    assert all(one["cooldown"]["default-days"] >= 7 for one in updates)
