"""Outputs that hold one number a row, or several: their names, and the matrix of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.core.features import columns
from predictor.inference.checked_file import TRIED_ROWS, Checked, three_rows
from predictor.inference.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts
    from predictor.inference.manifest import Gives
    from predictor.inference.onnx_session import Session
    from predictor.inference.table_input import Feed


class NamedNumbers:
    """A task whose answer is a number for each name: of a regression, or of several labels at once."""

    gives: Gives = "values"
    labels: tuple[str, ...] = ()

    def __init__(self, name: str, values: tuple[str, ...], run: Checked) -> None:
        """Take the task's name, the numbers' names, and what gives them."""
        self.name = name
        self.values = values
        self.checked = run

    def answer(self, parts: Parts) -> Outputs:
        """Return the numbers."""
        (values,) = parts
        return Outputs(None, None, None, None, values)


def sizes(session: Session, outputs: Sequence[str], rows: Feed) -> dict[str, int | None]:
    """Return for each output how many numbers a row has, 0 for a vector of rows; None if it is no number a row."""
    raw = session.asked_for(outputs)

    def run(rows: Feed) -> tuple[NDArray[Any], ...]:
        return tuple(np.asarray(each) for each in raw(rows))

    found = three_rows(session, run, rows)
    return {name: _size(part) for name, part in zip(outputs, found, strict=True)}


def _size(part: NDArray[Any]) -> int | None:
    if part.dtype.kind not in "fiub" or part.shape[:1] != (TRIED_ROWS,):
        return None
    if part.ndim == 1:
        return 0
    return part.shape[1] if part.ndim == 2 else None  # noqa: PLR2004 - rows and numbers


def names_of(sizes: dict[str, int | None]) -> tuple[str, ...]:
    """Return the names of all numbers of a row."""
    return tuple(name for output, size in sizes.items() for name in columns(output, size or None))


def as_matrix(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the numbers of all outputs, a row each, as floats of the widest type."""
    whole = [part.reshape(len(part), -1) for part in parts]
    found = whole[0] if len(whole) == 1 else np.concatenate(whole, axis=1)
    return found if found.dtype.kind == "f" else found.astype(np.float64)
