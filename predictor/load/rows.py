"""Rows for a load: around a sample, within the ranges of a model's training, or from a file."""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from predictor.inference.manifest import read as description
from predictor.inference.training_ranges import ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

_SPREAD = 0.2
"""How far from its sample a value is drawn, as a share of it: near enough to be a likely row, far enough to differ."""
FeatureRange = tuple[float, float]
Value = float | int | bool | str | None


def around(sample: Sequence[Value], generator: Random) -> Callable[[], list[Value]]:
    """Return what draws rows near one row."""
    return lambda: [_value_near(value, generator) for value in sample]


def keyed(draw: Callable[[], Sequence[Value]], key: int | None) -> Callable[[], Sequence[Value]]:
    """Return what draws the same rows, each with a key of its own at that place, if there is one."""
    if key is None:
        return draw
    numbers = count(1)

    def with_key() -> Sequence[Value]:
        row, number = [*draw()], next(numbers)
        row[key] = f"{row[key]}-{number}" if isinstance(row[key], str) else number
        return row

    return with_key


def _value_near(value: Value, generator: Random) -> Value:
    """Return a value near one: whole if that is, the same if it is no number."""
    if isinstance(value, float):
        return generator.uniform(*_near(value))
    return round(generator.uniform(*_near(value))) if type(value) is int else value


def within(limits: Sequence[FeatureRange], generator: Random) -> Callable[[], list[float]]:
    """Return what draws rows evenly between a lowest and a highest value for each feature."""
    return lambda: [generator.uniform(low, high) for low, high in limits]


def listed(rows: Sequence[list[Value]], generator: Random) -> Callable[[], list[Value]]:
    """Return what draws rows from a list of at least one."""
    return lambda: generator.choice(rows)


def trained(folder: Path, width: int) -> list[FeatureRange]:
    """Return each feature's range in training, or values near its sample where that is not known.

    Raises ValueError if the folder is no model's, or the model's rows do not have `width` values.
    """
    features = description(folder).columns
    if strange := [each.name for each in features if isinstance(each.sample, str | bool)]:
        msg = f"the model of {folder} takes no numbers for {strange[0]}, so its rows need a file (--rows)"
        raise ValueError(msg)
    if len(features) != width:
        msg = f"the model of {folder} takes rows of {len(features)} values, the server rows of {width}"
        raise ValueError(msg)
    known = ranges(folder)
    return [known.get(feature.name, _near(float(feature.sample or 0))) for feature in features]


def read(path: Path, width: int) -> list[list[Value]]:
    """Return the rows of a file, one a line: JSON arrays of any values, or CSV of numbers, perhaps below a header.

    Raises OSError, and ValueError for a line that is no row of `width` values.
    """
    found: list[list[Value]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None and number == 1 and not line.lstrip().startswith("["):
            continue  # a header
        if row is None or len(row) != width:
            msg = (
                f"{path}, line {number}: {line[:80]!r}, wanted a row of {width} numbers, or a JSON array of any values"
            )
            raise ValueError(msg)
        found.append(row)
    if not found:
        msg = f"{path} has no rows"
        raise ValueError(msg)
    return found


def _row(line: str) -> list[Value] | None:
    try:
        if line.lstrip().startswith("["):
            row = msgspec.json.decode(line, type=list[Value])
        else:
            row = [float(cell) for cell in line.split(",")]
    except (ValueError, msgspec.MsgspecError):
        return None
    return row if all(math.isfinite(each) for each in row if isinstance(each, float)) else None


def _near(value: float) -> FeatureRange:
    spread = _SPREAD * (abs(value) or 1.0)
    return value - spread, value + spread
