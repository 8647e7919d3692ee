"""Handles a failed batch: finds the requests that the model fails on, and gets outputs for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from predictor.inference.model import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Request(Protocol):
    """Rows that belong together."""

    @property
    def size(self) -> int:
        """Number of rows."""


T = TypeVar("T", bound=Request)


def run_apart(run: Callable[[Sequence[T]], Outputs], requests: Sequence[T]) -> Outputs | None:
    """Return the outputs of requests on which the model fails together, NaN for those on which it fails alone.

    None if it fails on each. Halves find one bad request among many in a few runs.
    """
    parts = list(_halves(run, requests))
    fine = next((part for part in parts if isinstance(part, Outputs)), None)
    if fine is None:
        return None
    whole = [part if isinstance(part, Outputs) else _failed(part, fine) for part in parts]
    probabilities, labels, outliers, scores = zip(*whole, strict=True)
    return Outputs(
        np.concatenate(probabilities),
        np.concatenate(labels),
        None if fine.outliers is None else np.concatenate(outliers),
        None if fine.scores is None else np.concatenate(scores),
    )


def _halves(run: Callable[[Sequence[T]], Outputs], requests: Sequence[T]) -> Iterator[Outputs | int]:
    """Yield outputs, or the number of rows of a request that fails."""
    middle = len(requests) // 2
    for half in (requests[:middle], requests[middle:]):
        try:
            yield run(half)
        except Exception:  # noqa: BLE001 - the runtime's exceptions share no other base
            if len(half) > 1:
                yield from _halves(run, half)
            else:
                yield half[0].size


def _failed(size: int, like: Outputs) -> Outputs:
    nothing = np.full((size, like.probabilities.shape[1]), np.nan, np.float32)
    return Outputs(
        nothing,
        np.zeros(size, np.intp),
        None if like.outliers is None else np.zeros(size, bool),
        None if like.scores is None else nothing[:, 0],
    )
