"""The rows of a record that holds many: each as a record of its own would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from predictor.reader.record import MOST_ROWS
from predictor.recording.record_schema import VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.reader.record import Entry

_COLUMNS = ("inputs", "outputs", "values")
_LISTS = ("labels", "outliers", "outlier_scores")
_MANY = frozenset(f"prediction.{name}" for name in (*_COLUMNS, *_LISTS, "rows", "label_counts"))
_LARGEST_INT = 2**63 - 1
_columns = msgspec.json.Decoder(dict[str, list[Any]])
_list = msgspec.json.Decoder(list[Any])


def rows_of(entry: Entry) -> Iterator[Entry]:
    """Yield an entry for each row of a record, itself if it has one; raises ValueError for columns that are none."""
    if not _has_columns(entry):
        yield entry
        return
    columns = _Columns(entry)
    shared = {name: value for name, value in entry.attributes.items() if name not in _MANY}
    for at in range(columns.count):
        yield entry._replace(attributes=shared | columns.row(at))


def _has_columns(entry: Entry) -> bool:
    said = entry.attributes
    return "prediction.rows" in said and str(said.get("prediction.inputs", "")).startswith("{")


class _Columns:
    """The columns of one record."""

    def __init__(self, entry: Entry) -> None:
        """Read them; raises ValueError."""
        said = entry.attributes
        self.count: int = said["prediction.rows"]
        if not 0 < self.count <= MOST_ROWS:
            msg = f"a record of {self.count} rows, wanted 1 to {MOST_ROWS}"
            raise ValueError(msg)
        try:
            self._first: int = said["prediction.index"]
            self._inputs, self._outputs, self._values = (self._columns(said, name) for name in _COLUMNS)
            self._labels, self._scores = (self._list(said, name) for name in ("labels", "outlier_scores"))
            self._outliers = frozenset(_list.decode(said.get("prediction.outliers", "[]")))
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            msg = f"a record of {self.count} rows whose columns cannot be read: {error}"
            raise ValueError(msg) from error
        self._detects = "prediction.outliers" in said
        hashed = {name for name, how in entry.redaction.items() if how == "hash"}
        self._names = [f"prediction.{'hashed_' if name in hashed else ''}input.{name}" for name in self._inputs]

    def row(self, at: int) -> dict[str, Any]:
        """Return the attributes of one row."""
        values = [column[at] for column in self._inputs.values()]
        pairs: dict[str, Any] = {"prediction.index": self._first + at}
        pairs |= {name: _fitting(value) for name, value in zip(self._names, values, strict=True) if value is not None}
        if None in values:
            pairs["prediction.missing"] = _text(
                [name for name, value in zip(self._inputs, values, strict=True) if value is None]
            )
        return pairs | self._answer(at)

    def _answer(self, at: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        if self._outputs:
            pairs["prediction.output"] = _text([column[at] for column in self._outputs.values()])
        if len(self._values) > VALUES:
            pairs["prediction.output"] = _text([column[at] for column in self._values.values()])
        else:
            pairs |= {f"prediction.{name}": column[at] for name, column in self._values.items()}
        if self._labels:
            label = pairs["prediction.label"] = self._labels[at]
            if label in self._outputs:
                pairs["prediction.confidence"] = self._outputs[label][at]
        if self._detects:
            pairs["prediction.outlier"] = self._first + at in self._outliers
        if self._scores:
            pairs["prediction.outlier_score"] = self._scores[at]
        return pairs

    def _columns(self, said: dict[str, Any], name: str) -> dict[str, list[Any]]:
        found = _columns.decode(said.get(f"prediction.{name}", "{}"))
        if any(len(column) != self.count for column in found.values()):
            msg = f"prediction.{name} has not {self.count} values in each column"
            raise ValueError(msg)
        return found

    def _list(self, said: dict[str, Any], name: str) -> list[Any]:
        found = _list.decode(said.get(f"prediction.{name}", "[]"))
        if found and len(found) != self.count:
            msg = f"prediction.{name} has not {self.count} values"
            raise ValueError(msg)
        return found


def _fitting(value: Any) -> Any:  # noqa: ANN401 - a feature's value
    return str(value) if type(value) is int and value > _LARGEST_INT else value


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
