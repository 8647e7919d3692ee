"""What a project has for people: how to take part, to report, what a version promises; held to the code and tools."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from predictor import __version__
from tests.project.test_project import MAKEFILE, make_commands
from tests.support.server import ROOT

PAGES = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CHANGELOG.md", "docs/compatibility.md"]
FORMS = sorted((ROOT / ".github").rglob("*.*"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> str:
    """Return the text of a file of this repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """Return what a link to a page can name behind #: its headings, as a forge writes them."""
    headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_reach_their_heading(name: str) -> None:
    """Each link of these pages leads to a file, and to a heading in it where it names one."""
    found = re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", read(name))
    assert found or name == "CODE_OF_CONDUCT.md"
    for target, heading in found:
        path = (ROOT / name).parent / target
        assert path.exists(), target
        assert not heading or heading in anchors(path.read_text(encoding="utf-8")), f"{target}#{heading}"


@pytest.mark.parametrize("name", [*PAGES, ".github/pull_request_template.md"])
def test_named_targets_and_files_exist(name: str) -> None:
    """Each make target that these pages give is one of the Makefile's, each file and folder is there."""
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    assert make_commands(read(name)) <= targets
    named = re.findall(r"[`'](?:bash )?((?:predictor|tests|docs|otel|kustomize|\.ci)/[\w./-]*)[`']", read(name))
    assert not [path for path in named if not (ROOT / path).exists()]


def test_contributors_find_every_tier_of_tests() -> None:
    """CONTRIBUTING.md names each make target that runs tests, and those that break and measure the server."""
    tests = set(re.findall(r"^(test[a-z-]*):", MAKEFILE, re.MULTILINE))
    assert tests | {"clients", "chaos", "bench", "lint"} <= make_commands(read("CONTRIBUTING.md"))


@pytest.mark.parametrize("name", ["README.md", "docs/development.md"])
def test_readers_are_led_to_them(name: str) -> None:
    """README and docs/development.md link to how to take part."""
    assert "CONTRIBUTING.md)" in read(name)
    if name == "README.md":
        assert all(f"({page})" in read(name) for page in PAGES)


def test_public_names_are_there() -> None:
    """Each Python name that docs/compatibility.md calls public is there and explains itself, and so is each extra."""
    page = read("docs/compatibility.md")
    (row,) = re.findall(r"^\| Python \|.*$", page, re.MULTILINE)
    named = re.findall(r"`(predictor[\w.]*):(\w+)`", row)
    assert len(named) == 3
    for module, name in named:
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, str) or found.__doc__, name
    extras = set(re.findall(r"`prediction-log-server\[(\w+)\]`", read("predictor/README.md")))
    assert extras == set(PROJECT["optional-dependencies"])


def test_the_changelog_knows_the_version() -> None:
    """The changelog has a section of the package's version, or says that Unreleased will become it."""
    text = read("CHANGELOG.md")
    assert "## [Unreleased]" in text
    assert f"## [{__version__}]" in text or f"This will be {__version__}" in text


def test_hooks_are_the_linters() -> None:
    """The commit hooks are the commands of `make lint` in its order, are local, and fetch nothing."""
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    assert [hook["entry"] for hook in hooks] == commands
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("dependabot", ["dependabot.yml"]),
        ("github-issue-forms", ["ISSUE_TEMPLATE/bug.yml", "ISSUE_TEMPLATE/idea.yml"]),
        ("github-issue-config", ["ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_forms_are_what_the_forge_takes(schema: str, names: list[str]) -> None:
    """The forge's schemas accept the issue forms and the settings of dependabot."""
    judge = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run(
        [*judge, *(str(ROOT / ".github" / name) for name in names)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_address_is_made_up() -> None:
    """These files and the package's metadata name no mail address, and the forms no address at all."""
    for name in PAGES:
        assert not re.search(r"[\w.]+@[\w-]+\.\w+", read(name)), name
    for path in [*FORMS, ROOT / ".pre-commit-config.yaml", ROOT / ".editorconfig"]:
        assert not re.search(r"://|[\w.]+@[\w-]+\.\w+", path.read_text(encoding="utf-8")), path
    assert all("email" not in author for author in PROJECT["authors"])


def test_metadata_names_the_pythons() -> None:
    """The package's classifiers name the lowest Python that it takes, and each that CI and the locks look for."""
    (minors,) = re.findall(r"^for minor in ([\d ]+); do", read(".ci/run"), re.MULTILINE)
    prefix = "Programming Language :: Python :: 3."
    assert [one.removeprefix(prefix) for one in PROJECT["classifiers"] if one.startswith(prefix)] == minors.split()
    assert PROJECT["requires-python"] == f">=3.{minors.split()[0]}"
    assert f"for minor in {minors}; do" in read("scripts/lock")
