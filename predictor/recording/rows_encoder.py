"""Encodes many rows of a request as one record: inputs and outputs by column, as many rows as fit.

A row costs little then: its numbers are encoded by one call for all rows, and the rest of the record once. A row is
never cut or replaced by a hash: one that does not fit with its columns' names has a record of its own, as `per_row` has
it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from predictor.otlp import encode
from predictor.recording import record_schema
from predictor.recording.encoder import encode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import ManyPredictions
    from predictor.recording.encoder import RecordEncoder
    from predictor.recording.record_schema import Schema

_ROOM = 0.95
"""Of the bound: how full a record is meant to be, since rows are not of one length."""
_SHOWN = 3


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
        self._fitting = 64
        """Rows that are believed to fit, by those before."""

    def encode(self, many: ManyPredictions, observed_ns: int) -> list[bytes]:
        """Return the records of a request in the order of its rows, each without its number."""
        found: list[bytes] = []
        begin, count = 0, len(many.features)
        while begin < count:
            end = min(count, begin + self._fitting)
            columns = self._columns(many, begin, end)
            size = sum(len(text) for text in columns.values() if isinstance(text, str))
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

    def _columns(self, many: ManyPredictions, begin: int, end: int) -> dict[str, Any]:
        """Return the attributes that hold the rows."""
        rows: Sequence[Sequence[Any]] = many.features[begin:end]
        redaction = self._schema.redaction
        if self._redacts and redaction:
            rows = [[value for at, value in enumerate(redaction.of(row)) if at not in self._dropped] for row in rows]
        columns: dict[str, Any] = {"prediction.inputs": _by_column(self._names, rows)}
        if self._mode != "drop":
            if many.probabilities is not None:
                rounded = self._rounded(many.probabilities[begin:end])
                columns["prediction.outputs"] = _by_column(self._schema.labels, rounded)
            if many.values is not None:
                columns["prediction.values"] = _by_column(self._values, self._rounded(many.values[begin:end]))
            if many.labels is not None:
                labels = self._labels(many.labels[begin:end])
                columns["prediction.labels"] = _text(labels)
                columns["prediction.label_counts"] = _text(dict(Counter(labels).most_common()))
            if many.scores is not None:
                columns["prediction.outlier_scores"] = _text(self._rounded([many.scores[begin:end]])[0])
        if many.outliers is not None:
            found = [at for at, outlier in enumerate(many.outliers[begin:end], begin) if outlier]
            columns["prediction.outliers"] = _text(found)
        return columns

    def _labels(self, found: Sequence[int | str]) -> list[str]:
        names = self._schema.labels
        return [names[each] if isinstance(each, int) else each for each in found]

    def _rounded(self, rows: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
        redaction = self._schema.redaction
        if self._mode != "round" or redaction is None:
            return rows
        return [[round(each, redaction.decimals) for each in row] for row in rows]

    def _record(self, many: ManyPredictions, begin: int, end: int, columns: dict[str, Any], observed_ns: int) -> bytes:
        origin = many.origin
        pairs = {
            "prediction.job_id": many.job_id,
            "prediction.id": origin.infer_id,
            "prediction.index": begin,
            "prediction.rows": end - begin,
            **columns,
            "prediction.duration.queue": many.queue,
            "prediction.duration.inference": many.inference,
            "prediction.duration.total": many.total,
            "prediction.batch.size": many.batch_size,
            "prediction.request_id": origin.request_id,
            "http.route": origin.route,
            "prediction.kept": origin.kept,
            "event.name": record_schema.EVENT_NAME,
        }
        outlier = columns.get("prediction.outliers", "[]") != "[]"
        rows = "1 row" if end - begin == 1 else f"{end - begin} rows"
        tail = f"{self._schema.model} job={many.job_id} {many.total * 1000:.1f} ms"
        return encode_event(
            attributes={name: value for name, value in pairs.items() if value is not None and value != ""},
            body=f"{'OUTLIER ' if outlier else ''}{rows} {tail}",
            severity=record_schema.WARN if outlier else record_schema.INFO,
            event_name=record_schema.EVENT_NAME,
            time_ns=origin.received_ns,
            observed_ns=observed_ns,
            trace=(origin.trace_id, origin.span_id, bool(origin.kept)),
        )


def _by_column(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return _text(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _text(value: object) -> str:
    return encode(value).decode()
