"""Every tutorial of docs/tutorials runs from an empty folder, block by block, and prints what it shows."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from tests.support import external_programs
from tests.support.server import ROOT
from tests.support.tutorial import Block, blocks, looks_like, run

FOLDER = ROOT / "docs" / "tutorials"
_SET_UP = re.compile(r"^(?:python3 -m venv|source|pip install) .*\n", re.MULTILINE)
_CLUSTER = "in-your-cluster.md"
"""The one whose blocks need a cluster: tests/deploy/test_cluster_tutorial.py has it."""
_WAIT = 900.0  # s: a model is trained, reports are written, on a machine that others use


def page(name: str) -> list[Block]:
    """Return the blocks of a tutorial."""
    return blocks((FOLDER / name).read_text(encoding="utf-8"))


def section(page: str, heading: str) -> list[Block]:
    """Return the blocks below a heading of a page in docs/, down to the next heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return blocks(re.split(r"^#+ .*\n", text[text.index(f"# {heading}\n") :], maxsplit=2, flags=re.MULTILINE)[1])


def free_port() -> str:
    """Return a port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def prepared(parts: list[Block], port: str) -> list[Block]:
    """Return the blocks for this machine: another port, and the environment that `make test-tutorials` has filled."""
    ready = external_programs.CACHE / "venv-tutorials"
    if os.environ.get("TUTORIALS") != "install":  # then the set-up is typed as it stands, in the empty folder
        external_programs.environment("tutorials")
        first, *rest = parts
        text = f"ln -s {ready} env\nsource {ready}/bin/activate\n" + _SET_UP.sub("", first.text)
        parts = [Block(text), *rest]
    return [Block(part.text.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), part.file, part.shown) for part in parts]


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.md") if path.name != _CLUSTER))
def test_every_block(name: str, tmp_path: Path) -> None:
    """A newcomer who types the blocks of a tutorial into a shell sees what the page shows."""
    follow(page(name), tmp_path)


def test_a_pipeline_with_texts_and_numbers(tmp_path: Path) -> None:
    """The pipeline of docs/models.md is converted, equals the original on its rows, and predicts by curl."""
    follow(section("models.md", "Convert from scikit-learn"), tmp_path)


def follow(typed: list[Block], tmp_path: Path) -> None:
    """Run blocks in an empty folder, and compare what they print with what the page shows."""
    external_programs.on_path("curl")
    home, folder = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    folder.mkdir()
    (home / "prediction-log-server").symlink_to(ROOT)
    port = free_port()
    parts = prepared(typed, port)
    cache = os.environ.get("PIP_CACHE_DIR") or str(Path("~/.cache/pip").expanduser())
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PIP_CACHE_DIR": cache,
        "PREDICTOR_PORT": port,
        "PYTHONPATH": str(ROOT) if os.environ.get("TUTORIALS") != "install" else "",
        "PYTHONWARNINGS": "ignore",
    }
    printed = run(parts, folder, environment, timeout=_WAIT)
    for part, text in zip(parts, printed, strict=True):
        if part.shown is not None:
            assert looks_like(part.shown, text), f"{part.text}\nprinted\n{text}\nand not\n{part.shown}"


def test_a_page_is_compared_word_by_word() -> None:
    """A tutorial that shows another word, or another small number, than what is printed is noticed."""
    printed = "01a2167d-1680-76ed-b39c-97988c26e0d1  complete  2026-11-26T06:13:52.102Z  1-4\nnothing is missing\n"
    shown = "11111111-1111-1111-1111-111111111111 complete 2026-01-01T00:00:00Z 1-4\nnothing is missing"
    assert looks_like(shown, printed)
    assert looks_like("…\nnothing is missing", printed)
    assert not looks_like(shown.replace("complete", "open"), printed)
    assert not looks_like(shown.replace("1-4", "1-5"), printed)
    assert not looks_like(shown + "\nmore", printed)


def test_a_failing_command_is_noticed(tmp_path: Path) -> None:
    """A block with a command that fails ends the tutorial, and is named."""
    parts = blocks("```sh\ntrue\n```\n\n```sh\nfalse\n```\n\n```sh\necho never\n```\n")
    with pytest.raises(AssertionError, match="block 2"):
        run(parts, tmp_path, {"PATH": os.environ["PATH"]}, timeout=30)


def test_a_block_that_nobody_types_is_noticed() -> None:
    """A block that is neither typed, saved nor shown by the page is a fault of the page."""
    with pytest.raises(ValueError, match="does with the block of python"):
        blocks("Look at this:\n\n```python\nprint()\n```\n")
