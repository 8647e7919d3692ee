"""The names of segments: eight digits or more, and which of them a folder has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX = ".jsonl"
_TEMPORARY = (".new", ".copy")
_DIGITS = 20  # of a segment's number, at most: none was written that has as many


def name(number: int) -> str:
    """Return the name of segment `number` (from 1)."""
    return f"{number:08d}{_SUFFIX}"


def found(folder: Path) -> list[tuple[int, bool]]:
    """Return the numbers of what is named as a segment, ascending, and whether each is a regular file.

    Empty if there is no folder; raises OSError if it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            there = {entry.name: entry for entry in entries if entry.name.endswith(_SUFFIX)}
    except FileNotFoundError:
        return []
    stems = [each.removesuffix(_SUFFIX) for each in there]
    numbers = sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit() and len(stem) < _DIGITS)
    return [(number, _is_file(there[name(number)])) for number in numbers if name(number) in there]  # not `1.jsonl`


def others(folder: Path) -> list[str]:
    """Return the names in a folder of segments that no program of ours gives; raises OSError."""
    try:
        names = sorted(each.name for each in os.scandir(folder))
    except FileNotFoundError:
        return []
    known = {name(number) for number, _ in found(folder)} | {"cursor"}
    return [each for each in names if each not in known and not each.endswith(_TEMPORARY)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False
