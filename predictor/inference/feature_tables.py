"""Reads the tables `[[features]]` of `model.toml`: the columns that the model takes, and the caller's key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from predictor.core.features import Feature, Key, aliases
from predictor.inference.log_rules import log_of
from predictor.inference.toml_table import is_text

if TYPE_CHECKING:
    from predictor.inference.toml_table import TomlTable

_KEY = "a text that shows something, or a whole number"


def features(top: TomlTable) -> tuple[tuple[Feature, ...], Key | None]:
    """Return the features in their order, and the key if there is one; raises DescriptionError."""
    found: dict[str, Feature] = {}
    key: Key | None = None
    for place, table in enumerate(top.tables("features")):
        name = table.text("name", "a text that shows something")
        if name in found or (key and name == key.name):
            table.refuse("name", name, "a name that no feature before it has")
        if "role" in table:
            role = table.text("role", "key", "key")
            if key:
                table.refuse("role", role, f"one key at most, and {key.name!r} is one")
            key = _key(table, name, place)
        else:
            found[name] = _feature(table, name)
        table.close()
    named = zip(found.values(), aliases([*found]), strict=True)
    return tuple(replace(feature, alias=alias) for feature, alias in named), key


def _feature(table: TomlTable, name: str) -> Feature:
    unit = table.text("unit", 'a non-empty string, "1" for no unit')
    missing = table.flag("missing") if "missing" in table else False
    return Feature(name, unit, table.value("sample"), log_of(table), missing)


def _key(table: TomlTable, name: str, place: int) -> Key:
    if "unit" in table:
        table.text("unit")
    sample = table.take("sample", _KEY)
    if type(sample) is not int and not is_text(sample):
        table.refuse("sample", sample, _KEY)
    log = table.text("log", "keep or hash", "keep|hash") if "log" in table else "keep"
    return Key(name, place, sample, cast("Literal['keep', 'hash']", log))
