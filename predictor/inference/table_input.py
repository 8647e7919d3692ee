"""Rows of a table as what a session takes: one matrix, or an input for each column or group of columns."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from predictor.core.features import Feature, columns
from predictor.inference.signature import DTYPES, FLOATS, FREE, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.core.features import Value

_MANY = 16
"""Rows from which on their numbers are taken one after the other: in half of the time that lists of lists take."""
_MATRIX = 2
"""Axes: rows and columns."""


class Columns:
    """Several inputs whose first axis is that of the rows; takes slices and places as one array does."""

    __slots__ = ("arrays",)

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take the arrays by the names of the inputs, all of one length."""
        self.arrays = arrays

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.arrays.values())))

    def repeat(self, times: int, axis: int) -> Columns:
        """Return each row so many times; the axis is that of the rows, 0."""
        return Columns({name: array.repeat(times, axis=axis) for name, array in self.arrays.items()})

    def __getitem__(self, places: slice | NDArray[np.intp] | list[int]) -> Columns:
        """Return some of the rows."""
        return Columns({name: array[places] for name, array in self.arrays.items()})


Feed: TypeAlias = "NDArray[Any] | Columns"
"""What a session takes for N rows: the only input's matrix, or all inputs."""


class _Part(NamedTuple):
    """The columns of one input."""

    spec: TensorSpec
    begin: int
    width: int

    @property
    def flat(self) -> bool:
        """Whether the input has no second axis."""
        return len(self.spec.shape) == 1


def widths(inputs: Sequence[TensorSpec]) -> list[int | None] | None:
    """Return how many columns each input takes, None if it takes any number; None if they are no rows of a table."""
    found: list[int | None] = []
    for spec in inputs:
        if not spec.is_tensor or not spec.shape or spec.shape[0] not in {FREE, 1} or len(spec.shape) > _MATRIX:
            return None
        if len(spec.shape) == 1:
            if spec.shape[0] != FREE:
                return None
            found.append(1)
        else:
            found.append(None if spec.shape[1] == FREE else spec.shape[1])
    return found or None


def found_features(inputs: Sequence[TensorSpec]) -> tuple[Feature, ...] | None:
    """Return the features that a file's inputs tell of; None if they are no rows of a known width."""
    sizes = widths(inputs)
    if sizes is None or None in sizes or 0 in sizes:
        return None
    return tuple(
        Feature(name, "1", default_sample(spec.datatype), datatype=spec.datatype)
        for spec, size in zip(inputs, sizes, strict=True)
        for name in columns(spec.name, size)
    )


def default_sample(datatype: str) -> Value:
    """Return a value of a datatype that means the least."""
    if datatype == "BYTES":
        return ""
    if datatype == "BOOL":
        return False
    return 0.0 if datatype in FLOATS else 0


class TableInput:
    """Turns rows into what a session takes."""

    def __init__(self, inputs: Sequence[TensorSpec], width: int) -> None:
        """Take the inputs, as `widths` has found them fit, and the number of features."""
        begin = 0
        self._parts: list[_Part] = []
        for spec in inputs:
            size = spec.shape[1] if len(spec.shape) == _MATRIX else 1
            size = width if size == FREE else size
            self._parts.append(_Part(spec, begin, size))
            begin += size
        self.width = begin
        self._matrix = DTYPES[inputs[0].datatype] if len(inputs) == 1 and len(inputs[0].shape) == _MATRIX else None

    def feed(self, rows: Sequence[Sequence[Any]] | NDArray[Any]) -> Feed:
        """Return rows of validated values, in the order of the features; a missing one is None."""
        if self._matrix is not None:
            return _matrix(rows, self._matrix, self.width)
        arrays: dict[str, NDArray[Any]] = {}
        for spec, begin, width in self._parts:
            values = [row[begin : begin + width] for row in rows]
            found = np.array(values, DTYPES[spec.datatype])
            arrays[spec.name] = found.reshape(-1) if len(spec.shape) == 1 else found
        return Columns(arrays)

    def names(self) -> list[str]:
        """Return the input of each column."""
        return [part.spec.name for part in self._parts for _ in range(part.width)]

    def datatypes(self) -> list[str]:
        """Return the datatype of each column."""
        return [part.spec.datatype for part in self._parts for _ in range(part.width)]


def _matrix(rows: Sequence[Sequence[Any]] | NDArray[Any], dtype: type[Any], width: int) -> NDArray[Any]:
    many = len(rows) >= _MANY and issubclass(dtype, np.floating) and not isinstance(rows, np.ndarray)
    if not many or {*map(len, rows)} != {width}:
        return np.array(rows, dtype)
    return np.fromiter(chain.from_iterable(rows), dtype, len(rows) * width).reshape(len(rows), width)
