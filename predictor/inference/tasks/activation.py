"""From logits to probabilities, where the file stops before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities of (N, labels) logits, in their type."""
    with np.errstate(invalid="ignore", over="ignore"):  # a logit that is infinite has no answer, as one that is NaN
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
    return found


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Return a probability for each logit, in its type."""
    with np.errstate(over="ignore"):  # infinite below, where 0 is right
        found: NDArray[Any] = (1 / (1 + np.exp(-logits))).astype(logits.dtype, copy=False)
    return found


def two_classes(second: NDArray[Any]) -> NDArray[Any]:
    """Return the probabilities (N, 2) of both classes from (N,) or (N, 1) of the second one."""
    flat = second.reshape(-1)
    return np.stack((1 - flat, flat), axis=1)
