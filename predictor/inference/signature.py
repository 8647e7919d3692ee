"""What a file takes and gives: names, data types and shapes, in the words of the Open Inference Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FREE = -1
"""In a shape: an axis of any length."""

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
"""numpy's type of each datatype; texts are Python strings."""
_BY_DTYPE = {np.dtype(dtype).str: name for name, dtype in DTYPES.items()}
FLOATS = frozenset({"FP16", "FP32", "FP64"})


class TensorSpec(NamedTuple):
    """One input or output."""

    name: str
    datatype: str
    """A datatype of the protocol; what it has no word for (sequences, maps) stands as ONNX Runtime calls it."""
    shape: tuple[int, ...]
    """FREE where any length is taken; empty for a scalar, and for a shape that the file does not declare."""

    def __str__(self) -> str:
        """Return it for a sentence, e.g. `'x': FP32 (-1, 4)`."""
        return f"{self.name!r}: {self.datatype} {self.shape}"

    @property
    def is_tensor(self) -> bool:
        """Whether it is no sequence and no map."""
        return self.datatype in DTYPES


def datatype_of(array: NDArray[Any]) -> str:
    """Return the datatype of an array; raises KeyError for one that no tensor has."""
    return _BY_DTYPE[array.dtype.newbyteorder("=").str]


class Signature(NamedTuple):
    """Inputs and outputs in the file's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def specs(arguments: Iterable[Any]) -> tuple[TensorSpec, ...]:
    """Return the specifications of a session's inputs or outputs, as ONNX Runtime lists them."""
    return tuple(
        TensorSpec(
            each.name,
            _DATATYPES.get(each.type, each.type),
            tuple(size if isinstance(size, int) else FREE for size in each.shape or ()),
        )
        for each in arguments
    )
