"""Model folders for tests, made with onnx alone: other shapes than iris; models that fail, give NaN or take long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from graphs import graph, tensor, write
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

    from graphs import Node

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
