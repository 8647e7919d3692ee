"""Data of tensors in JSON and in binary: exact both ways, without a copy where there need be none."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.api.slices import at_once
from predictor.api.v2 import tensor_data
from predictor.api.v2.tensor_data import DTYPES, to_binary, to_json
from tests.support.inference_protocol import packed


def from_json(data: bytes, datatype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return what the slices give."""
    return at_once(tensor_data.from_json(data, datatype, shape))


def from_binary(data: memoryview, datatype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return what the slices give."""
    return at_once(tensor_data.from_binary(data, datatype, shape))


NUMBERS = [name for name in DTYPES if name not in {"BYTES", "BOOL"}]


def some(datatype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of a datatype that has its largest, its least and other values."""
    size, dtype = int(np.prod(shape)), DTYPES[datatype]
    if datatype == "BYTES":
        return np.array(["", 'a,"[', "é 日本", "\u0000x"] * size, object)[:size].reshape(shape)
    if datatype == "BOOL":
        return np.array([at % 2 == 0 for at in range(size)]).reshape(shape)
    bounds = np.finfo(dtype) if datatype.startswith("FP") else np.iinfo(dtype)
    return np.resize(np.array([bounds.max, bounds.min, 0, 1, 3], dtype), size).reshape(shape)


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (2, 1, 3)])
def test_both_ways(datatype: str, shape: tuple[int, ...]) -> None:
    """Every datatype comes back as it was, by flat and by nested JSON and by bytes."""
    array = some(datatype, shape)
    flat = json.dumps(to_json(array)).encode()
    nested = json.dumps(array.tolist() if shape else [array.tolist()]).encode()
    for found in (
        from_json(flat, datatype, shape),
        from_json(nested, datatype, shape),
        from_binary(memoryview(to_binary(array)), datatype, shape),
    ):
        assert (found.dtype, found.shape) == (DTYPES[datatype], shape)
        assert found.tolist() == array.tolist()
    assert bytes(to_binary(array)) == packed(array)


def test_bytes_stay_where_they_are() -> None:
    """Numbers of a body are not copied where they are aligned, and of an output never; else as a whole, in C."""
    body = bytearray(96)
    start = -np.frombuffer(body, np.uint8).ctypes.data % 8
    aligned = from_binary(memoryview(body)[start : start + 64], "FP64", (8,))
    body[start : start + 8] = np.float64(3.5).tobytes()
    assert aligned[0] == 3.5
    crooked = from_binary(memoryview(body)[start + 1 : start + 65], "FP64", (8,))
    assert crooked.flags.aligned
    array = np.arange(6, dtype=np.float32)
    assert np.shares_memory(np.frombuffer(to_binary(array), np.float32), array)


def test_parts_of_a_batch_are_whole() -> None:
    """Rows cut out of a batch, and arrays that lie otherwise, go out in the order of their elements."""
    array = np.arange(24, dtype=np.int32).reshape(4, 6)
    assert bytes(to_binary(array[1:3])) == array[1:3].tobytes()
    assert bytes(to_binary(array.T)) == array.T.tobytes()
    assert to_binary(np.empty((0, 3), np.float32)) == b""


def test_null_is_nan() -> None:
    """`null` is a missing value where the type has one, and refused elsewhere."""
    for datatype in ("FP16", "FP32", "FP64"):
        assert np.isnan(from_json(b"[1,null]", datatype, (2,))).tolist() == [False, True]
    for datatype in ("INT64", "BOOL", "BYTES"):
        with pytest.raises((ValueError, msgspec.ValidationError)):
            from_json(b"[1,null]", datatype, (2,))


