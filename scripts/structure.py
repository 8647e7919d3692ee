"""Counts what the code is made of: lines, modules, folders, and the arrows between folders.

python -m scripts.structure [FOLDER OF A CHECKOUT]

An arrow is an import of one top folder of predictor/ by another (a module that lies in none is a folder of its own);
those that only annotations need are not counted. The floors are what is left if arrows point down: a folder stands one
above the highest that it imports. Lines are those of the Python files, blank ones and comments included.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PACKAGE = "predictor"
_PARTS = (_PACKAGE, "tests", "bench", "chaos", "otel", "scripts", "models")


def lines(folder: Path) -> int:
    """Return how many lines the Python files below a folder have."""
    return sum(length(path) for path in folder.rglob("*.py"))


def length(path: Path) -> int:
    """Return how many lines a file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


def modules(package: Path) -> dict[str, Path]:
    """Return the modules below a package by dotted name, without the package's own."""
    named = {path.relative_to(package).with_suffix("").parts: path for path in sorted(package.rglob("*.py"))}
    return {".".join(parts): path for parts, path in named.items() if parts[-1] != "__init__"}


def arrows(package: Path) -> set[tuple[str, str]]:
    """Return which top folder imports which; a module at the top is a folder of its own."""
    found = set()
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] == "__init__":
            continue
        found |= {(parts[0], target) for target in _imported(path, package) if target != parts[0]}
    return found


def floors(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the folders by floor, the lowest first; raises graphlib.CycleError if arrows run in a circle."""
    needs: dict[str, set[str]] = {}
    for upper, lower in pairs:
        needs.setdefault(upper, set()).add(lower)
        needs.setdefault(lower, set())
    height: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        height[name] = 1 + max((height[below] for below in needs[name]), default=-1)
    return [sorted(name for name in height if height[name] == floor) for floor in range(max(height.values()) + 1)]


def _imported(path: Path, package: Path) -> Iterator[str]:
    for node in _at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if first == _PACKAGE and ((package / target).is_dir() or (package / f"{target}.py").is_file()):
                yield target


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _at_run_time(child)


def _print(root: Path) -> None:
    package = root / _PACKAGE
    for part in _PARTS:
        print(f"{part:12} {lines(root / part):7,} lines")
    there, pairs = modules(package), arrows(package)
    folders = {path.parent.relative_to(package) for path in there.values()} - {Path()}
    top = [path for path in package.iterdir() if (path / "__init__.py").is_file()]
    loose = [name for name in there if "." not in name]
    print(f"{len(there)} modules, {len(loose)} of them at the top; {len(top)} top folders, {len(folders)} in all")
    longest = max(there, key=lambda name: length(there[name]))
    print(f"the longest module is {longest} with {length(there[longest])} lines")
    try:
        stairs = floors(pairs)
    except CycleError as error:
        print(f"{len(pairs)} arrows between folders, in a circle: {' → '.join(error.args[1])}")
    else:
        print(f"{len(pairs)} arrows between folders, on {len(stairs)} floors")
        for number, names in reversed([*enumerate(stairs)]):
            print(f"  {number}  {', '.join(names)}")


if __name__ == "__main__":
    _print(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
