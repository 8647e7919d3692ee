"""Features: the columns of a model's rows, and the names that records have for them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Log = Literal["keep", "drop", "hash"]
Value: TypeAlias = float | int | bool | str | None
"""A value of a feature; None is a missing one."""

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*").fullmatch
_TAKEN = frozenset({"json", "truncated", "sha256"})
"""Loki turns `prediction.input.json` into `prediction_input_json`, which is another attribute's name there."""
_HASH_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the input, with a value that is typical of it."""

    name: str
    """Any text that shows something."""
    unit: str
    sample: Value
    log: Log = "keep"
    """What the record holds of it: the value, nothing, or a keyed hash."""
    missing: bool = False
    """Whether `null` is taken for a missing value, which the model gets as NaN."""
    datatype: str = "FP32"
    """In the words of the Open Inference Protocol; found in the file."""
    alias: str = ""
    """What records call it."""
    choices: tuple[str, ...] = ()
    """The categories that the file knows of a text, as far as that is found there."""


@dataclass(frozen=True, slots=True)
class Key:
    """The column by which the caller knows a row again: an order, a customer; the model is never given it."""

    name: str
    place: int
    """Where it stands among the values of a row that a caller sends."""
    sample: str | int
    """Keys are texts, or whole numbers if this is one; records have the digits of a number as text."""
    log: Literal["keep", "hash"] = "keep"
    """What the record holds of it: the key, or a keyed hash."""

    @property
    def column(self) -> Feature:
        """The key as a column of the rows that a caller sends."""
        return Feature(self.name, "1", self.sample, self.log, datatype=KEY_TYPES[type(self.sample)], alias=self.name)


KEY_TYPES: dict[type, str] = {str: "BYTES", int: "INT64"}
LONGEST_KEY = 256
"""Characters: a key that is cut would join nothing."""


def aliases(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that records have for names that may be any text; no two are equal, also not in Loki.

    A name of the form `[a-z_][a-z0-9_]*` is its own alias unless one before it has it; else it is made of the name's
    letters and digits and six hexadecimal digits of the name's SHA-256.
    """
    found: list[str] = []
    taken = {_in_loki(name) for name in _TAKEN}
    for name in names:
        alias = name if _PLAIN(name) and _in_loki(name) not in taken else _made(name)
        found.append(alias)
        taken.add(_in_loki(alias))
    return tuple(found)


def _made(name: str) -> str:
    slug = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    begin = slug if slug and not slug[0].isdigit() else f"_{slug}".rstrip("_")
    return f"{begin}_{hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]}"


def _in_loki(name: str) -> str:
    """Return a name as some versions of Loki spell it: one underscore in place of several."""
    return re.sub("_+", "_", name)


def columns(name: str, width: int | None) -> Iterable[str]:
    """Return names for the columns of an input or output: its own, or made of it and a number if there are several."""
    if width is None or width == 1:
        return [name]
    return [f"{name.lower()}_{at}" for at in range(width)]
