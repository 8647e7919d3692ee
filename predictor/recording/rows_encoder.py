"""Encodes many rows of a request as one record: inputs and outputs by column, as many rows as fit.

A row costs little then: its numbers are encoded by one call for all rows, and the rest of the record once. A row is
never cut or replaced by a hash: one that does not fit with its columns' names has a record of its own, as `per_row` has
it.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from predictor.otlp import encode
from predictor.recording.record_template import COLUMN, ID, REQUEST_ID, ROWS, pieces_of_many, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import ManyPredictions
    from predictor.recording.encoder import RecordEncoder
    from predictor.recording.record_schema import Schema

_ROOM = 0.95
"""Of the bound: how full a record is meant to be, since rows are not of one length."""
_OUTLIERS, _NONE = b"prediction.outliers", b"[]"


class RowsEncoder:
    """Encodes the answered requests of one model of rows."""

    def __init__(self, schema: Schema, bound: int, one: RecordEncoder) -> None:
        """Take the bytes of rows in one record, and what encodes a row that does not fit into one."""
        self._schema = schema
        self._bound = bound
        self._one = one
        redaction = schema.redaction
        self._dropped = redaction.dropped if redaction else frozenset()
        self._redacts = bool(redaction and (redaction.dropped or redaction.hashed))
        self._mode = redaction.outputs if redaction else "keep"
        self._names = [name for at, name in enumerate(schema.features) if at not in self._dropped]
        self._values = [name.removeprefix("prediction.") for name in schema.values]
        self._template = cache(partial(pieces_of_many, schema))
        self._fitting = 64
        """Rows that are believed to fit, by those before."""

    def encode(self, many: ManyPredictions, observed_ns: int) -> list[bytes]:
        """Return the records of a request in the order of its rows, each without its number."""
        found: list[bytes] = []
        begin, count = 0, len(many.features)
        while begin < count:
            end = min(count, begin + self._fitting)
            columns = self._columns(many, begin, end)
            size = sum(map(len, columns.values()))
            fits = size <= self._bound
            if not fits and end - begin > 1:
                self._fitting = max(1, int((end - begin) * self._bound * _ROOM / size))
                continue
            self._fitting = max(1, int((end - begin) * self._bound * _ROOM / size)) if size else count
            if fits:
                found.append(self._record(many, begin, end, columns, observed_ns))
            else:
                found += self._one.encode([many.row(begin)], observed_ns)
            begin = end
        return found

    def _columns(self, many: ManyPredictions, begin: int, end: int) -> dict[bytes, bytes]:
        """Return the attributes that hold the rows, as JSON."""
        rows: Sequence[Sequence[Any]] = many.features[begin:end]
        redaction = self._schema.redaction
        if self._redacts and redaction:
            rows = [[value for at, value in enumerate(redaction.of(row)) if at not in self._dropped] for row in rows]
        columns = {b"prediction.inputs": _by_column(self._names, rows)}
        if self._mode != "drop":
            if many.probabilities is not None:
                rounded = self._rounded(many.probabilities[begin:end])
                columns[b"prediction.outputs"] = _by_column(self._schema.labels, rounded)
            if many.values is not None:
                columns[b"prediction.values"] = _by_column(self._values, self._rounded(many.values[begin:end]))
            if many.labels is not None:
                labels = self._labels(many.labels[begin:end])
                columns[b"prediction.labels"] = encode(labels)
                columns[b"prediction.label_counts"] = encode(dict(Counter(labels).most_common()))
            if many.scores is not None:
                columns[b"prediction.outlier_scores"] = encode(self._rounded([many.scores[begin:end]])[0])
        if many.outliers is not None:
            found = [at for at, outlier in enumerate(many.outliers[begin:end], begin) if outlier]
            columns[_OUTLIERS] = encode(found)
        return columns

    def _labels(self, found: Sequence[int | str]) -> list[str]:
        names = self._schema.labels
        return [names[each] if isinstance(each, int) else each for each in found]

    def _rounded(self, rows: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
        redaction = self._schema.redaction
        if self._mode != "round" or redaction is None:
            return rows
        return [[round(each, redaction.decimals) for each in row] for row in rows]

    def _record(
        self, many: ManyPredictions, begin: int, end: int, columns: dict[bytes, bytes], observed_ns: int
    ) -> bytes:
        origin, job_id = many.origin, many.job_id.encode()
        outlier = columns.get(_OUTLIERS, _NONE) != _NONE
        pieces = self._template(outlier, origin.route, origin.kept).copy()
        pieces[1::2] = (
            job_id,
            ID % text(origin.infer_id) if origin.infer_id else b"",
            b"%d" % begin,
            ROWS % (end - begin) + b"".join([COLUMN % (name, _escaped(values)) for name, values in columns.items()]),
            encode(many.queue),
            encode(many.inference),
            encode(many.total),
            b"%d" % many.batch_size,
            REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            b"%d" % origin.received_ns,
            b"%d" % observed_ns,
            b"1 row" if end - begin == 1 else b"%d rows" % (end - begin),
            job_id,
            b"%.1f" % (many.total * 1000),
            origin.trace_id.encode(),
            origin.span_id.encode(),
        )
        return b"".join(pieces)


def _by_column(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    return encode(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _escaped(json: bytes) -> bytes:
    """Return JSON as it stands between JSON quotes; to encode it as a text takes ten times as long."""
    return json.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
