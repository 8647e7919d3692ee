"""Decodes and validates the rows of a JSON body: arrays in the order of the features, or objects by their names."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
import numpy as np
from msgspec import Meta

from predictor.api.json_body import undecodable
from predictor.api.pattern.row_objects import ByName
from predictor.api.pattern.row_slices import decode_in_slices, too_many
from predictor.api.slices import at_once
from predictor.core.features import LONGEST_KEY
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from predictor.api.slices import Slices
    from predictor.core.result import Rows

OVERFLOW = {"FP16": 65520.0, "FP32": 2.0**128 - 2.0**103}
"""The least double that rounds to infinity, by the type of a float."""
_FLOAT32 = OVERFLOW["FP32"]
_BITS = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "UINT8": 8, "UINT16": 16, "UINT32": 32}
_WORDS = {"FP16": "numbers", "FP32": "numbers", "FP64": "numbers", "BOOL": "true or false", "BYTES": "texts"}
_NAMES = 8
"""Features that a refusal lists: who sends rows of more knows them."""
_UINT64 = 2**64
_FEW = 64
"""Features up to which objects are decoded by msgspec itself, which looks for each name among all of them."""


class Feature(Protocol):
    """What is known of a column."""

    @property
    def name(self) -> str:
        """What an object calls it."""

    @property
    def datatype(self) -> str:
        """In the words of the Open Inference Protocol."""

    @property
    def missing(self) -> bool:
        """Whether null is taken."""


class _Body(msgspec.Struct):
    data: list[list[float]]


_MANY = 16
"""Rows from which on one look at all of their numbers is faster than a look at each row."""
_LARGE = 64 << 10
"""Bytes of a body whose rows are counted before they are made."""


class RowDecoder:
    """Decodes the rows of one model."""

    def __init__(self, features: Sequence[Feature], most: int, key: int | None = None) -> None:
        """Take the columns in a caller's order, how many rows a request may have, and which column is the key.

        In the rows that are returned the key comes last.
        """
        self._key = key
        self._features = features
        self._most = most
        self._wanted = _wanted(features)
        kinds = {(each.datatype, each.missing) for each in features}
        self._plain = kinds == {("FP32", False)} and key is None
        self._one_kind = len(kinds) == 1 and key is None
        self.numbers = self._one_kind and features[0].datatype != "BYTES"
        """Whether a row is an array of values of one kind that are no texts."""
        self._decode = msgspec.json.Decoder(_Body).decode if self._plain else None
        self._decode_any = _decoder(features, one_kind=self._one_kind, key=key)
        self._by_name = ByName(features)
        self._bounds = [(at, OVERFLOW[each.datatype]) for at, each in enumerate(features) if each.datatype in OVERFLOW]
        self._wide = [at for at, each in enumerate(features) if each.datatype == "UINT64"]

    def rows(self, body: bytes) -> Rows:
        """Return the rows of a body, each with a value for each feature; raises Problem."""
        return self.table(body)[0]

    def table(self, body: bytes) -> tuple[Rows, NDArray[np.float64] | None]:
        """Return the rows of a body, and as a matrix if their numbers were looked at together; raises Problem."""
        if len(body) > _LARGE:
            return at_once(self.in_slices(body)), None
        try:
            rows = self.decoded(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(body, error, self._wanted) from None
        self._check_number(rows)
        numbers = self._numbers(rows)
        if numbers is None:
            self.check(rows)
        return self._with_key_last(rows), numbers

    def row(self, body: bytes) -> Rows:
        """Return the only row of a body; raises Problem as `rows`, and if there is not exactly one."""
        if self._decode and len(body) <= _LARGE:  # by far the most frequent; all else finds its words below
            try:
                rows = self._decode(body).data
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                rows = []
            if len(rows) == 1 and len(rows[0]) == len(self._features) and max(rows[0]) < _FLOAT32 > -min(rows[0]):
                return rows
        return _only(self.rows(body))

    def in_slices(self, body: bytes) -> Slices[Rows]:
        """Return the same as `rows`, slice by slice."""
        try:
            rows = yield from decode_in_slices(body, self, self._most, len(self._features))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(body, error, self._wanted) from None
        self._check_number(rows)
        return self._with_key_last(rows)

    def row_in_slices(self, body: bytes) -> Slices[Rows]:
        """Return the same as `row`, slice by slice."""
        return _only((yield from self.in_slices(body)))

    def _check_number(self, rows: Rows) -> None:
        if not rows:
            raise Problem(Kind.INVALID_DATA, f"data has no rows; wanted {self._wanted}")
        if len(rows) > self._most:
            raise Problem(Kind.CONTENT_TOO_LARGE, too_many(len(rows), self._most))

    def _with_key_last(self, rows: Rows) -> Rows:
        if (key := self._key) is not None:
            for row in rows:
                row.append(row.pop(key))
        return rows

    def check(self, rows: Rows, first: int = 0) -> None:
        """Refuse rows of the wrong shape, of which the first has the index `first`; raises Problem."""
        if self._numbers(rows) is not None:
            return
        width, plain, bound = len(self._features), self._plain, OVERFLOW["FP32"]
        for index, row in enumerate(rows, first):
            if len(row) != width:
                what = "numbers" if plain else "values"
                raise Problem(Kind.INVALID_DATA, f"data[{index}] has {len(row)} {what}, wanted {width}")
            if not plain or max(row) >= bound or min(row) <= -bound:
                self._refuse_overflow(index, row)

    def _numbers(self, rows: Rows) -> NDArray[np.float64] | None:
        """Return many rows of numbers as a matrix, None if there is anything else among them, or to refuse."""
        width = len(self._features)
        if not self._plain or len(rows) < _MANY or {*map(len, rows)} != {width}:
            return None
        numbers = np.fromiter(chain.from_iterable(rows), np.float64, width * len(rows))
        bound = OVERFLOW["FP32"]
        fits = numbers.max() < bound and numbers.min() > -bound
        return numbers.reshape(len(rows), width) if fits else None

    def decoded(self, body: bytes) -> Rows:
        """Return the rows of a body, unchecked; raises msgspec's errors."""
        if self._decode is None:
            return self._decode_any(body)
        try:
            return self._decode(body).data
        except msgspec.ValidationError:
            if b"{" not in body[1:]:
                raise
            return self._decode_any(body)  # objects

    def in_order(self, text: bytes, index: int) -> Slices[bytes]:
        """Return an object's values as an array in the order of the features; raises msgspec's errors."""
        return self._by_name.in_order(text, index)

    def _refuse_overflow(self, index: int, row: Sequence[Any]) -> None:
        """Refuse a number that is not finite as the model's type, or too large for it; raises Problem."""
        for at, bound in self._bounds:
            if row[at] is not None and not -bound < row[at] < bound:
                kind = self._features[at].datatype.replace("FP", "float")
                detail = f"data[{index}][{at}] is {row[at]:g}, which is not finite as {kind}"
                raise Problem(Kind.INVALID_DATA, detail)
        for at in self._wide:
            if row[at] >= _UINT64:
                raise Problem(Kind.INVALID_DATA, f"data[{index}][{at}] is {row[at]}, which has more than 64 bits")


