"""The tensors of a record, as lists of their values."""

from __future__ import annotations

import struct
from base64 import b64decode
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.reader.record import Entry

_CODES = {
    "BOOL": "?",
    "INT8": "b",
    "UINT8": "B",
    "INT16": "h",
    "UINT16": "H",
    "INT32": "i",
    "UINT32": "I",
    "INT64": "q",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_TEXT_LENGTH = struct.Struct("<I")


class _LoggedTensor(msgspec.Struct):
    """A tensor as the record has it."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    base64: str | None = None
    sha256: str | None = None


class Tensor(NamedTuple):
    """One input or output of a request."""

    name: str
    datatype: str
    """In the words of the Open Inference Protocol."""
    shape: tuple[int, ...]
    values: list[Any] | None
    """Row by row; None if the record has not all of them."""
    sha256: str | None = None
    """Of its bytes, where the record has that instead of the values."""


_decode = msgspec.json.Decoder(list[_LoggedTensor]).decode


def has_tensors(entry: Entry) -> bool:
    """Tell whether a prediction is one of tensors."""
    return any(str(entry.attributes.get(f"prediction.{side}", "")).startswith("[") for side in ("inputs", "outputs"))


def tensors_of(attributes: Mapping[str, Any], side: str) -> list[Tensor]:
    """Return the `inputs` or `outputs` of a record, none if it has none; raises ValueError."""
    try:
        logged = _decode(attributes.get(f"prediction.{side}", "[]"))
        return [Tensor(each.name, each.datatype, tuple(each.shape), _values(each), each.sha256) for each in logged]
    except (msgspec.MsgspecError, struct.error, KeyError, UnicodeDecodeError) as error:
        msg = f"prediction.{side} are not tensors: {error}"
        raise ValueError(msg) from error


def _values(logged: _LoggedTensor) -> list[Any] | None:
    if logged.data is not None:
        return None if any(isinstance(each, dict) for each in logged.data) else logged.data
    if logged.base64 is None:
        return None
    content = b64decode(logged.base64, validate=True)
    if logged.datatype == "BYTES":
        return _texts(content)
    code = _CODES[logged.datatype]
    return [*struct.unpack(f"<{len(content) // struct.calcsize(code)}{code}", content)]


def _texts(content: bytes) -> list[str]:
    found = []
    at = 0
    while at < len(content):
        (length,) = _TEXT_LENGTH.unpack_from(content, at)
        at += _TEXT_LENGTH.size
        found.append(content[at : at + length].decode())
        at += length
    return found
