"""Decodes the rows of a large body in slices: to make all of its lists and numbers at once would hold the event loop.

One pass over the body, a millisecond for each MiB, finds the rows without making anything of them; then they are
decoded some at a time, and a row of many numbers by parts. Rows and values are counted before any of them is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.api.slices import Slices
    from predictor.core.result import Rows

_SLICE = 64 << 10
"""Bytes that are decoded at a time: about half a millisecond."""
_STEPS = 4096
"""Tokens that are looked at at a time, where texts may hold brackets and commas."""
_TOKEN = re.compile(rb'["\[{,]')
_TEXT = re.compile(rb'(?:[^"\\]++|\\.){0,1024}+("?)', re.DOTALL)
"""What is inside of a text, to its end or further."""
_PLACE = re.compile(r"\$\.data\[(\d+)\](?:\[(\d+)\])?")


class _Whole(msgspec.Struct):
    data: msgspec.Raw


class _Parts(msgspec.Struct):
    data: list[msgspec.Raw]


_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_parts = msgspec.json.Decoder(_Parts).decode


class Part(Protocol):
    """What decodes and checks some of the rows."""

    @property
    def numbers(self) -> bool:
        """Whether a row is an array of values of one kind that are no texts."""

    def decoded(self, body: bytes) -> Rows:
        """Return the rows of a body; raises msgspec's errors."""

    def in_order(self, text: bytes, index: int) -> Slices[bytes]:
        """Return an object's values as an array in the order of the features; raises msgspec's errors."""

    def check(self, rows: Rows, first: int) -> None:
        """Refuse rows of the wrong shape, of which the first has the index `first`; raises Problem."""


def decode_in_slices(body: bytes, part: Part, most: int, width: int) -> Slices[Rows]:
    """Return the rows of a body, at most so many of so many values; raises Problem, and msgspec's errors."""
    yield from _bound(body, most, width)
    found = _decode_parts(body).data
    yield
    rows: Rows = []
    while len(rows) < len(found):
        first = len(rows)
        text = bytes(found[first])
        long = len(text) > _SLICE and part.numbers
        if long and text.startswith(b"{"):
            text = yield from part.in_order(text, first)
        if long and text.startswith(b"["):
            rows.append((yield from _long_row(text, part, first)))
        else:
            rows += _some(found, first, part)
        part.check(rows[first:], first)
        yield
    return rows


def _some(found: Sequence[msgspec.Raw], first: int, part: Part) -> Rows:
    """Return rows from the first one on, as many as fit into a slice."""
    size, end = 0, first
    while end < len(found) and (end == first or size + len(memoryview(found[end])) <= _SLICE):
        size += len(memoryview(found[end]))
        end += 1
    try:
        return part.decoded(b'{"data":[%b]}' % b",".join(found[first:end]))
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(_at(str(error), first)) from None


def _at(text: str, rows: int, values: int = 0) -> str:
    """Return an error's text with its place in the whole body, behind so many rows, and values of that row."""

    def place(match: re.Match[str]) -> str:
        row = f"$.data[{int(match[1]) + rows}]"
        return f"{row}[{int(match[2]) + values}]" if match[2] else row

    return _PLACE.sub(place, text)


def _long_row(text: bytes, part: Part, index: int) -> Slices[list[float]]:
    """Return a row of many numbers, decoded by parts that end at commas: one inside of a value is behind a fault."""
    row: list[float] = []
    at, end = 1, len(text) - 1
    while at < end:
        cut = text.find(b",", at + _SLICE, end)
        cut = end if cut < 0 else cut
        try:
            try:
                row += part.decoded(b'{"data":[[%b]]}' % text[at:cut])[0]
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:  # the comma stands in a text, which is no number: uncut it is refused as one
                row += part.decoded(b'{"data":[[%b]]}' % text[at:end])[0]
                cut = end
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(_at(str(error), index, len(row))) from None
        at = cut + 1
        yield
    return row


def _bound(body: bytes, most: int, width: int) -> Slices[None]:
    """Refuse more rows or values than a request may have; raises Problem, and msgspec's errors."""
    values = most * (width + 1)  # commas: those between the rows, too
    if body.count(b"[") + body.count(b"{") <= most + 2 and body.count(b",") < values:
        return  # whatever else may stand in texts
    yield
    whole = _decode_whole(body)
    yield
    data = bytes(whole.data)
    yield
    lists, commas = data.count(b"[") + data.count(b"{") - 1, data.count(b",")
    yield
    if b'"' in data:
        lists, commas = yield from _count(data, most, values)
    if lists > most:
        raise Problem(Kind.CONTENT_TOO_LARGE, too_many(lists, most))
    if commas >= values:
        raise Problem(Kind.INVALID_DATA, f"data has more than {most} rows of {width} values")


def _count(data: bytes, most: int, values: int) -> Slices[tuple[int, int]]:
    """Return the rows and the commas of data, those in texts not counted; what is too much is not counted further."""
    lists, commas, at, steps, inside = -1, 0, 0, 0, False
    while lists <= most and commas < values:
        found = _TEXT.match(data, at) if inside else _TOKEN.search(data, at)
        if found is None:
            break
        at = found.end()
        if inside:
            inside = not found[1]
            steps += inside * _STEPS // 2
        elif (token := found[0]) == b'"':
            inside = True
        elif token == b",":
            commas += 1
        else:
            lists += 1
        steps += 1
        if steps >= _STEPS:
            steps = 0
            yield
    return lists, commas


def too_many(rows: int, most: int) -> str:
    """Return the detail of a problem with too many rows."""
    return f"data has {rows} rows, this server takes at most {most} a request (PREDICTOR_BATCH_ROWS)"
