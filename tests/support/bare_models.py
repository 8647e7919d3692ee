"""Bare ONNX files of the kinds that people deploy, made with onnx alone: what a converter or an exporter writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.onnx_graphs import IR_VERSION, OPSETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.onnx_graphs import Node

FLOAT, DOUBLE, HALF = int(TensorProto.FLOAT), int(TensorProto.DOUBLE), int(TensorProto.FLOAT16)
INT64, BOOL, STRING = int(TensorProto.INT64), int(TensorProto.BOOL), int(TensorProto.STRING)
Inputs = Mapping[str, tuple[int, Sequence[int | str]]]
ROWS: Inputs = {"x": (FLOAT, ["N", 3])}


def save(
    path: Path,
    nodes: list[Node],
    inputs: Inputs,
    outputs: Mapping[str, Any],
    constants: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a model and return its path; an output is (type, shape) or a type of its own, constants keep their type."""
    types = {
        name: each if isinstance(each, onnx.TypeProto) else helper.make_tensor_type_proto(*each)
        for name, each in outputs.items()
    }
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, takes, gives, **more) for kind, takes, gives, more in nodes],
            "test",
            [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
            [helper.make_value_info(name, each) for name, each in types.items()],
            [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
        ),
        opset_imports=[helper.make_opsetid(domain, number) for domain, number in OPSETS.items()],
        ir_version=IR_VERSION,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def price(path: Path) -> Path:
    """Write a regressor: one number of three features, twice the first plus the third."""
    weights = np.array([[2.0], [0.0], [1.0]], np.float32)
    return save(path, [("MatMul", ["x", "w"], ["variable"], {})], ROWS, {"variable": (FLOAT, ["N", 1])}, {"w": weights})


def quantiles(path: Path) -> Path:
    """Write a regressor of three outputs with names, (N, 1), (N,) and (N, 1)."""
    return save(
        path,
        [
            ("ReduceMin", ["x", "axis"], ["p10"], {"keepdims": 1}),
            ("ReduceMean", ["x", "axis"], ["p50"], {"keepdims": 0}),
            ("ReduceMax", ["x", "axis"], ["p90"], {"keepdims": 1}),
        ],
        ROWS,
        {"p10": (FLOAT, ["N", 1]), "p50": (FLOAT, ["N"]), "p90": (FLOAT, ["N", 1])},
        {"axis": np.array([1])},
    )


def churn(path: Path) -> Path:
    """Write a classifier of an input for each column: two texts, an integer and a float, (N, 1) and (N,)."""
    nodes: list[Node] = [
        ("OneHotEncoder", ["city"], ["c"], {"cats_strings": ["Bern", "Oslo"], "zeros": 1, "domain": "ai.onnx.ml"}),
        ("Flatten", ["c"], ["cities"], {"axis": 1}),
        ("Unsqueeze", ["plan", "one"], ["p2"], {}),
        ("OneHotEncoder", ["p2"], ["p3"], {"cats_strings": ["a", "b"], "zeros": 1, "domain": "ai.onnx.ml"}),
        ("Flatten", ["p3"], ["plans"], {"axis": 1}),
        ("Cast", ["age"], ["years"], {"to": FLOAT}),
        ("Concat", ["cities", "plans", "years", "net income (€)"], ["all"], {"axis": 1}),
        (
            "LinearClassifier",
            ["all"],
            ["label", "probabilities"],
            {
                "domain": "ai.onnx.ml",
                "classlabels_strings": ["leaves", "stays"],
                "coefficients": [1.0, -1.0, 0.5, -0.5, 0.01, -0.1, -1.0, 1.0, -0.5, 0.5, -0.01, 0.1],
                "intercepts": [0.0, 0.1],
                "post_transform": "SOFTMAX",
            },
        ),
    ]
    inputs: dict[str, Any] = {
        "city": (STRING, ["N", 1]),
        "plan": (STRING, ["N"]),
        "age": (INT64, ["N", 1]),
        "net income (€)": (FLOAT, ["N", 1]),
    }
    outputs = {"label": (STRING, ["N"]), "probabilities": (FLOAT, ["N", 2])}
    return save(path, nodes, inputs, outputs, {"one": np.array([1])})


def missing(path: Path) -> Path:
    """Write a classifier with an imputer before it: a missing value counts as 7."""
    nodes: list[Node] = [
        (
            "Imputer",
            ["x"],
            ["whole"],
            {"imputed_value_floats": [7.0], "replaced_value_float": float("nan"), "domain": "ai.onnx.ml"},
        ),
        ("Softmax", ["whole"], ["p"], {"axis": 1}),
    ]
    return save(path, nodes, ROWS, {"p": (FLOAT, ["N", 3])})


def matrix(path: Path, element: int) -> Path:
    """Write a classifier of one matrix of any type of number: the softmax of its columns."""
    nodes: list[Node] = [("Cast", ["x"], ["f"], {"to": FLOAT}), ("Softmax", ["f"], ["p"], {"axis": 1})]
    return save(path, nodes, {"x": (element, ["N", 3])}, {"p": (FLOAT, ["N", 3])})


def logits(path: Path, *, classes: int = 3) -> Path:
    """Write what torch exports: logits, and with one class a single one."""
    weights = np.eye(3, classes, dtype=np.float32)
    return save(
        path, [("MatMul", ["x", "w"], ["logits"], {})], ROWS, {"logits": (FLOAT, ["N", classes])}, {"w": weights}
    )


def sigmoid(path: Path, *, labels: int = 1) -> Path:
    """Write what keras exports of a binary or a multi-label model: a sigmoid for each label."""
    weights = np.eye(3, labels, dtype=np.float32)
    nodes: list[Node] = [("MatMul", ["x", "w"], ["l"], {}), ("Sigmoid", ["l"], ["p"], {})]
    return save(path, nodes, ROWS, {"p": (FLOAT, ["N", labels])}, {"w": weights})


def clusters(path: Path) -> Path:
    """Write what skl2onnx makes of KMeans: the nearest centre and the distances to all."""
    nodes: list[Node] = [("Abs", ["x"], ["scores"], {}), ("ArgMin", ["scores"], ["label"], {"axis": 1, "keepdims": 0})]
    return save(path, nodes, ROWS, {"label": (INT64, ["N"]), "scores": (FLOAT, ["N", 3])})


def isolation_forest(path: Path) -> Path:
    """Write what skl2onnx makes of an IsolationForest: 1 or -1, and a score, each of shape (N, 1)."""
    nodes: list[Node] = [
        ("ReduceSum", ["x", "axis"], ["scores"], {"keepdims": 1}),
        ("Sign", ["scores"], ["sign"], {}),
        ("Cast", ["sign"], ["label"], {"to": INT64}),
    ]
    outputs = {"label": (INT64, ["N", 1]), "scores": (FLOAT, ["N", 1])}
    return save(path, nodes, ROWS, outputs, {"axis": np.array([1])})


def label_only(path: Path) -> Path:
    """Write a classifier that gives its label and nothing else."""
    return save(path, [("ArgMax", ["x"], ["label"], {"axis": 1, "keepdims": 0})], ROWS, {"label": (INT64, ["N"])})


def zipmap(path: Path, classes: Sequence[int | str]) -> Path:
    """Write a classifier whose probabilities are maps with these keys, and its label."""
    kind = STRING if isinstance(classes[0], str) else INT64
    names = "classlabels_strings" if kind == STRING else "classlabels_int64s"
    nodes: list[Node] = [
        ("Softmax", ["x"], ["p"], {"axis": 1}),
        ("ArgMax", ["p"], ["at"], {"axis": 1, "keepdims": 0}),
        ("ZipMap", ["p"], ["output_probability"], {"domain": "ai.onnx.ml", names: list(classes)}),
        ("Gather", ["classes", "at"], ["output_label"], {}),
    ]
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, helper.make_tensor_type_proto(FLOAT, [])))
    constants = {"classes": np.array(classes, object if kind == STRING else np.int64)}
    return save(path, nodes, ROWS, {"output_label": (kind, ["N"]), "output_probability": maps}, constants)


def columns(path: Path) -> Path:
    """Write what skl2onnx writes for `zipmap="columns"`: a label, and an output for each class."""
    nodes: list[Node] = [
        ("Softmax", ["x"], ["p"], {"axis": 1}),
        ("ArgMax", ["p"], ["label"], {"axis": 1, "keepdims": 0}),
        ("Split", ["p"], ["no", "maybe", "yes"], {"axis": 1, "num_outputs": 3}),
    ]
    outputs: dict[str, Any] = {name: (FLOAT, ["N", 1]) for name in ("no", "maybe", "yes")}
    return save(path, nodes, ROWS, {"label": (INT64, ["N"]), **outputs})
