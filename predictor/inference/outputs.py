"""What a batch of rows gave, whatever the model is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Outputs(NamedTuple):
    """What a batch of N rows gave, unrounded and unchecked: a model may give NaN for a row, and that row alone.

    A row whose own label is none of the description's has NaN too, or no label: there is no answer for it.
    """

    # Arrays or None: which of them a model has is known of the model, not asked of each of its batches.
    probabilities: Any  # (N, labels)
    labels: Any  # (N,), places among the description's labels, or the texts themselves
    outliers: NDArray[np.bool_] | None  # (N,), None without a detector
    scores: NDArray[Any] | None  # (N,), None without a detector
    values: Any = None  # (N, values): what is no probability


def broken_rows(outputs: Outputs) -> NDArray[np.bool_] | None:
    """Return which rows have no answer: a number that is not finite, or no label; None if all have one."""
    found = None
    probabilities, labels, _, scores, values = outputs
    for part in (probabilities, scores, values):
        if part is not None and not math.isfinite(part.sum()):
            finite = np.isfinite(part)
            whole = finite if finite.ndim == 1 else finite.all(axis=1)
            found = ~whole if found is None else found | ~whole
    if labels is not None and labels.dtype.kind == "O":
        without = np.array([label is None for label in labels])
        if without.any():
            found = without if found is None else found | without
    return found


def joined(parts: Sequence[Outputs | int]) -> Outputs | None:
    """Return outputs one after the other, with no answer for each number of rows; None if there are numbers only."""
    like = next((part for part in parts if isinstance(part, Outputs)), None)
    if like is None:
        return None
    whole = [part if isinstance(part, Outputs) else _failed(part, like) for part in parts]
    columns = zip(like, zip(*whole, strict=True), strict=True)
    return Outputs(*(None if one is None else np.concatenate(each) for one, each in columns))


def _failed(size: int, like: Outputs) -> Outputs:
    return Outputs(*(None if part is None else _nothing(part, size) for part in like))


def _nothing(part: NDArray[Any], size: int) -> NDArray[Any]:
    shape = (size, *part.shape[1:])
    if part.dtype.kind == "f":
        return np.full(shape, np.nan, part.dtype)
    return np.full(shape, None, object) if part.dtype.kind == "O" else np.zeros(shape, part.dtype)
