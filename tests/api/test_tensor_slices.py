"""Large tensors by JSON are decoded in slices: the same arrays and the same refusals as at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor.api.pattern import tensors
from predictor.api.slices import at_once
from predictor.api.v2 import tensor_data
from predictor.core.problems import Problem
from predictor.inference.model import load
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def small_slices() -> Iterator[None]:
    """Cut small bodies as large ones are cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_LARGE", 20)
        patch.setattr(tensor_data, "_SLICE", 20)
        yield


def outcome(decode: Any, body: bytes) -> Any:  # noqa: ANN401 - arrays, or what is wrong with them
    """Return the arrays, or the problem's kind."""
    try:
        return decode(body).tensors
    except Problem as problem:
        return problem.kind


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_same_arrays(tmp_path: Path, name: str) -> None:
    """The slices give the arrays of the whole, and refuse what the whole is refused for."""
    kind = KINDS[name]
    decoder = tensors.TensorDecoder(load(kind.make(tmp_path / f"{name}.onnx")), 8)
    inputs: dict[str, Any] = {key: each.tolist() for key, each in kind.request(3).items()}
    good = json.dumps({"inputs": inputs}).encode()
    bodies = [
        good,
        b'{"inputs":{}}',
        b'{"inputs":{"x":1}}',
        good[:-3],
        good.replace(b"[", b"[[", 1).replace(b"]", b"]]", 1),
    ]
    bodies += [good.replace(b"]", b",null]", 1), good.replace(b"]", b',"a"]', 1), good.replace(b"]", b",1e999]", 1)]
    for body in bodies:
        whole = outcome(decoder.request, body)
        sliced = outcome(lambda body: at_once(decoder.in_slices(body)), body)
        if not isinstance(whole, dict):
            assert sliced is whole, body
            continue
        assert list(sliced) == list(whole)
        for key, array in whole.items():
            assert sliced[key].dtype == array.dtype
            assert np.array_equal(sliced[key], array)


def test_others_have_their_turn(tmp_path: Path) -> None:
    """An array of many numbers takes many turns."""
    kind = KINDS["image"]
    decoder = tensors.TensorDecoder(load(kind.make(tmp_path / "image.onnx")), 8)
    body = json.dumps({"inputs": {key: each.tolist() for key, each in kind.request(3).items()}}).encode()
    assert sum(1 for _ in decoder.in_slices(body)) > len(body) // 40
