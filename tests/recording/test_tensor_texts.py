"""Tensors in a record: all values where they fit, else what is known of them; and what stays out of the log."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor.inference.signature import TensorSpec
from predictor.recording.redaction import Redaction
from predictor.recording.tensor_texts import TensorRecorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SPECS = {name: TensorSpec(name, "FP32", (-1,)) for name in ("a", "b", "c")}
OUTPUTS = {"y": TensorSpec("y", "FP32", (-1,))}


def told(
    inputs: Mapping[str, NDArray[Any]],
    datatype: str = "FP32",
    *,
    bound: int = 1 << 20,
    redaction: Redaction | None = None,
    brief: bool = False,
) -> list[dict[str, Any]]:
    """Return the inputs as a record has them."""
    specs = {name: TensorSpec(name, datatype, (-1,)) for name in inputs}
    (texts,) = TensorRecorder(specs, OUTPUTS, bound, redaction).texts(inputs, None, brief=brief)
    found: list[dict[str, Any]] = json.loads(texts.inputs or "[]")
    return found


@pytest.mark.parametrize(
    ("datatype", "values", "listed"),
    [
        ("FP32", np.array([[0.1], [-0.0]], np.float32), [0.10000000149011612, -0.0]),
        ("FP16", np.array([0.1], np.float16), [0.0999755859375]),
        ("INT64", np.array([2**63 - 1, -1]), [2**63 - 1, -1]),
        ("BOOL", np.array([True, False]), [True, False]),
        ("BYTES", np.array([["é", ""]], object), ["é", ""]),
    ],
)
def test_few_values_are_listed(datatype: str, values: NDArray[Any], listed: list[Any]) -> None:
    """Up to 64 values can be read in the record, exactly, with name, type and shape."""
    (entry,) = told({"x": values}, datatype)
    assert entry == {"name": "x", "datatype": datatype, "shape": [*values.shape], "data": listed}


@pytest.mark.parametrize(
    ("datatype", "values", "contents"),
    [
        ("FP32", np.arange(65, dtype=np.float32), np.arange(65, dtype="<f4").tobytes()),
        ("FP32", np.array([np.nan, np.inf], np.float32), np.array([np.nan, np.inf], "<f4").tobytes()),
        ("UINT8", np.zeros((5, 5, 3), np.uint8), bytes(75)),
        ("INT64", np.arange(130)[::2], np.arange(0, 130, 2, dtype="<i8").tobytes()),
        ("BYTES", np.array(["é"] * 65, object), b"\x02\0\0\0\xc3\xa9" * 65),
    ],
)
def test_many_values_are_bytes(datatype: str, values: NDArray[Any], contents: bytes) -> None:
    """More values, and numbers that JSON has not, are little-endian bytes as in the binary tensor data extension."""
    (entry,) = told({"x": values}, datatype)
    assert b64decode(entry["base64"]) == contents
    assert entry.keys() == {"name", "datatype", "shape", "base64"}


def test_the_largest_give_way_first() -> None:
    """All tensors of a record have a bound together; the largest are replaced by figures until it holds."""
    inputs = {
        "a": np.arange(1000, dtype=np.float32),
        "b": np.array([0.5, -1.5, 3.0, np.nan, np.inf] * 100, np.float32),
        "c": np.arange(100, dtype=np.float32),
    }
    (texts,) = TensorRecorder(SPECS, OUTPUTS, 2500, None).texts(inputs, {"y": np.zeros(20, np.float32)})
    a, b, c = json.loads(texts.inputs or "")
    assert len(texts.inputs or "") + len(texts.outputs or "") <= 2500
    assert a == {
        "name": "a",
        "datatype": "FP32",
        "shape": [1000],
        "bytes": 4000,
        "sha256": hashlib.sha256(inputs["a"].tobytes()).hexdigest(),
        "min": 0.0,
        "max": 999.0,
        "mean": 499.5,
        "nan": 0,
    }
    assert (b["min"], b["max"], b["nan"], b["inf"]) == (-1.5, 3.0, 100, 100)
    assert b["mean"] == pytest.approx(2 / 3)
    assert "base64" in c
    assert "data" in json.loads(texts.outputs or "")[0]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8"])
@pytest.mark.parametrize("odd", [[], [np.nan], [np.inf, -np.inf], [np.nan, np.inf]], ids=str)
@pytest.mark.parametrize("turned", [False, True], ids=["as it lies", "turned"])
def test_figures_of_floats(dtype: str, odd: list[float], turned: bool) -> None:  # noqa: FBT001
    """However a tensor lies in memory, its hash is of its values in their order, its figures of the finite ones."""
    flat = np.random.default_rng(0).normal(0, 100, 3 * 4096).astype(dtype)
    flat[7 : 7 + len(odd)] = odd
    tensor = flat.reshape(3, 4096)
    tensor = tensor.T if turned else tensor
    (entry,) = told({"x": tensor}, f"FP{tensor.itemsize * 8}", bound=1000)
    finite = tensor[np.isfinite(tensor)]
    contents = tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
    assert entry.pop("sha256") == hashlib.sha256(contents).hexdigest()
    assert entry.pop("mean") == pytest.approx(finite.mean(dtype=np.float64), rel=1e-12)
    assert entry.pop("inf", 0) == int(np.isinf(tensor).sum())
    assert entry == {
        "name": "x",
        "datatype": f"FP{tensor.itemsize * 8}",
        "shape": [*tensor.shape],
        "bytes": tensor.nbytes,
        "min": finite.min().item(),
        "max": finite.max().item(),
        "nan": int(np.isnan(tensor).sum()),
    }


def test_figures_of_integers_and_texts() -> None:
    """Integers beyond a double keep their digits; texts have size and hash only."""
    (entry,) = told({"x": np.array([2**62 + 1] * 500)}, "INT64", bound=1024)
    assert (entry["min"], entry["max"]) == (2**62 + 1, 2**62 + 1)
    (entry,) = told({"x": np.array(["word"] * 500, object)}, "BYTES", bound=1024)
    assert entry.keys() == {"name", "datatype", "shape", "bytes", "sha256"}
    assert entry["bytes"] == 4000


def test_brief() -> None:
    """Where nobody may be held up, a large tensor is not looked at: only its shape is said."""
    (entry,) = told({"x": np.zeros(10_000, np.float32)}, bound=1024, brief=True)
    assert entry == {"name": "x", "datatype": "FP32", "shape": [10_000]}


def test_texts_that_no_sink_gives_back() -> None:
    """A text that is no Unicode, or has U+FFFD, which Loki makes a space, is replaced by its hash."""
    (entry,) = told({"x": np.array(["a", "\ud800", "\ufffd"], object)}, "BYTES")
    assert entry["data"] == [
        "a",
        *({"sha256": hashlib.sha256(b).hexdigest()} for b in (b"\xed\xa0\x80", b"\xef\xbf\xbd")),
    ]


def test_kept_out_of_the_log() -> None:
    """Of a tensor that is dropped there is its shape, of one that is hashed a keyed hash of name and bytes."""
    redaction = Redaction(frozenset(), {}, b"k" * 32, tensors=({"a": "drop", "b": "hash", "c": "hash"}, {}))
    ones = np.ones(3, np.float32)
    a, b, c = told({"a": ones, "b": ones, "c": ones}, redaction=redaction)
    assert a == {"name": "a", "datatype": "FP32", "shape": [3]}
    assert b.keys() == {"name", "datatype", "shape", "hash"}
    assert b["hash"] != c["hash"]
    assert told({"b": ones}, redaction=redaction)[0]["hash"] == b["hash"]
