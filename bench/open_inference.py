"""The Open Inference Protocol V2, JSON and binary: a tensor of rows of iris, or an image."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnxruntime as ort

from bench import dialects, image_models
from bench.dialects import Body
from bench.setting import IRIS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.dialects import Numbers
    from bench.setting import Setting

_FEATURES = "features"
_IMAGES = 4
"""Different images: more would only fill memory."""


class OpenInference:
    """`POST /v2/models/{model}/infer`."""

    def path(self, setting: Setting) -> str:
        """Return where it is asked."""
        return f"/v2/models/{setting.model}/infer"

    def bodies(self, setting: Setting) -> tuple[Body, ...]:
        """Return different requests of one tensor each."""
        name = _FEATURES if setting.model == IRIS else image_models.INPUT
        return tuple(_body(name, tensor, binary=setting.form != "json") for tensor in _tensors(setting))

    def numbers(self, answer: bytes) -> Numbers:
        """Return all outputs."""
        message, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
        found = {}
        for output in message["outputs"]:
            size = (output.get("parameters") or {}).get("binary_data_size")
            if size is None:
                found[output["name"]] = output["data"]
            else:
                found[output["name"]] = np.frombuffer(answer[end : end + size], "<f4").tolist()
                end += size
        return found

    def expected(self, setting: Setting) -> Numbers:
        """Return the model's own numbers for the first request."""
        if setting.model == IRIS:
            return dialects.expected_of_iris(setting.rows)
        session = ort.InferenceSession(image_models.content(setting.model), providers=["CPUExecutionProvider"])
        (scores,) = session.run([image_models.OUTPUT], {image_models.INPUT: _tensors(setting)[0]})
        return {image_models.OUTPUT: scores.reshape(-1).tolist()}


def _body(name: str, tensor: NDArray[np.float32], *, binary: bool) -> Body:
    about: dict[str, Any] = {"name": name, "shape": [*tensor.shape], "datatype": "FP32"}
    if not binary:
        # As clients write float32: the shortest digits that mean it.
        numbers = [float(str(number)) for number in tensor.reshape(-1)]
        return Body(msgspec.json.encode({"inputs": [about | {"data": numbers}]}))
    data = tensor.astype("<f4").tobytes()
    inputs = [about | {"parameters": {"binary_data_size": len(data)}}]
    return Body(msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": True}}), data)


@cache
def _images() -> NDArray[np.float32]:
    return image_models.images(_IMAGES)


def _tensors(setting: Setting) -> list[NDArray[np.float32]]:
    if setting.model == IRIS:
        turns = range(len(dialects.ROWS))
        return [np.array(dialects.rows_of(turn, setting.rows), np.float32) for turn in turns]
    images = _images()
    return [np.roll(images, -turn, axis=0)[: setting.rows] for turn in range(_IMAGES)]
