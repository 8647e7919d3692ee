"""What the runtime does not tell of an ONNX file: where it was cut off.

An ONNX file is a protobuf message. Only its lengths are followed here: weights are passed over, not read. The numbers
of the fields are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types


class CutOffError(ValueError):
    """The file ends within a field."""


class _Field(NamedTuple):
    number: int
    value: int
    """Of a varint; else 0."""
    begin: int
    end: int


def missing_bytes(content: bytes) -> int:
    """Return how many bytes the file lacks at least, 0 if it is whole; raises ValueError if it is no ONNX file."""
    at = 0
    try:
        for field in _fields(content, 0, len(content)):
            at = field.end
    except CutOffError as error:
        if at:  # something of a model came before
            return int(error.args[0])
        raise
    return 0


def _fields(content: bytes, begin: int, end: int) -> Iterator[_Field]:
    """Yield the fields of the message between two places."""
    at = begin
    while at < end:
        key, at = _varint(content, at, end)
        number, kind = key >> 3, key & 7
        value = length = 0
        if kind == _VARINT:
            value, at = _varint(content, at, end)
        elif kind == _BYTES:
            length, at = _varint(content, at, end)
        elif kind in {_FIXED32, _FIXED64}:
            length = 4 if kind == _FIXED32 else 8
        else:
            number = 0
        if not number:
            msg = f"no protobuf at byte {at}"
            raise ValueError(msg)
        if at + length > end:
            raise CutOffError(at + length - end)
        yield _Field(number, value, at, at + length)
        at += length


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number at a place and the place after it."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= end:
            raise CutOffError(1)
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - protobuf's mark of a last byte
            return number, at
    msg = f"no protobuf at byte {at}"
    raise ValueError(msg)
