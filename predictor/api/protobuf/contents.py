"""Typed contents of tensors: repeated fields to numpy arrays and back; raw contents are what stands behind JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.api.v2.tensor_data import DTYPES, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from predictor.api.slices import Slices

FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the protocol has the values of a datatype; FP16 has no such field, and is raw always."""
_SLICE = 16 << 10
"""Values that are read at a time: about a millisecond."""


def from_contents(contents: Any, datatype: str, shape: Sequence[int]) -> Slices[NDArray[Any]]:  # noqa: ANN401 - protobuf's
    """Return, in slices, the array of an `InferTensorContents`; raises ValueError with the difference."""
    wanted = FIELDS.get(datatype)
    if wanted is None:
        msg = "has no raw_input_contents, the only form of its datatype"
        raise ValueError(msg)
    if other := [field.name for field, _ in contents.ListFields() if field.name != wanted]:
        msg = f"has its values in {other[0]}, not in {wanted}"
        raise ValueError(msg)
    values = getattr(contents, wanted)
    size = math.prod(shape)
    if len(values) != size:  # before they are made
        msg = f"has {len(values)} values"
        raise ValueError(msg)
    found = np.empty(size, DTYPES[datatype])
    for at in range(0, size, _SLICE):
        part = values[at : at + _SLICE]
        found[at : at + _SLICE] = _texts(part, at) if datatype == "BYTES" else _numbers(part, datatype)
        if at + _SLICE < size:
            yield
    return found.reshape(shape)


def to_contents(array: NDArray[Any], datatype: str) -> dict[str, list[Any]]:
    """Return the field of an `InferTensorContents` that holds an array."""
    values = to_json(array)
    return {FIELDS[datatype]: [each.encode() for each in values] if datatype == "BYTES" else values}


def _numbers(part: Sequence[Any], datatype: str) -> NDArray[Any]:
    try:
        return np.array(part, DTYPES[datatype])
    except OverflowError:
        msg = f"has a number that does not fit {datatype}"
        raise ValueError(msg) from None


def _texts(part: Iterable[bytes], first: int) -> list[str]:
    texts = []
    for place, each in enumerate(part, first):
        try:
            texts.append(str(each, "utf-8"))
        except UnicodeDecodeError:
            msg = f"has a text {place} that is not UTF-8"
            raise ValueError(msg) from None
    return texts
