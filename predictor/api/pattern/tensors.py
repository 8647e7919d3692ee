"""The calls that predict of a model that takes tensors: small ones as nested arrays of JSON."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from predictor.api.json_body import encode, undecodable
from predictor.api.pattern.rows import OVERFLOW, value_type
from predictor.api.tensor_requests import TensorRequests
from predictor.api.v2.tensor_data import from_nested
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from predictor.api.dataplane import InferRequest
    from predictor.api.slices import Slices
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec
    from predictor.serving.job import Job

_LARGE = 64 << 10
"""Bytes of an input that is decoded in slices."""
_WORDS = {"BOOL": np.bool_, "BYTES": np.object_}


class Answered(msgspec.Struct):
    """The answer: the outputs by their names, as nested arrays."""

    job_id: str
    outputs: dict[str, Any]


class _Inputs(msgspec.Struct):
    inputs: dict[str, msgspec.Raw]


_parts = msgspec.json.Decoder(_Inputs).decode


class TensorDecoder:
    """Decodes `{"inputs": {"name": nested arrays}}` for one model."""

    def __init__(self, model: Model, most: int) -> None:
        """Take the model, and how many rows a request may have."""
        self._requests = TensorRequests(model, most)
        self._specs = tuple(model.signature.inputs)
        self._wanted = f'{{"inputs": {{…}}}} with {self._requests.wanted()}'
        self._decode = _decoder(self._specs, model.shapeless)
        self._sliced = {
            spec.name
            for spec in self._specs
            if spec.shape and spec.datatype != "BYTES" and spec.name not in model.shapeless
        }

    def request(self, body: bytes) -> InferRequest:
        """Return what a body asks for; raises Problem."""
        return self._requests.request(self.arrays(body))

    def arrays(self, body: bytes) -> dict[str, NDArray[Any]]:
        """Return the inputs of a body by their names; raises Problem."""
        try:
            values = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(body, error, self._wanted) from None
        pairs = zip(self._specs, values, strict=True)
        return {spec.name: _array(spec, value) for spec, value in pairs}

    def in_slices(self, body: bytes) -> Slices[InferRequest]:
        """Return the same, slice by slice; raises Problem."""
        try:
            texts = {name: bytes(raw) for name, raw in _parts(body).inputs.items()}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(body, error, self._wanted) from None
        yield
        large: dict[str, NDArray[Any]] = {}
        for spec in self._specs:
            if spec.name in self._sliced and len(texts.get(spec.name, b"")) > _LARGE:
                large[spec.name] = yield from _large(spec, texts[spec.name])
                texts[spec.name] = _nothing(spec)
        # The others, and what is wrong with the names, at once.
        small = self.arrays(b'{"inputs":{%b}}' % b",".join([_field(*each) for each in texts.items()]))
        return self._requests.request(small | large)


def payload(job: Job) -> Answered:
    """Return the outputs of a job; a number that is not finite is null."""
    return Answered(job.job_id, {name: part.tolist() for name, part in (job.outputs or {}).items()})


def _decoder(specs: Iterable[TensorSpec], shapeless: frozenset[str]) -> Callable[[bytes], tuple[Any, ...]]:
    """Return what decodes a body to the values of the inputs, nested as deep as their shapes are long."""
    specs = tuple(specs)
    # Types that are made of a model are nothing that a type checker could follow.
    arrays: Any = list
    fields: list[Any] = []
    for at, spec in enumerate(specs):
        element: Any = value_type(spec.datatype)
        kind: Any = Any if spec.name in shapeless else reduce(lambda inner, _: arrays[inner], spec.shape, element)
        fields.append((f"i{at}", kind))
    renamed = {f"i{at}": spec.name for at, spec in enumerate(specs)}
    inputs: Any = msgspec.defstruct("Inputs", fields, rename=renamed, forbid_unknown_fields=True)
    body = msgspec.defstruct("Body", [("inputs", inputs)])
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
    astuple = msgspec.structs.astuple
    return lambda text: astuple(decode(text).inputs)


def _field(name: str, value: bytes) -> bytes:
    return b"%b:%b" % (encode(name), value)


def _nothing(spec: TensorSpec) -> bytes:
    """Return lists without a value, nested as deep as a shape is long."""
    return b"[" * len(spec.shape) + b"]" * len(spec.shape)


def _large(spec: TensorSpec, text: bytes) -> Slices[NDArray[Any]]:
    """Return the array of nested lists, slice by slice; raises Problem."""
    try:
        found = yield from from_nested(text, spec.datatype, len(spec.shape))
    except (ValueError, msgspec.ValidationError) as error:
        what = "has values of another type" if isinstance(error, msgspec.MsgspecError) else str(error)
        detail = f"the input {spec.name!r} {what}; wanted {spec.datatype} of the shape {[*spec.shape]}"
        raise Problem(Kind.INVALID_DATA, detail) from None
    if found.dtype.kind == "f" and np.isnan(found).any():
        detail = f"the input {spec.name!r} has null; wanted {spec.datatype} of the shape {[*spec.shape]}"
        raise Problem(Kind.INVALID_DATA, detail)
    return found


def _array(spec: TensorSpec, value: Any) -> NDArray[Any]:  # noqa: ANN401 - nested lists
    """Return nested lists as an array of the input's datatype; raises Problem."""
    bound = OVERFLOW.get(spec.datatype)
    try:
        found = np.array(
            value, np.float64 if spec.datatype.startswith("FP") else _WORDS.get(spec.datatype, spec.datatype.lower())
        )
        if spec.datatype == "BYTES" and not all(isinstance(each, str) for each in found.reshape(-1)):
            raise ValueError(spec.name)  # noqa: TRY301 - as numpy does where the element is no list
    except (ValueError, TypeError, OverflowError):
        detail = f"the input {spec.name!r} has arrays of different lengths, or values of another type"
        raise Problem(Kind.INVALID_DATA, f"{detail}; wanted {spec.datatype} of the shape {[*spec.shape]}") from None
    if bound is not None and (beyond := np.abs(found) >= bound).any():
        largest = found[beyond][0]
        kind = spec.datatype.replace("FP", "float")
        raise Problem(Kind.INVALID_DATA, f"the input {spec.name!r} holds {largest:g}, which is not finite as {kind}")
    return found.astype(np.dtype(spec.datatype.lower().replace("fp", "float"))) if bound is not None else found
