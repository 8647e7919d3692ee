"""Models of images for the benchmarks: plain convolutions of about 5 and 20 ms an image on one core, made with onnx.

`write(folder)` adds `<name>/1/model.onnx` for each; the weights are drawn from a fixed seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INPUT, OUTPUT = "image", "scores"
SIZE = 224
"""Pixels a side, as the classifiers of ImageNet have it: 588 KiB as float32."""
_BLOCKS = {"image-5ms": 5, "image-20ms": 20}
_CHANNELS = 64
_CLASSES = 1000
_IR_VERSION, _OPSET = 8, 17


def write(folder: Path) -> None:
    """Write the models below a folder, as a model repository has them."""
    for name in _BLOCKS:
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(content(name))


def content(name: str) -> bytes:
    """Return a model's file."""
    whole: bytes = _model(name, _BLOCKS[name]).SerializeToString()
    return whole


def images(count: int) -> NDArray[np.float32]:
    """Return different images (N, 3, SIZE, SIZE) of brightnesses from 0 to 1, as 256 steps have them."""
    steps = np.random.default_rng(1).integers(0, 256, (count, 3, SIZE, SIZE))
    return (steps / 255).astype(np.float32)


def _model(name: str, blocks: int) -> onnx.ModelProto:
    network = _Network()
    last = network.convolution(INPUT, 3, kernel=7, stride=4)
    for _ in range(blocks):
        last = network.convolution(last, _CHANNELS, kernel=3, stride=1)
    network.nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", network.weight((_CHANNELS, _CLASSES), 0.1), "bias"], [OUTPUT]),
    ]
    network.weights.append(numpy_helper.from_array(np.zeros(_CLASSES, np.float32), "bias"))
    graph = helper.make_graph(
        network.nodes,
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", _CLASSES])],
        network.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


class _Network:
    """Nodes and weights of a graph that grows."""

    def __init__(self) -> None:
        self._draw = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, shape: tuple[int, ...], deviation: float) -> str:
        """Add a tensor of normally distributed numbers; return its name."""
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(self._draw.normal(0, deviation, shape).astype(np.float32), name))
        return name

    def convolution(self, source: str, channels: int, *, kernel: int, stride: int) -> str:
        """Add a convolution that keeps the size but for its stride, and what cuts off below zero; return its output."""
        deviation = (2 / (channels * kernel * kernel)) ** 0.5  # keeps the numbers of one size through all blocks
        weight = self.weight((_CHANNELS, channels, kernel, kernel), deviation)
        summed, output = f"sum{len(self.nodes)}", f"block{len(self.nodes)}"
        self.nodes += [
            helper.make_node("Conv", [source, weight], [summed], strides=[stride] * 2, pads=[kernel // 2] * 4),
            helper.make_node("Relu", [summed], [output]),
        ]
        return output
