"""What a batch of rows gave, whatever the model is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    own: Mapping[str, NDArray[Any]] | None = None
    """The file's own outputs by name, if they were asked for: with an entry for each row, or of the only request."""


def broken_rows(outputs: Outputs) -> NDArray[np.bool_] | None:
    """Return which rows have no answer: a number that is not finite, or no label; None if all have one."""
    found = None
    probabilities, labels, _, scores, values, _ = outputs
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
