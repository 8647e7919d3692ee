"""The tensors of an example: a request that the model is known to take."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.api.openapi.values import FREE
from predictor.api.tensor_requests import TensorRequests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.model import Model

EXAMPLE_VALUES = 1024
"""Values that an example has at most: nobody reads more."""


class ExampleTensor(NamedTuple):
    """One input."""

    name: str
    datatype: str
    shape: Sequence[int]
    flat: Sequence[Any]
    nested: Any
    """The same as nested lists; of a model of rows as flat."""


def tensors_of(model: Model) -> list[ExampleTensor] | None:
    """Return the inputs of an example; None if no request is known, or it is too large to be read."""
    inputs = TensorRequests(model, 1).inputs
    if model.tensors is None:
        samples = [each.sample for each in model.description.features]
        found, at = [], 0
        for spec in inputs.values():
            shape = [1, *(1 if size == FREE else size for size in spec.shape[1:])]
            values = samples[at : at + prod(shape)]
            at += prod(shape)
            found.append(ExampleTensor(spec.name, spec.datatype, shape, values, values))
        if key := model.description.key:
            found.append(ExampleTensor(key.name, key.column.datatype, [1], [key.sample], [key.sample]))
    elif model.tensors.sample is None:
        return None
    else:
        found = [
            ExampleTensor(name, inputs[name].datatype, [*part.shape], part.reshape(-1).tolist(), part.tolist())
            for name, part in model.tensors.sample.items()
            if part.size <= EXAMPLE_VALUES
        ]
    small = sum(len(each.flat) for each in found) <= EXAMPLE_VALUES and len(found) >= len(inputs)
    return found if small else None