def _decoder(features: Sequence[Feature], *, one_kind: bool, key: int | None) -> Callable[[bytes], Rows]:
    """Return what decodes rows of any types, arrays or objects."""
    types = [value_type(each.datatype, missing=each.missing) for each in features]
    if key is not None and types[key] is str:
        types[key] = Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY)]
    # Types that are made of a model are nothing that a type checker could follow.
    arrays: Any = list
    tuples: Any = tuple
    array = arrays[types[0]] if one_kind else tuples[tuple(types)]
    if len(features) > _FEW:
        return _wide_decoder(features, array)
    fields: list[Any] = [
        (f"f{at}", kind, None) if each.missing else (f"f{at}", kind)
        for at, (each, kind) in enumerate(zip(features, types, strict=True))
    ]
    renamed = {f"f{at}": each.name for at, each in enumerate(features)}
    row: Any = msgspec.defstruct("Row", fields, rename=renamed, forbid_unknown_fields=True, kw_only=True, gc=False)
    body = msgspec.defstruct("Body", [("data", arrays[array | row])])
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
    as_tuple = msgspec.structs.astuple

    def decoded(text: bytes) -> Rows:
        rows = decode(text).data
        return [list(as_tuple(each)) if isinstance(each, row) else list(each) for each in rows]

    return decoded


def _wide_decoder(features: Sequence[Feature], array: Any) -> Callable[[bytes], Rows]:  # noqa: ANN401 - a type
    """Return what decodes rows of many features, arrays or objects, each name found at once."""
    arrays: Any = list
    parts: Callable[[bytes], Any] = msgspec.json.Decoder(
        msgspec.defstruct("Parts", [("data", arrays[msgspec.Raw])])
    ).decode
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(msgspec.defstruct("Body", [("data", arrays[array])])).decode
    by_name = ByName(features)

    def decoded(text: bytes) -> Rows:
        rows = [bytes(row) for row in parts(text).data]
        rows = [at_once(by_name.in_order(row, at)) if row.startswith(b"{") else row for at, row in enumerate(rows)]
        return [list(each) for each in decode(b'{"data":[%b]}' % b",".join(rows)).data]

    return decoded


def value_type(datatype: str, *, missing: bool = False) -> Any:  # noqa: ANN401 - a type
    """Return what msgspec takes for a value of a datatype of the protocol, None too if it may be missing."""
    if datatype == "BYTES":
        return str
    if datatype == "BOOL":
        return bool
    if datatype.startswith("FP"):
        return float | None if missing else float
    if datatype == "UINT64":
        return Annotated[int, Meta(ge=0)]
    bits = _BITS[datatype]
    if datatype.startswith("U"):
        return Annotated[int, Meta(ge=0, le=2**bits - 1)]
    return Annotated[int, Meta(ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)]


def _wanted(features: Sequence[Feature]) -> str:
    words = {_WORDS.get(each.datatype, "integers") for each in features}
    if len(words) == 1:
        (word,) = words
        what = f"rows of {len(features)} {'finite ' if word == 'numbers' else ''}{word}"
        return f'{{"data": [[…]]}} with {what}{" or null" if any(each.missing for each in features) else ""}'
    listed = ", ".join(
        f"{each.name} ({each.datatype}{' or null' if each.missing else ''})" for each in features[:_NAMES]
    )
    more = f" and {len(features) - _NAMES} more" if len(features) > _NAMES else ""
    return f'{{"data": [[…]]}} with rows of {listed}{more}, or objects with these names'


def _only(rows: Rows) -> Rows:
    if len(rows) != 1:
        raise Problem(Kind.INVALID_DATA, f"data has {len(rows)} rows, wanted one; POST /predict/batch takes more")
    return rows
