"""The map of the code holds: docs/architecture.md, docs/glossary.md and the README name what is there."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from scripts.structure import arrows, floors, modules
from tests.support.server import ROOT

PACKAGE = ROOT / "predictor"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEVELOPMENT = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
FOLDERS = {str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("__init__.py")} - {"."}
TREE = dict(re.findall(r"^\| `([a-z0-9/]+)/` \| .* \| (.*) \|$", ARCHITECTURE, flags=re.MULTILINE))
TERMS = re.findall(r"^\| ([a-z][a-z ]*) \| (?!meaning)", GLOSSARY, flags=re.MULTILINE)
_TOP = ("predictor", "tests", "docs", "otel", "kustomize", "models", "bench", "chaos", "scripts")

_PRIVATE_WORDS = {"custody", "specimen", "drawn", "like", "told", "ring", "vetting", "express", "anew", "logbook"}
"""Words that once hid what a thing does; no name begins to use them again."""


def picture(page: str) -> str:
    """Return the one drawing of a page."""
    (found,) = re.findall(r"^```mermaid\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def test_every_folder_is_named() -> None:
    """The tree of docs/architecture.md has one line for each folder of predictor/, and none for what is not there."""
    assert set(TREE) == FOLDERS
    assert len(re.findall(r"^\| `[a-z0-9/]+/` \|", ARCHITECTURE, flags=re.MULTILINE)) == len(FOLDERS)


@pytest.mark.parametrize("folder", sorted(TREE))
def test_modules_to_begin_with_are_there(folder: str) -> None:
    """The modules that the tree names in a folder lie in that folder."""
    named = re.findall(r"`([a-z0-9_]+\.py)`", TREE[folder])
    assert named
    for name in named:
        assert (PACKAGE / folder / name).is_file(), f"{folder}/{name}"


@pytest.mark.parametrize("page", [ARCHITECTURE, GLOSSARY, README, DEVELOPMENT], ids=["map", "terms", "readme", "dev"])
def test_every_named_file_exists(page: str) -> None:
    """Every file and folder of this repository that the page names is there."""
    named = re.findall(rf"`((?:{'|'.join(_TOP)})/[\w./-]*)`", page)
    assert not [path for path in named if not (ROOT / path).exists()]


def test_boxes_are_folders() -> None:
    """The boxes in the picture of docs/architecture.md are folders, client, Collector and sink."""
    shown = picture(ARCHITECTURE)
    boxes = dict(re.findall(r"(\w+)\[\(?([\w, ]+)", shown))
    ours = {box for box, text in boxes.items() if box == text}
    assert ours == {box for box in boxes if box in FOLDERS}
    assert set(boxes) - ours == {"sink"}


def test_ways_name_the_modules_in_order() -> None:
    """The paths of one prediction and of one record are numbered without a gap, and each step names a file."""
    for heading in ("The path of one prediction", "The path of one record"):
        section = ARCHITECTURE.split(f"## {heading}\n")[1].split("\n## ")[0]
        steps = re.findall(r"^(\d+)\. (.*(?:\n   .*)*)", section, flags=re.MULTILINE)
        assert [int(number) for number, _ in steps] == [*range(1, len(steps) + 1)]
        named = [bool(re.search(r"`(?:predictor/.*\.py)`", text)) for _, text in steps]
        assert named.count(False) <= 1, heading


def test_terms_are_defined_once() -> None:
    """The glossary defines a term once."""
    assert len(TERMS) > 30
    assert [term for term, times in Counter(TERMS).items() if times > 1] == []


@pytest.mark.parametrize("term", TERMS)
def test_terms_are_used(term: str) -> None:
    """Each term of the glossary is used by a page or in the code."""
    pages = [ROOT / "README.md", *(path for path in (ROOT / "docs").glob("*.md") if path.name != "glossary.md")]
    word = re.compile(rf"\b{term}(?:s|es)?\b", re.IGNORECASE)
    assert any(word.search(path.read_text(encoding="utf-8")) for path in (*pages, *PACKAGE.rglob("*.py")))


def test_names_are_no_private_vocabulary() -> None:
    """No module, class or function of predictor/ has a name made of the words that once hid what things do."""
    for module, path in modules(PACKAGE).items():
        names = [module.rpartition(".")[2]]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        names += [node.name for node in ast.walk(tree) if isinstance(node, kinds)]
        for name in names:
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", name)}
            assert not words & _PRIVATE_WORDS, f"{module}: {name}"


def test_arrows_are_counted() -> None:
    """`python -m scripts.structure` finds the arrows between folders, and that they run in no circle."""
    found = arrows(PACKAGE)
    assert ("serving", "inference") in found
    assert ("inference", "serving") not in found
    stairs = floors(found)
    assert "core" in stairs[0]
    assert stairs.index(next(floor for floor in stairs if "server" in floor)) > stairs.index(
        next(floor for floor in stairs if "http" in floor)
    )


def test_modules_named_in_the_code_are_there() -> None:
    """Where a docstring or a comment of predictor/ names a module, there is one of that name."""
    there = {path.name for path in PACKAGE.rglob("*.py")}
    for path in PACKAGE.rglob("*.py"):
        named = set(re.findall(r"`([a-z_]+\.py)`", path.read_text(encoding="utf-8")))
        assert named <= there, path
