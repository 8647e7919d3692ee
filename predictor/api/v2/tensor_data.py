"""Data of tensors: JSON or binary to numpy arrays and back, element by element only where the elements are texts.

Lists are counted before they are made, and what is large is made in slices.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from predictor.api.pattern.rows import value_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from predictor.api.slices import Slices

DTYPES: dict[str, Any] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""numpy's types as they stand in a binary body: little-endian; texts are Python strings."""
_NESTED = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*\[")
_BRACKETS = b"[]"
_NO_SKELETON = bytes({*range(256)} - {*b"[],"})
_SLICE = 64 << 10
"""Bytes of numbers that are decoded at a time: about a millisecond."""
_TEXTS = 4096
"""Texts that are decoded at a time."""
_LENGTH = 4
"""Bytes before each text that say how many it has."""
_EXACT = 2**53
"""Up to here each whole number is a double."""
_UNEQUAL = "has lists of different lengths or depths"


def from_json(data: bytes, datatype: str, shape: Sequence[int]) -> Slices[NDArray[Any]]:
    """Return, in slices, the array of a JSON list, flat or nested as the shape is.

    Raises ValueError with the difference, and what msgspec raises. `null` is NaN where the type has one.
    """
    depth = len(shape) if len(shape) > 1 and _NESTED.match(data) else 1
    size = math.prod(shape)
    if datatype == "BYTES":
        found = _list_of_texts(data, depth)
        if found.size != size:
            msg = f"has {found.size} values"
            raise ValueError(msg)
        return found.reshape(shape)
    skeleton = data.translate(None, _NO_SKELETON)
    if (given := skeleton.count(b",") + 1) != max(size, 1):  # before they are made
        msg = f"has {given} values"
        raise ValueError(msg)
    if depth > 1 and size and _shape_of(skeleton, depth) != (*shape,):
        raise ValueError(_UNEQUAL)
    return (yield from _numbers(data, datatype, size)).reshape(shape)


def from_nested(data: bytes, datatype: str, depth: int) -> Slices[NDArray[Any]]:
    """Return, in slices, the array of JSON lists, nested so deep; its shape is theirs; raises as above."""
    if datatype == "BYTES":
        return _list_of_texts(data, depth)
    shape = _shape_of(data.translate(None, _NO_SKELETON), depth)
    return (yield from _numbers(data, datatype, math.prod(shape))).reshape(shape)


def from_binary(data: memoryview, datatype: str, shape: Sequence[int]) -> Slices[NDArray[Any]]:
    """Return the array of little-endian bytes, which stay where they are if they are aligned; ValueError as above."""
    if datatype == "BYTES":
        return (yield from _texts(data, math.prod(shape))).reshape(shape)
    dtype = DTYPES[datatype]
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        msg = f"has {len(data)} bytes, wanted {wanted}"
        raise ValueError(msg)
    if not wanted:
        return np.empty(shape, dtype)
    found = np.frombuffer(data, dtype).reshape(shape)
    if datatype == "BOOL" and (found.view(np.uint8) > 1).any():
        msg = "has bytes that are neither 0 nor 1"
        raise ValueError(msg)
    return found if found.flags.aligned else found.copy()


def to_json(array: NDArray[Any]) -> list[Any]:
    """Return the elements as a flat list."""
    flat: list[Any] = array.reshape(-1).tolist()
    return flat


def to_binary(array: NDArray[Any]) -> bytes | memoryview:
    """Return the elements as little-endian bytes, without a copy if the array has them so."""
    if array.dtype == object:
        parts = []
        for text in array.reshape(-1).tolist():
            encoded = text.encode()
            parts += [len(encoded).to_bytes(_LENGTH, "little"), encoded]
        return b"".join(parts)
    whole = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return whole.reshape(-1).view(np.uint8).data if whole.size else b""


def binary_size(array: NDArray[Any]) -> int:
    """Return how many bytes `to_binary` gives."""
    if array.dtype != object:
        return array.nbytes
    texts: list[str] = array.reshape(-1).tolist()
    return sum(_LENGTH + (len(each) if each.isascii() else len(each.encode())) for each in texts)


def _shape_of(skeleton: bytes, depth: int) -> tuple[int, ...]:
    """Return the shape of lists of which only brackets and commas are left; raises ValueError if it is none."""
    sizes: list[int] = []
    for _ in range(depth):
        end = skeleton.find(b"]")
        begin = skeleton.rfind(b"[", 0, max(end, 0))
        if begin < 0:
            raise ValueError(_UNEQUAL)
        innermost = skeleton[begin : end + 1]
        size = innermost.count(b",") + 1
        if sizes and innermost != b"[%b]" % b",".join([b"x"] * size):
            raise ValueError(_UNEQUAL)
        sizes.append(size)
        skeleton = skeleton.replace(innermost, b"x")
    if skeleton != b"x":
        raise ValueError(_UNEQUAL)
    return tuple(reversed(sizes))


def _numbers(data: bytes, datatype: str, size: int) -> Slices[NDArray[Any]]:
    """Return, in slices, the numbers of lists that are known to be well nested; raises ValueError."""
    if not data.strip().startswith(b"["):
        msg = "has no list"
        raise ValueError(msg)
    dtype = DTYPES[datatype]
    if len(data) <= _SLICE:
        found = _made(b"[%b]" % data.translate(None, _BRACKETS), datatype)
    else:
        found, at = np.empty(size, dtype), 0
        for piece in _pieces(data.translate(None, _BRACKETS)):
            part = _made(piece, datatype)
            found[at : at + len(part)] = part[: size - at]
            at += len(part)
            yield
        if at != size:
            raise ValueError(_UNEQUAL)
    if len(found) != size:
        raise ValueError(_UNEQUAL)
    if datatype in {"FP16", "FP32"} and np.isinf(found).any():
        msg = f"has a number that is not finite as {datatype}"
        raise ValueError(msg)
    return found


def _pieces(flat: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(flat):
        end = flat.find(b",", begin + _SLICE)
        end = len(flat) if end < 0 else end
        yield b"[%b]" % flat[begin:end]
        begin = end + 1


def _made(data: bytes, datatype: str) -> NDArray[Any]:
    try:
        values = _decoder(datatype, 1)(data)
    except msgspec.ValidationError:
        if datatype == "BOOL" or ("INT" in datatype and b"." in data):  # some clients write each value as a float
            return _whole_numbers(data, datatype)
        raise
    try:
        with np.errstate(over="ignore"):  # the caller looks for infinite ones
            return np.array(values, DTYPES[datatype])
    except OverflowError:
        msg = f"has a number that does not fit {datatype}"
        raise ValueError(msg) from None


def _whole_numbers(data: bytes, datatype: str) -> NDArray[Any]:
    floats = _made(data, "FP64")
    bounds = np.iinfo(DTYPES[datatype]) if datatype != "BOOL" else None
    least, most = (max(bounds.min, -_EXACT), min(bounds.max, _EXACT)) if bounds else (0, 1)
    if not ((floats == np.trunc(floats)) & (floats >= least) & (floats <= most)).all():
        msg = f"has a number that does not fit {datatype}"
        raise ValueError(msg)
    return floats.astype(DTYPES[datatype])


def _list_of_texts(data: bytes, depth: int) -> NDArray[Any]:
    try:
        return np.array(_decoder("BYTES", depth)(data), object)
    except ValueError as error:
        if isinstance(error, msgspec.MsgspecError):
            raise
        raise ValueError(_UNEQUAL) from None


def _texts(data: memoryview, size: int) -> Slices[NDArray[Any]]:
    if len(data) < size * _LENGTH:  # before the array is made
        msg = f"has {len(data)} bytes, too few for {size} texts"
        raise ValueError(msg)
    found = np.empty(size, object)
    at = 0
    for place in range(size):
        begin = at + _LENGTH
        at = begin + int.from_bytes(data[begin - _LENGTH : begin], "little")
        if max(at, begin) > len(data):
            msg = f"ends within text {place} of {size}"
            raise ValueError(msg)
        try:
            found[place] = str(data[begin:at], "utf-8")
        except UnicodeDecodeError:
            msg = f"has a text {place} that is not UTF-8"
            raise ValueError(msg) from None
        if place % _TEXTS == _TEXTS - 1:
            yield
    if at != len(data):
        msg = f"has {len(data) - at} bytes more than {size} texts"
        raise ValueError(msg)
    return found


@lru_cache(512)
def _decoder(datatype: str, depth: int) -> Callable[[bytes], list[Any]]:
    # Types that are made of a datatype are nothing that a type checker could follow.
    arrays: Any = list
    kind: Any = value_type(datatype)
    if datatype.startswith("FP"):
        kind = kind | None
    for _ in range(depth):
        kind = arrays[kind]
    return msgspec.json.Decoder(kind).decode
