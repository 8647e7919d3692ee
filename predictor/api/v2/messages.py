"""The messages of the protocol as they are read: requests to infer, and what their parameters may not ask for."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from predictor.api.json_body import undecodable
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_WANTED = '{"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}'
MOST_AXES = 32
MOST_ID = 256
"""Characters of an id: it is in every record of the request."""
_TEXT_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*"|\bNaN\b')
REFUSED = {
    "sequence_id": "sequences of requests are not kept here: pass the state as an input",
    "sequence_start": "sequences of requests are not kept here: pass the state as an input",
    "sequence_end": "sequences of requests are not kept here: pass the state as an input",
    "classification": "the classification extension is not served: the outputs have all numbers",
    "shared_memory_region": "shared memory is not served: send and take the data in the body",
}
"""What would change the meaning of an answer, and is not done. Other parameters are hints, and change none."""

_NOTHING = msgspec.Raw()
_Axis = Annotated[int, msgspec.Meta(ge=0)]
_Shape = Annotated[list[_Axis], msgspec.Meta(max_length=MOST_AXES)]
_Parameters = dict[str, Any] | None
_Id = Annotated[str, msgspec.Meta(max_length=MOST_ID)] | None


class InputTensor(msgspec.Struct):
    """One input: its data in JSON, or `binary_data_size` among its parameters."""

    name: str
    datatype: str
    shape: _Shape
    parameters: _Parameters = None
    data: msgspec.Raw = _NOTHING
    """Empty if it is not there."""


class RequestedOutput(msgspec.Struct):
    """An output that is wanted."""

    name: str
    parameters: _Parameters = None


class InferMessage(msgspec.Struct):
    """A request to infer; fields that are not known here are none of ours."""

    inputs: list[InputTensor]
    id: _Id = None
    parameters: _Parameters = None
    outputs: list[RequestedOutput] | None = None


class _Named(msgspec.Struct):
    """The same, of which nothing else needs to be right."""

    id: _Id = None


_decode = msgspec.json.Decoder(InferMessage).decode
_decode_id = msgspec.json.Decoder(_Named).decode
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(text: bytes | memoryview) -> InferMessage:
    """Return a request; raises Problem, with the id if there is one, for what is none or asks for what is not served.

    JSON has no NaN, but clients write it for missing values, so it is taken as null is.
    """
    try:
        message = _read(text)
    except _UNDECODABLE as error:
        problem = undecodable(bytes(text), error, _WANTED)
        with suppress(*_UNDECODABLE):
            problem.infer_id = _decode_id(text).id
        raise problem from None
    try:
        for part in (message, *message.inputs, *(message.outputs or ())):
            refuse_unserved(part.parameters)
    except Problem as problem:
        problem.infer_id = message.id
        raise
    return message


def refuse_unserved(parameters: Mapping[str, Any] | None) -> None:
    """Refuse parameters that would change what an answer means; raises Problem."""
    for name in parameters or ():
        if reason := REFUSED.get(name):
            raise Problem(Kind.INVALID_DATA, f"the parameter {name!r} was given, but {reason}")


def given_twice(name: str, tensor: str = "input") -> Problem:
    """Return the problem of an input, or an output, that is there more than once."""
    return Problem(Kind.INVALID_DATA, f"the {tensor} {name!r} is there twice")


def unfit_data(name: str, datatype: str, shape: Sequence[int], said: str) -> Problem:
    """Return the problem of an input whose data is not what its datatype and shape say; `said` is the difference."""
    wanted = f"wanted {math.prod(shape)} values of {datatype} for the shape [{', '.join(map(str, shape))}]"
    return Problem(Kind.INVALID_DATA, f"the input {name!r} {said}; {wanted}")


def unknown_output(name: str, known: Iterable[str]) -> Problem:
    """Return the problem of an output that is wanted and not there."""
    return Problem(Kind.INVALID_DATA, f"there is no output {name!r}; wanted one of {', '.join(map(repr, known))}")


def _read(text: bytes | memoryview) -> InferMessage:
    try:
        return _decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"NaN" not in bytes(text):
            raise
    return _decode(_TEXT_OR_NAN.sub(_without_nan, bytes(text)))


def _without_nan(found: re.Match[bytes]) -> bytes:
    return b"null" if found[0] == b"NaN" else found[0]
