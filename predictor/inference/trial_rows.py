"""Rows of any types for the trial of a model: numbers near and far, and the texts that the file itself knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference.batch_trial import rows_to_try
from predictor.inference.signature import DTYPES, FLOATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.core.features import Feature
    from predictor.inference.table_input import Feed, TableInput

_STRANGE = ("", "?", "a longer text that no model has seen")
_MISSING_EVERY = 5
_MOST_WORDS = 12


def table_rows(
    features: Sequence[Feature],
    ranges: Mapping[int, tuple[float, float]],
    texts: Mapping[int, Sequence[str]],
    table: TableInput,
) -> Feed:
    """Return rows for a table's trial, the sample first; `ranges` and `texts` are what columns may hold, by place."""
    center = [float(each.sample) if isinstance(each.sample, int | float) else 0.0 for each in features]
    numbers = rows_to_try(center, ranges)
    if {each.datatype for each in features} == {"FP32"} and not any(each.missing for each in features):
        return table.feed(_as_numbers(numbers, "FP32"))
    columns = [_column(feature, numbers[:, at], texts.get(at, ())) for at, feature in enumerate(features)]
    return table.feed([list(row) for row in zip(*columns, strict=True)])


def _column(feature: Feature, numbers: NDArray[np.float64], texts: Sequence[str]) -> Sequence[Any]:
    if feature.datatype == "BYTES":
        return _texts([str(feature.sample), *texts, *_STRANGE], len(numbers))
    found: list[Any] = _as_numbers(numbers, feature.datatype).tolist()
    if feature.missing:
        found[_MISSING_EVERY::_MISSING_EVERY] = [None] * len(found[_MISSING_EVERY::_MISSING_EVERY])
    found[0] = feature.sample
    return found


def _texts(known: Sequence[str], count: int) -> list[str]:
    """Return texts, the first known one first: half of them known ones, as categories are, half made of several."""
    draw = np.random.default_rng(len(known))
    found = [known[0]]
    for number in range(1, count):
        words = 1 if number % 2 else int(draw.integers(2, _MOST_WORDS))
        found.append(" ".join(known[place] for place in draw.integers(0, len(known), words)))
    return found


def _as_numbers(numbers: NDArray[np.float64], datatype: str) -> NDArray[Any]:
    """Return numbers as a datatype has them, at its bounds where they are beyond."""
    dtype = DTYPES[datatype]
    if datatype == "BOOL":
        return numbers > 0
    if datatype in FLOATS:
        largest = np.finfo(dtype).max
        return np.clip(numbers, -largest, largest).astype(dtype)
    bounds = np.iinfo(dtype)
    rounded = np.clip(np.rint(numbers), float(bounds.min), float(bounds.max))
    # The largest 64-bit integers have no double of their own: one step down they have.
    return np.minimum(rounded, np.nextafter(float(bounds.max), 0)).astype(dtype)