def test_whole_numbers_may_be_written_as_floats() -> None:
    """Clients that write each value as a float are understood as long as nothing is lost."""
    assert from_json(b"[1.0, -3.0]", "INT8", (2,)).tolist() == [1, -3]
    assert from_json(b"[[1.0], [0.0]]", "BOOL", (2, 1)).tolist() == [[True], [False]]
    assert from_json(b"[1, 0]", "BOOL", (2,)).tolist() == [True, False]
    for text, datatype in ((b"[1.5]", "INT64"), (b"[128.0]", "INT8"), (b"[-1.0]", "UINT8"), (b"[2]", "BOOL")):
        with pytest.raises(ValueError, match="does not fit "):
            from_json(text, datatype, (1,))
    with pytest.raises(ValueError, match="does not fit INT64"):
        from_json(b"[9007199254740994.0]", "INT64", (1,))


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_that_do_not_fit(datatype: str) -> None:
    """A number beyond its type's bounds is refused, never wrapped around or made infinite."""
    beyond = {"FP16": b"[65520]", "FP32": b"[3.5e38]", "FP64": b"[1e999]", "UINT64": b"[18446744073709551616]"}
    text = beyond.get(datatype) or b"[%d]" % (np.iinfo(DTYPES[datatype]).max + 1 if "INT" in datatype else 0)
    with pytest.raises((ValueError, msgspec.DecodeError)):
        from_json(text, datatype, (1,))


@given(st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), min_size=1, max_size=4))
def test_texts(rows: list[list[str]]) -> None:
    """Any text survives both ways."""
    array = np.array(rows, object)
    try:
        data = to_binary(array)
    except UnicodeEncodeError:  # a lone surrogate, which no model gives
        return
    assert from_binary(memoryview(data), "BYTES", array.shape).tolist() == rows


@pytest.mark.parametrize(
    ("data", "shape", "said"),
    [
        (b"\x05\0\0\0abc", (1,), "ends within text 0 of 1"),
        (b"\x01\0\0\0a\x01\0", (2,), "too few for 2 texts"),
        (b"\x03\0\0\0abc\xff", (2,), "ends within text 1 of 2"),
        (b"\x01\0\0\0ab", (1,), "has 1 bytes more than 1 texts"),
        (b"\x01\0\0\0\xff", (1,), "has a text 0 that is not UTF-8"),
        (b"", (1 << 40,), "too few for"),
    ],
)
def test_broken_texts(data: bytes, shape: tuple[int, ...], said: str) -> None:
    """Texts whose lengths do not fit the data are refused, before memory is taken for them."""
    with pytest.raises(ValueError, match=said):
        from_binary(memoryview(data), "BYTES", shape)


def test_other_refusals() -> None:
    """Bytes that are no booleans, and a shape that is larger than the data, are refused."""
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        from_binary(memoryview(b"\x02"), "BOOL", (1,))
    with pytest.raises(ValueError, match="has 4 bytes, wanted 4398046511104"):
        from_binary(memoryview(b"abcd"), "FP32", (1 << 40,))
    with pytest.raises(ValueError, match="has 2 values"):
        from_json(b"[1,2]", "FP32", (1 << 40,))
    for ragged in (b"[[1],[2,3]]", b"[1,[2]]", b"[[1,2],[3,4]", b"[[[1]]]", b"[[],[1]]", b"1", b"[1,2]"):
        for datatype in ("FP32", "INT64"):
            with pytest.raises((ValueError, msgspec.DecodeError)):
                at_once(tensor_data.from_nested(ragged, datatype, 2))


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BOOL", "BYTES"])
def test_large_data_in_slices(datatype: str) -> None:
    """Large data is made piece by piece, and is the same; a fault within a later piece is found too."""
    array = some(datatype, (500, 9, 11))
    for data in (to_json(array), array.tolist()):
        text = json.dumps(data).encode()
        slices = tensor_data.from_json(text, datatype, array.shape)
        pauses = 0
        while True:
            try:
                next(slices)
            except StopIteration as end:
                found = end.value
                break
            pauses += 1
        assert found.tolist() == array.tolist()
        assert datatype == "BYTES" or pauses >= len(text) // (64 << 10)
        broken = text[:-60] + text[-60:].replace(b"1", b"{").replace(b"true", b'"a"').replace(b'""', b"1")
        with pytest.raises((ValueError, msgspec.DecodeError)):
            from_json(broken, datatype, array.shape)
