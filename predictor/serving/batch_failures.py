"""Handles a failed batch: finds the requests that the model fails on, and gets outputs for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from predictor.inference.outputs import joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from predictor.inference.outputs import Outputs


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
    return joined(list(_halves(run, requests)))


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
