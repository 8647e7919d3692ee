"""What tests do without a program that they need, and which Loki they take."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.support import external_programs
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKS = "#!/bin/sh\nexit 0\n"
FAILS = "#!/bin/sh\nexit 1\n"
NO_IMAGE = '#!/bin/sh\n[ "$1" = info ]\n'
PULLS = '#!/bin/sh\n[ "$1" != image ]\n'


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder that is the whole PATH, on a machine where nothing is required."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LOKI", raising=False)
    monkeypatch.delenv("REQUIRE_PROGRAMS", raising=False)
    external_programs._engine.cache_clear()
    yield tmp_path
    external_programs._engine.cache_clear()


def put(folder: Path, name: str, script: str = WORKS) -> Path:
    """Put a program into a folder."""
    program = folder / name
    program.write_text(script)
    program.chmod(0o755)
    return program


@pytest.mark.usefixtures("path")
def test_without_a_program_tests_are_skipped() -> None:
    """A machine without a program skips what needs it, and is told how to get it."""
    with pytest.raises(pytest.skip.Exception, match="no curl: `apt-get install curl`"):
        external_programs.on_path("curl")
    with pytest.raises(pytest.skip.Exception, match="no thing: run `make thing`"):
        external_programs.built("thing", ROOT / "not-there", "thing")


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("required", "fails"), [("1", True), ("jq,curl", True), ("jq", False), ("", False)])
def test_what_is_required_must_be_there(
    required: str,
    fails: bool,  # noqa: FBT001 - a parameter of the case
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """REQUIRE_PROGRAMS=1, or a list with its name, makes a missing program a failure."""
    monkeypatch.setenv("REQUIRE_PROGRAMS", required)
    with pytest.raises(pytest.fail.Exception if fails else pytest.skip.Exception, match="no curl"):
        external_programs.on_path("curl")


def test_a_program_may_go_by_another_name(path: Path) -> None:
    """The first of its names that is on the path is taken."""
    program = put(path, "chromium-browser")
    assert external_programs.on_path("chromium", "chromium-browser") == str(program)


def test_loki_is_the_one_that_is_named(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """LOKI names a program, which wins over the one on the path and over docker; one that is not there is an error."""
    on_path = put(path, "loki")
    put(path, "docker")
    assert external_programs.loki(environment={}) == [str(on_path)]
    mine = put(tmp_path_factory.mktemp("mine"), "mine")
    with pytest.MonkeyPatch.context() as here:
        here.setenv("LOKI", str(mine))
        assert external_programs.loki(environment={}) == [str(mine)]
        here.setenv("LOKI", str(path / "not-there"))
        with pytest.raises(pytest.fail.Exception, match=r"LOKI is '.*not-there'"):
            external_programs.loki(environment={})


@pytest.mark.parametrize(
    ("engines", "taken"),
    [
        ({"docker": WORKS, "podman": WORKS}, "docker"),
        ({"docker": FAILS, "podman": WORKS}, "podman"),
        ({"docker": NO_IMAGE, "podman": PULLS}, "podman"),
    ],
)
def test_loki_is_run_by_an_engine_that_works(path: Path, engines: dict[str, str], taken: str) -> None:
    """Without a program the deployed image is run, with the folders, the variables and the network that it needs."""
    for name, script in engines.items():
        put(path, name, script)
    command = external_programs.loki(path, environment={"LOKI_DATA": "/x"}, name="loki-1")
    assert command[:2] == [str(path / taken), "run"]
    assert {f"--volume={path}:{path}", "--env=LOKI_DATA", "--name=loki-1", "--network=host"} <= set(command)
    assert command[-1].startswith("docker.io/grafana/loki:")
    assert command[-1] in (ROOT / "compose.yaml").read_text()


@pytest.mark.parametrize("engines", [{}, {"docker": FAILS}, {"docker": NO_IMAGE, "podman": NO_IMAGE}])
def test_without_any_loki_tests_are_skipped(path: Path, engines: dict[str, str]) -> None:
    """A machine without Loki, and without an engine that has or gets its image, skips what needs it."""
    for name, script in engines.items():
        put(path, name, script)
    with pytest.raises(pytest.skip.Exception, match="no loki: set LOKI=/path/to/loki"):
        external_programs.loki(environment={})


def test_programs_are_asked_for_first() -> None:
    """No test starts a built program past `external`, whose absence would be an error instead of a skip."""
    ask = {"rendered_manifests.py", "external_programs.py"}  # the latter for all, the former kustomize for `rendering`
    files = [file for file in (ROOT / "tests").rglob("*.py") if file.name not in ask and file.parent.name != "cluster"]
    assert len(files) > 100
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(ast.Name("rendering"), "PROGRAM" | "overlay" | "full" | "combined" | "render"):
                    pytest.fail(f"{file.name}:{node.lineno}: rendering.{node.attr} is for `manifests` to call")
                case ast.Attribute(ast.Name("shutil"), "which") if file.name != "test_scripts.py":  # plain tools
                    pytest.fail(f"{file.name}:{node.lineno}: shutil.which is for `external` to call")
                case ast.Constant("otelcol") if file.name not in {"test_external_programs.py", "test_guides.py"}:
                    pytest.fail(f"{file.name}:{node.lineno}: the Collector is for `external` to name")
