"""Model folders for tests, made with onnx alone: other shapes than iris; models that fail, give NaN or take long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from tests.support.onnx_graphs import WHERE, graph, tensor, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.onnx_graphs import Node

FAILS_ABOVE = 1000.0
NAN_BELOW = -1000.0


def wide(folder: Path, width: int = 40) -> Path:
    """Write a classifier of `width` features (`f00`, `f01`, …) and 2 labels: a probability tensor, no detector."""
    weights = np.random.default_rng(0).normal(size=(width, 2)) / width
    model = graph(
        [("MatMul", ["rows", "weights"], ["logits"], {}), ("Softmax", ["logits"], ["p"], {"axis": 1})],
        {"weights": weights},
        {"p": tensor(["N", 2])},
        ["N", width],
    )
    return write(folder, model, name="wide", features=[f"f{index:02}" for index in range(width)], labels=["no", "yes"])


def zipmap(folder: Path, *, strings: bool = False, rows: int | str = 1) -> Path:
    """Write what skl2onnx writes by default: a label and a sequence of maps, the batch dimension fixed at 1.

    The maps' keys are int64, or with `strings` the labels in another order than the description has them.
    """
    labels = ["high", "low", "middle"]
    keys: dict[str, Any]
    key_type, keys = TensorProto.INT64, {"classlabels_int64s": [0, 1, 2]}
    if strings:
        key_type, keys = TensorProto.STRING, {"classlabels_strings": ["low", "high", "middle"]}
    model = graph(
        [
            ("MatMul", ["rows", "weights"], ["logits"], {}),
            ("Softmax", ["logits"], ["p"], {"axis": 1}),
            ("ArgMax", ["p"], ["output_label"], {"axis": 1, "keepdims": 0}),
            ("ZipMap", ["p"], ["output_probability"], {"domain": "ai.onnx.ml", **keys}),
        ],
        {"weights": np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])},
        {
            "output_label": helper.make_tensor_type_proto(TensorProto.INT64, [rows]),
            "output_probability": helper.make_sequence_type_proto(helper.make_map_type_proto(key_type, tensor([]))),
        },
        [rows, 2],
    )
    return write(
        folder, model, name="zipmap", features=["weight", "age"], labels=labels, probabilities="output_probability"
    )


def quantized(folder: Path) -> Path:
    """Write a classifier of 2 features whose scale is taken over the batch, as dynamic quantization does.

    Its detector scores the first feature the same way.
    """
    shrink: list[Node] = [
        ("DynamicQuantizeLinear", ["rows"], ["small", "scale", "zero"], {}),
        ("DequantizeLinear", ["small", "scale", "zero"], ["logits"], {}),
    ]
    model = graph([*shrink, ("Softmax", ["logits"], ["p"], {"axis": 1})], {}, {"p": tensor(["N", 2])}, ["N", 2])
    first: Node = ("Slice", ["logits", "from", "to", "columns"], ["s"], {})
    scored = graph([*shrink, first], WHERE, {"s": tensor(["N", 1])}, ["N", 2])
    return write(folder, model, name="quantized", detector=scored)


def labelled(
    folder: Path,
    nodes: list[Node],
    constants: dict[str, np.ndarray] | None = None,
    *,
    element: int = TensorProto.INT64,
    output: str = "label",
    **more: Any,  # noqa: ANN401 - as `write` takes it
) -> Path:
    """Write a classifier whose logits are the 2 features, with an output `label` that `nodes` make of `p`."""
    model = graph(
        [("Softmax", ["rows"], ["p"], {"axis": 1}), *nodes],
        constants or {},
        {output: tensor(["N"], element), "p": tensor(["N", 2])},
        ["N", 2],
    )
    return write(folder, model, **more)


ARG_MAX: list[Node] = [("ArgMax", ["p"], ["label"], {"axis": 1, "keepdims": 0})]


def with_threshold(folder: Path, limit: float = 0.2, **more: Any) -> Path:  # noqa: ANN401 - as `write` takes it
    """Write a classifier that says 1 as soon as the second probability is above `limit`."""
    nodes: list[Node] = [
        ("Slice", ["p", "from", "to", "columns"], ["second"], {}),
        ("Greater", ["second", "limit"], ["above"], {}),
        ("Cast", ["above"], ["number"], {"to": TensorProto.INT64}),
        ("Squeeze", ["number", "columns"], ["label"], {}),
    ]
    where = {"from": np.array([1]), "to": np.array([2]), "columns": np.array([1]), "limit": np.array([limit])}
    return labelled(folder, nodes, where, **more)


def named_classes(folder: Path, classes: list[str], *, label: bool = False, **more: Any) -> Path:  # noqa: ANN401
    """Write what skl2onnx makes of a logistic regression: an operator that names its classes."""
    attributes: dict[str, Any] = {
        "domain": "ai.onnx.ml",
        "classlabels_strings": classes,
        "coefficients": [1.0, 0.0, 0.0, 1.0],
        "intercepts": [0.0, 0.0],
        "post_transform": "SOFTMAX",
    }
    outputs = {"label": tensor(["N"], TensorProto.STRING)} if label else {}
    model = graph(
        [("LinearClassifier", ["rows"], ["label", "p"], attributes)], {}, {**outputs, "p": tensor(["N", 2])}, ["N", 2]
    )
    return write(folder, model, **more)


def failing(folder: Path) -> Path:
    """Write a classifier of 2 features whose run raises if the first one of any row is above `FAILS_ABOVE`."""
    return _with_fault(
        folder,
        "failing",
        [
            ("Greater", ["first", "limit"], ["hit"], {}),
            ("Cast", ["hit"], ["index"], {"to": TensorProto.INT64}),  # 0 or 1
            ("Gather", ["zero", "index"], ["fault"], {}),  # of a table with one entry: 1 is out of range
        ],
        {"limit": np.array([FAILS_ABOVE]), "zero": np.array([0.0])},
    )


def giving_nan(folder: Path) -> Path:
    """Write a classifier of 2 features that gives NaN for a row, and only that, if its first is below `NAN_BELOW`."""
    return _with_fault(
        folder,
        "nan",
        [
            ("Less", ["first", "limit"], ["hit"], {}),
            ("Where", ["hit", "nan", "zero"], ["fault"], {}),
        ],
        {"limit": np.array([NAN_BELOW]), "nan": np.array([np.nan]), "zero": np.array([0.0])},
    )


def slow(folder: Path, rounds: int = 100) -> Path:
    """Write a classifier of 2 features that multiplies large matrices `rounds` times in a loop: about 0.3 ms each."""
    size = 256
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "work"], ["after"]),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [size, size]),
        ],
    )
    # The loop starts from the input (times 0), or the runtime would work it out once when it loads the file.
    return _with_fault(
        folder,
        "slow",
        [
            ("ReduceMax", ["first"], ["largest"], {"keepdims": 0}),
            ("Mul", ["largest", "zero"], ["nothing"], {}),
            ("Add", ["work", "nothing"], ["start"], {}),
            ("Loop", ["rounds", "", "start"], ["end"], {"body": body}),
            ("ReduceMax", ["end"], ["peak"], {"keepdims": 0}),
            ("Mul", ["peak", "zero"], ["fault"], {}),
        ],
        {"zero": np.array(0.0), "work": np.eye(size), "rounds": np.array(rounds)},
    )


def _with_fault(folder: Path, name: str, nodes: list[Node], constants: dict[str, np.ndarray]) -> Path:
    """Write a classifier that adds to its logits a `fault`, which `nodes` make of the column `first`."""
    model = graph(
        [
            ("Slice", ["rows", "from", "to", "columns"], ["first"], {}),
            *nodes,
            ("Add", ["rows", "fault"], ["logits"], {}),
            ("Softmax", ["logits"], ["p"], {"axis": 1}),
        ],
        {"from": np.array([0]), "to": np.array([1]), "columns": np.array([1]), **constants},
        {"p": tensor(["N", 2])},
        ["N", 2],
    )
    return write(folder, model, name=name, features=["first", "second"], labels=["no", "yes"])
