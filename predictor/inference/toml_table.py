"""Reads one table of a `model.toml` key by key, and refuses a value with its place and what was wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_FLOAT32 = 3.4028234663852886e38


class DescriptionError(ValueError):
    """The description cannot be used; the message is one sentence: file, key, what was found, what was wanted."""


class TomlTable:
    """One table of the file; its methods take the value of a key, and `close` refuses what nobody took."""

    def __init__(self, path: Path, values: dict[str, Any], place: str = "") -> None:
        """Take the file, what TOML holds, and where in it that is, for the sentences."""
        self._path = path
        self._left = dict(values)
        self._place = place

    def __contains__(self, key: str) -> bool:
        """Tell whether a key is there and not taken yet."""
        return key in self._left

    def take(self, key: str, wanted: str) -> Any:  # noqa: ANN401 - the caller checks what TOML holds
        """Return the value of a key that must be there; raises DescriptionError, as all below."""
        if key not in self._left:
            msg = f"{self._path}: {self._place}{key} is missing; wanted {wanted}."
            raise DescriptionError(msg)
        return self._left.pop(key)

    def text(self, key: str, wanted: str = "a non-empty string", pattern: str = ".+") -> str:
        """Return a text that fits the pattern."""
        value = self.take(key, wanted)
        if not is_text(value) or not re.fullmatch(pattern, value):
            self.refuse(key, value, wanted)
        return str(value)

    def number(self, key: str) -> float:
        """Return a number that a model can take."""
        wanted = "a number that is finite as float32"
        value = self.take(key, wanted)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST_FLOAT32:
            self.refuse(key, value, wanted)
        return float(value)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self.take(key, "true or false")
        if not isinstance(value, bool):
            self.refuse(key, value, "true or false")
        return bool(value)

    def count(self, key: str, most: int) -> int:
        """Return a whole number from 1 on."""
        wanted = f"a whole number from 1 to {most}"
        value = self.take(key, wanted)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            self.refuse(key, value, wanted)
        return int(value)

    def value(self, key: str) -> float | int | bool | str:
        """Return what a feature may be: a number that a model can take, a text, true or false."""
        value = self.take(key, "a number, a text, true or false")
        if isinstance(value, bool | str):
            return value
        if not isinstance(value, int | float):
            self.refuse(key, value, "a number, a text, true or false")
        if not abs(value) <= _LARGEST_FLOAT32:
            self.refuse(key, value, "a number that is finite as float32")
        return value

    def table(self, key: str) -> TomlTable:
        """Return the table under a key."""
        value = self.take(key, "a table")
        if not isinstance(value, dict):
            self.refuse(key, value, "a table")
        return TomlTable(self._path, value, f"{self._place}{key}.")

    def tables(self, key: str) -> list[TomlTable]:
        """Return the array of tables under a key."""
        wanted = "one table or more"
        value = self.take(key, wanted)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            self.refuse(key, value, wanted)
        return [TomlTable(self._path, item, f"{self._place}{key}[{index}].") for index, item in enumerate(value)]

    def close(self) -> None:
        """Refuse what nobody took."""
        for key, value in self._left.items():
            self.refuse(key, value, "no such key")

    def refuse(self, key: str, found: object, wanted: str) -> NoReturn:
        """Raise the sentence that says where, what was found and what was wanted."""
        msg = f"{self._path}: {self._place}{key} is {found!r}; wanted {wanted}."
        raise DescriptionError(msg)


def is_text(value: object) -> bool:
    """Tell whether `value` is a string that shows something and holds no control characters."""
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def one_of(words: tuple[str, ...]) -> str:
    """Return what was wanted, for a sentence."""
    return f"one of {', '.join(words)}"


def texts(table: TomlTable, key: str, what: str) -> tuple[str, ...]:
    """Return different texts, one at least; raises DescriptionError."""
    values = table.take(key, what)
    if not isinstance(values, list) or not values or not all(map(is_text, values)) or len(values) != len(set(values)):
        table.refuse(key, values, what)
    return tuple(values)
