"""Bare ONNX files that take tensors: images, tokens, state, fixed batches, scalars, several inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from tests.support.bare_models import BOOL, DOUBLE, FLOAT, HALF, INT64, STRING, save

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.bare_models import Inputs
    from tests.support.onnx_graphs import Node

UINT8 = int(TensorProto.UINT8)
_DRAW = np.random.default_rng(3)


class Kind(NamedTuple):
    """A kind of model, a request of `rows` rows that it takes, and whether its rows run with those of others."""

    make: Callable[[Path], Path]
    request: Callable[[int], dict[str, NDArray[Any]]]
    together: bool
    row_axis: bool = True


def image(path: Path) -> Path:
    """Write an image model, NCHW: the mean of each channel, and the largest value."""
    nodes: list[Node] = [
        ("GlobalAveragePool", ["image"], ["pooled"], {}),
        ("Flatten", ["pooled"], ["means"], {"axis": 1}),
        ("GlobalMaxPool", ["image"], ["most"], {}),
    ]
    outputs = {"means": (FLOAT, ["N", 3]), "most": (FLOAT, ["N", 3, 1, 1])}
    return save(path, nodes, {"image": (FLOAT, ["N", 3, 16, 16])}, outputs)


def pixels(path: Path) -> Path:
    """Write an image model, NHWC of bytes: the brightest of each channel, as bytes."""
    nodes: list[Node] = [
        ("Cast", ["image"], ["f"], {"to": FLOAT}),
        ("ReduceMax", ["f", "axes"], ["m"], {"keepdims": 0}),
        ("Cast", ["m"], ["brightest"], {"to": UINT8}),
    ]
    constants = {"axes": np.array([1, 2])}
    return save(path, nodes, {"image": (UINT8, ["N", 8, 8, 3])}, {"brightest": (UINT8, ["N", 3])}, constants)


def tokens(path: Path) -> Path:
    """Write a text model: an embedding for each token, and the mean of those that the mask has."""
    nodes: list[Node] = [
        ("Gather", ["table", "input_ids"], ["h"], {"axis": 0}),
        ("Cast", ["attention_mask"], ["m"], {"to": FLOAT}),
        ("Unsqueeze", ["m", "last"], ["m3"], {}),
        ("Mul", ["h", "m3"], ["masked"], {}),
        ("ReduceSum", ["masked", "one"], ["sum"], {"keepdims": 0}),
        ("ReduceSum", ["m3", "one"], ["count"], {"keepdims": 0}),
        ("Max", ["count", "least"], ["there"], {}),
        ("Div", ["sum", "there"], ["embedding"], {}),
    ]
    constants = {
        "table": np.arange(40, dtype=np.float32).reshape(10, 4) / 8,
        "last": np.array([-1]),
        "one": np.array([1]),
        "least": np.array([1.0], np.float32),
    }
    inputs = {name: (INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")}
    outputs = {"h": (FLOAT, ["batch", "sequence", 4]), "embedding": (FLOAT, ["batch", 4])}
    return save(path, nodes, inputs, outputs, constants)


def influence(path: Path) -> Path:
    """Write a model whose rows influence each other: an image less the mean of all images."""
    nodes: list[Node] = [("ReduceMean", ["x"], ["m"], {"keepdims": 1}), ("Sub", ["x", "m"], ["y"], {})]
    return save(path, nodes, {"x": (FLOAT, ["N", 2, 2])}, {"y": (FLOAT, ["N", 2, 2])})


def fixed_batch(path: Path) -> Path:
    """Write a model that takes four rows and no other number."""
    return save(path, [("Softmax", ["x"], ["p"], {"axis": 1})], {"x": (FLOAT, [4, 3])}, {"p": (FLOAT, [4, 3])})


def no_batch(path: Path) -> Path:
    """Write a model without an axis of rows."""
    return save(path, [("Softmax", ["x"], ["p"], {"axis": 0})], {"x": (DOUBLE, [3])}, {"p": (DOUBLE, [3])})


def scalars(path: Path) -> Path:
    """Write a model of scalars: a price, a rate and a number of years to a total."""
    nodes: list[Node] = [
        ("Cast", ["years"], ["y"], {"to": FLOAT}),
        ("Mul", ["rate", "y"], ["r"], {}),
        ("Mul", ["price", "r"], ["more"], {}),
        ("Add", ["price", "more"], ["total"], {}),
    ]
    return save(path, nodes, {"price": (FLOAT, []), "rate": (FLOAT, []), "years": (INT64, [])}, {"total": (FLOAT, [])})


def state(path: Path) -> Path:
    """Write a model whose caller passes its state, which has the rows on its second axis."""
    nodes: list[Node] = [("Add", ["x", "h"], ["hn"], {}), ("ReduceSum", ["hn", "axes"], ["y"], {"keepdims": 0})]
    inputs: Inputs = {"x": (FLOAT, ["N", 3]), "h": (FLOAT, [1, "N", 3])}
    outputs = {"y": (FLOAT, ["N"]), "hn": (FLOAT, [1, "N", 3])}
    return save(path, nodes, inputs, outputs, {"axes": np.array([0, 2])})


def several(path: Path) -> Path:
    """Write a model of inputs and outputs of many types: half floats, booleans, texts."""
    nodes: list[Node] = [
        ("Neg", ["half"], ["negative"], {}),
        ("Not", ["flags"], ["others"], {}),
        ("Identity", ["words"], ["said"], {}),
    ]
    inputs: Inputs = {"half": (HALF, ["N", 2, 1]), "flags": (BOOL, ["N", 2]), "words": (STRING, ["N", 2])}
    outputs = {"negative": (HALF, ["N", 2, 1]), "others": (BOOL, ["N", 2]), "said": (STRING, ["N", 2])}
    return save(path, nodes, inputs, outputs)


def shapeless(path: Path) -> Path:
    """Write a model whose input declares no shape."""
    any_shape: Any = helper.make_tensor_type_proto(FLOAT, None)
    return save(path, [("Neg", ["x"], ["y"], {})], {"x": (FLOAT, None)}, {"y": any_shape})  # type: ignore[dict-item]


def large(path: Path) -> Path:
    """Write a model of large images, of which two have more than two million values."""
    return save(
        path, [("Neg", ["x"], ["y"], {})], {"x": (FLOAT, ["N", 3, 640, 640])}, {"y": (FLOAT, ["N", 3, 640, 640])}
    )


def picky(path: Path) -> Path:
    """Write a model whose inputs go together only in one length, which nobody guesses."""
    nodes: list[Node] = [("Reshape", ["x", "five"], ["x5"], {}), ("MatMul", ["x5", "y"], ["z"], {})]
    inputs: Inputs = {"x": (FLOAT, ["a", "b"]), "y": (FLOAT, ["c", "d"])}
    return save(path, nodes, inputs, {"z": (FLOAT, ["a", "d"])}, {"five": np.array([-1, 5])})


def sequence(path: Path) -> Path:
    """Write a model that takes a sequence of tensors, for which requests have no form."""
    nodes: list[Node] = [("SequenceConstruct", ["x"], ["s"], {})]
    outputs = {"s": helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))}
    return save(path, nodes, {"x": (FLOAT, ["N", 2, 2])}, outputs)


def _images(rows: int) -> dict[str, NDArray[Any]]:
    return {"image": _DRAW.standard_normal((rows, 3, 16, 16), dtype=np.float32)}


def _pixels(rows: int) -> dict[str, NDArray[Any]]:
    return {"image": _DRAW.integers(0, 255, (rows, 8, 8, 3), dtype=np.uint8)}


def _tokens(rows: int) -> dict[str, NDArray[Any]]:
    length = int(_DRAW.integers(2, 4))
    mask = np.ones((rows, length), np.int64)
    mask[:, -1] = _DRAW.integers(0, 2, rows)
    return {"input_ids": _DRAW.integers(0, 10, (rows, length)), "attention_mask": mask}


def _state(rows: int) -> dict[str, NDArray[Any]]:
    x, h = (_DRAW.standard_normal((rows, 3), dtype=np.float32) for _ in range(2))
    return {"x": x, "h": h[None]}


def _several(rows: int) -> dict[str, NDArray[Any]]:
    words = np.array(["", "a", "é 日本", "=1"], object)
    return {
        "half": _DRAW.standard_normal((rows, 2, 1)).astype(np.float16),
        "flags": _DRAW.integers(0, 2, (rows, 2)).astype(bool),
        "words": words[_DRAW.integers(0, 4, (rows, 2))],
    }


def _scalars(rows: int) -> dict[str, NDArray[Any]]:  # noqa: ARG001 - there are none
    return {
        "price": np.array(_DRAW.random(), np.float32),
        "rate": np.array(0.5, np.float32),
        "years": np.array(_DRAW.integers(1, 9)),
    }


KINDS: Mapping[str, Kind] = {
    "image": Kind(image, _images, together=True),
    "pixels": Kind(pixels, _pixels, together=True),
    "tokens": Kind(tokens, _tokens, together=True),
    "several": Kind(several, _several, together=True),
    "influence": Kind(
        influence, lambda rows: {"x": _DRAW.standard_normal((rows, 2, 2), dtype=np.float32)}, together=False
    ),
    "fixed_batch": Kind(
        fixed_batch,
        lambda _: {"x": _DRAW.standard_normal((4, 3), dtype=np.float32)},
        together=False,
        row_axis=False,
    ),
    "no_batch": Kind(no_batch, lambda _: {"x": _DRAW.standard_normal(3)}, together=False, row_axis=False),
    "scalars": Kind(scalars, _scalars, together=False, row_axis=False),
    "state": Kind(state, _state, together=False, row_axis=False),
    "shapeless": Kind(
        shapeless,
        lambda rows: {"x": _DRAW.standard_normal((rows, 5), dtype=np.float32)},
        together=False,
        row_axis=False,
    ),
}
"""Each kind that is served."""
