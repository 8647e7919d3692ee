"""Rows of a table as a model takes them, and why one is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference.signature import DTYPES, FLOATS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from predictor.conversion.table_file import Record
    from predictor.core.features import Feature, Value

_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_LISTED = 8


class RefusedRowError(ValueError):
    """A row that the model cannot take; the message is what is wrong with which value."""


class RowTaker:
    """Finds the features of one model among the columns of one table."""

    def __init__(self, features: Sequence[Feature], columns: Sequence[str], others: Collection[str]) -> None:
        """Take the model's features, the table's columns in their order, and which of them hold something else.

        Columns are found by name; where none has the name of a feature and there are as many, by their order.
        Raises ValueError if a feature has no column.
        """
        names = [each.name for each in features]
        left = [name for name in columns if name not in others]
        self.by_order = len(left) == len(names) and set(names).isdisjoint(left)
        if not self.by_order and (absent := [name for name in names if name not in left]):
            msg = f"there is no column {absent[0]!r}, only {_listed(left)}; the model takes {_listed(names)}"
            raise ValueError(msg)
        self._pairs = list(zip(features, left if self.by_order else names, strict=True))

    def row(self, record: Record) -> list[Value]:
        """Return a row in the order of the features; raises RefusedRowError."""
        return [_value(feature, record.get(column)) for feature, column in self._pairs]


def _value(feature: Feature, found: Any) -> Value:  # noqa: ANN401 - what a table holds
    kind = feature.datatype
    if found is None or (isinstance(found, float) and math.isnan(found)) or (found == "" and kind != "BYTES"):
        if feature.missing:
            return None
        way_out = "; missing = true takes it as NaN" if kind in FLOATS else ""
        _refuse(feature, f"is missing{way_out}")
    if kind == "BYTES":
        return found if isinstance(found, str) else _refuse(feature, f"is {found!r}, wanted a text")
    if kind == "BOOL":
        truth = _TRUTH.get(str(found).lower())
        return _refuse(feature, f"is {found!r}, wanted true or false") if truth is None else truth
    if isinstance(found, bool):
        _refuse(feature, f"is {found!r}, wanted a number")
    return _float(feature, found) if kind in FLOATS else _int(feature, found)


def _float(feature: Feature, found: Any) -> float:  # noqa: ANN401
    try:
        value = float(found)
    except (TypeError, ValueError):
        comma = isinstance(found, str) and "," in found
        _refuse(feature, f"is {found!r}, wanted a number{' with a point, not a comma' if comma else ''}")
    with np.errstate(over="ignore"):
        if not np.isfinite(DTYPES[feature.datatype](value)):
            _refuse(feature, f"is {found!r}, which is not finite as {feature.datatype}")
    return value


def _int(feature: Feature, found: Any) -> int:  # noqa: ANN401
    try:
        value = int(found)
        whole = isinstance(found, str) or value == found
    except (TypeError, ValueError, OverflowError):
        whole, value = False, 0
    bounds = np.iinfo(DTYPES[feature.datatype])
    if not whole or not bounds.min <= value <= bounds.max:
        _refuse(feature, f"is {found!r}, wanted a whole number that is an {feature.datatype}")
    return value


def _refuse(feature: Feature, what: str) -> Any:  # noqa: ANN401 - nothing
    msg = f"{feature.name} {what}"
    raise RefusedRowError(msg)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_LISTED])) + (f", … ({len(names)})" if len(names) > _LISTED else "")
