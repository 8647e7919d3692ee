"""The wheel: built from the tree, put into an empty environment, and tried there as a stranger does, without a network.

`scripts/try-wheel` does the same with what the index has, by pip, uvx and pipx.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from predictor import __version__
from scripts.try_wheel import try_command
from tests.support.server import IRIS, ROOT

DATA = ("*.html", "*.css", "*.js", "*.svg", "*.onnx", "*.toml", "*.csv")
"""What the server reads or sends that is no module."""


def build(source: Path, target: Path, kind: str) -> Path:
    """Return the wheel or the source distribution of a tree, with the time of no clock in it."""
    code = "import sys; from flit_core import buildapi; print(getattr(buildapi, sys.argv[1])(sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", code, f"build_{kind}", str(target)],
        cwd=source,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
        check=True,
    )
    return target / done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"), "wheel")


def contents(path: Path) -> dict[str, bytes]:
    """Return each file of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(path: Path) -> bytes:
    """Return what the index shows of a wheel."""
    (found,) = (text for name, text in contents(path).items() if name.endswith(".dist-info/METADATA"))
    return found


def needed(asked: list[str]) -> set[str]:
    """Return what these requirements install, by its names, as far as this environment holds it."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in asked]
    while waiting:
        one = waiting.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
            continue
        name = canonicalize_name(one.name)
        if name not in found:
            found.add(name)
            waiting += [Requirement(text) for text in distribution(name).requires or ()]
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment that holds the wheel and what its metadata asks for, without extras, and nothing else.

    Packages are those of the environment that runs the tests, by links: nothing is fetched.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in needed(message_from_bytes(metadata(wheel)).get_all("Requires-Dist", [])):
        found = distribution(name)
        for top in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).is_symlink():  # two distributions may share a folder
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    return folder


def alone(home: Path) -> dict[str, str]:
    """Return an environment that knows no folder but this one."""
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def test_an_empty_environment_holds_no_more_than_is_asked_for(installed: Path, tmp_path: Path) -> None:
    """The environment of these tests has neither this repository, nor its tests' packages, nor an extra's."""
    code = "import sys, predictor; print(predictor.__file__); print(*sys.path, sep='\\n')"
    python = str(installed / "bin" / "python")
    run = [python, "-c", code]
    module, *paths = subprocess.check_output(run, cwd=tmp_path, env=alone(tmp_path), text=True).splitlines()
    assert module.startswith(f"{installed}/lib/")
    assert not any(path.startswith(str(ROOT)) for path in paths)
    for absent in ("pytest", "rich", "pyarrow", "gunicorn", "prometheus_client", "cryptography"):
        done = subprocess.run([python, "-c", f"import {absent}"], env=alone(tmp_path), capture_output=True, check=False)
        assert done.returncode == 1, f"{absent} is there"


def test_a_stranger_gets_on(installed: Path, tmp_path: Path) -> None:
    """The command explains itself, serves the demo and one's own model, shows the page, and proves the log."""
    try_command([str(installed / "bin" / "predictor")], IRIS / "classifier.onnx", __version__, alone(tmp_path))
    assert list(tmp_path.iterdir()) == []  # the home stays empty


def test_the_command_goes_by_the_packages_name_too(installed: Path, tmp_path: Path) -> None:
    """What `uvx` and `pipx run` look for, a command of the package's name, is there and is the same."""
    said = subprocess.check_output([installed / "bin" / "prediction-log-server", "--version"], env=alone(tmp_path))
    assert said.decode() == f"predictor {__version__}\n"


def test_the_wheel_has_all_files_of_the_package(wheel: Path) -> None:
    """Modules, the page's files, templates, the demo and the marker of types are in the wheel, byte for byte."""
    inside = contents(wheel)
    files = (path for path in (ROOT / "predictor").rglob("*") if path.is_file() and path.suffix != ".pyc")
    ours = {str(path.relative_to(ROOT)) for path in files}
    assert {name for name in inside if not name.split("/")[0].endswith(".dist-info")} == ours
    assert all(inside[name] == (ROOT / name).read_bytes() for name in ours)
    for pattern in DATA:
        assert any(Path(name).match(pattern) for name in inside), pattern
    assert "predictor/py.typed" in inside
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def test_the_demo_is_the_repositorys_model() -> None:
    """models/iris and the demo are one folder: there is no second copy that could differ."""
    assert (ROOT / "models" / "iris").is_symlink()
    assert IRIS.resolve() == (ROOT / "predictor" / "demo" / "iris").resolve()


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """The source distribution makes the very same wheel, and has the documentation and the history."""
    (tmp_path / "source").mkdir()
    # Not tarfile: early releases of Python 3.11 do not know the filter that later ones want to be named.
    subprocess.run(["tar", "-xf", build(ROOT, tmp_path, "sdist"), "-C", tmp_path / "source"], check=True)
    (source,) = (tmp_path / "source").iterdir()
    assert build(source, tmp_path, "wheel").read_bytes() == wheel.read_bytes()
    for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "docs/README.md", "docs/record.md"):
        assert (source / name).exists() or not (ROOT / name).exists(), name


def test_the_index_shows_a_page_without_dead_links(wheel: Path) -> None:
    """The wheel's description is Markdown, its links are whole addresses, and it draws nothing that an index cannot."""
    found = message_from_bytes(metadata(wheel))
    assert found["Description-Content-Type"] == "text/markdown"
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Version"] == __version__
    text = str(found.get_payload())
    assert text.strip() == (ROOT / "predictor" / "README.md").read_text(encoding="utf-8").strip()
    assert all(target.startswith("https://") for target in re.findall(r"\]\(([^)]+)\)", text))
    assert "mermaid" not in text
    extras = set(found.get_all("Provides-Extra", []))
    assert extras == set(re.findall(r"^\| `prediction-log-server\[(\w+)\]`", text, re.MULTILINE))


_DOWNSTREAM = '''
from aiohttp import web

import predictor
from predictor.app import runner
from predictor.worker import Worker


async def start() -> web.AppRunner:
    """Start the server in a loop of one's own."""
    made = await runner()
    await made.setup()
    return made


class Mine(Worker):
    """A worker with a name of its own."""


VERSION: str = predictor.__version__
'''


def test_public_names_have_types(installed: Path, tmp_path: Path) -> None:
    """A program that uses the public names of the installed package passes mypy --strict."""
    (tmp_path / "mine.py").write_text(_DOWNSTREAM)
    judge = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed / "bin" / "python")]
    done = subprocess.run([*judge, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
