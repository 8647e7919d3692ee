"""Building blocks of the models that tests make: ONNX graphs in short, and the folder around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IR_VERSION = 10
OPSETS = {"": 21, "ai.onnx.ml": 3}

Node = tuple[str, list[str], list[str], dict[str, Any]]  # operator, inputs, outputs, attributes

SOFTMAX: Node = ("Softmax", ["rows"], ["p"], {"axis": 1})
FIRST: list[Node] = [("Slice", ["rows", "from", "to", "columns"], ["s"], {})]
WHERE = {"from": np.array([0]), "to": np.array([1]), "columns": np.array([1])}


def identity(*, shape: tuple[int | str, ...] = ("N", 2), classes: int | str = 2) -> onnx.ModelProto:
    """Return a classifier whose logits are the two features."""
    return graph([SOFTMAX], {}, {"p": tensor([shape[0], classes])}, shape)


def detector(nodes: list[Node] = FIRST, *, element: int = TensorProto.FLOAT, width: int | str = 1) -> onnx.ModelProto:
    """Return a detector whose score is the first feature."""
    return graph(nodes, WHERE, {"s": tensor(["N", width], element)}, ["N", 2])


def tensor(shape: Sequence[int | str], element: int = TensorProto.FLOAT) -> onnx.TypeProto:
    """Return the type of a tensor."""
    return helper.make_tensor_type_proto(element, shape)


def graph(
    nodes: list[Node],
    constants: dict[str, np.ndarray],
    outputs: dict[str, onnx.TypeProto],
    shape: Sequence[int | str],
    *,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a model of one input, `rows`; constants of floats become float32, of integers int64."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, inputs, results, **more) for kind, inputs, results, more in nodes],
            "test",
            [helper.make_tensor_value_info("rows", element, shape)],
            [helper.make_value_info(name, kind) for name, kind in outputs.items()],
            [
                numpy_helper.from_array(value.astype(np.float32 if value.dtype.kind == "f" else np.int64), name)
                for name, value in constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid(domain, number) for domain, number in OPSETS.items()],
        ir_version=IR_VERSION,
    )


def write(
    folder: Path,
    model: onnx.ModelProto,
    *,
    name: str = "test",
    features: Sequence[str] = ("a", "b"),
    labels: Sequence[str] = ("no", "yes"),
    probabilities: str = "p",
    label: str = "",
    detector: onnx.ModelProto | None = None,
) -> Path:
    """Write the folder of a model (with a detector whose output is `s` and threshold 0.5) and return it.

    `label` is what `model.toml` says of the output with the file's own label, as TOML.
    """
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "classifier.onnx")
    text = [
        f'name = "{name}"\nversion = "1"\nkind = "classifier"\nlabels = [{", ".join(map(_quoted, labels))}]',
        f'[classifier]\nfile = "classifier.onnx"\nprobabilities = "{probabilities}"'
        + (f"\nlabel = {label}" if label else ""),
        *(f'[[features]]\nname = "{feature}"\nunit = "1"\nsample = {at}.5' for at, feature in enumerate(features)),
    ]
    if detector:
        onnx.save(detector, folder / "outlier.onnx")
        text.append('[outlier]\nfile = "outlier.onnx"\nscore = "s"\nthreshold = 0.5')
    (folder / "model.toml").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    return folder


def _quoted(text: str) -> str:
    return f'"{text}"'
