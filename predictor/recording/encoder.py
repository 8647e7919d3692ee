"""Encodes predictions as OTLP JSON records: what `record_schema.py` says, several times cheaper.

All numbers of a batch are encoded by one call and put between the pieces of a template (`record_template.py`). Encoding
them one by one, or as nested objects, is what a record costs most. The records of a request of many rows are laid by
column: what they have in common is put into the template once, and no row is looked at by itself.

A record is returned without its beginning, which holds the number: `numbered` adds that at the writing.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.otlp import encode
from predictor.recording import record_schema, record_template
from predictor.recording.record_inputs import input_attributes
from predictor.recording.record_template import ID, LABEL, REQUEST_ID, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.features import Value
    from predictor.core.result import Kept, ManyPredictions, Prediction
    from predictor.recording.record_schema import Schema

    _Column = Sequence[bytes]

_MEASURES = 7  # score, queue, inference, total, batch, index, arrival


def numbered(sequence: int, rest: bytes) -> bytes:
    """Return the whole record: the number stands first among the attributes."""
    return b'{"attributes":[{"key":"prediction.stream.sequence","value":{"intValue":"%d"}},%b' % (sequence, rest)


class RecordEncoder:
    """Encodes the predictions of one model."""

    def __init__(self, schema: Schema) -> None:
        """Make no template yet: there is one for each verdict, route and reason to keep a span."""
        self._schema = schema
        self._width = 0 if schema.wide or schema.redaction or not schema.plain else len(schema.features)
        self._labels = [text(label) for label in schema.labels]
        self._classifies = schema.gives == "probabilities"
        self._outputs = len(schema.labels if self._classifies else schema.values)
        redacted = schema.redaction is not None and schema.redaction.outputs != "keep"
        self._one_by_one = (
            redacted
            or schema.many
            or schema.gives == "tensors"
            or "" in schema.labels
            or len(schema.values) > record_schema.VALUES
        )
        """Whether there is no template: for outputs that are redacted, or so long that it would save little."""
        self._templates: dict[tuple[bool | None, str, Kept | None], list[bytes]] = {}

    def encode(self, predictions: Sequence[Prediction], observed_ns: int) -> list[bytes]:
        """Return one record for each prediction, in order; `observed_ns` is the Unix time of the writing."""
        if self._one_by_one:
            return [self._one(p, observed_ns) for p in predictions]
        flat: list[float] = []
        for p in predictions:
            if p.error is None:
                flat += (p.features or ()) if self._width else ()
                flat += p.probabilities or p.values or ()
                flat += (0.0 if p.score is None else p.score, p.queue or 0.0, p.inference or 0.0, p.total)
                flat += (p.batch_size or 0, p.index or 0, p.origin.received_ns)
        texts = encode(flat)[1:-1].split(b",")
        success = self._success if self._classifies else self._valued
        observed = b"%d" % observed_ns
        records = []
        begin = 0
        for p in predictions:
            if p.error is None:
                end = begin + self._width + self._outputs + _MEASURES
                records.append(success(p, texts[begin:end], observed))
                begin = end
            else:
                records.append(self._one(p, observed_ns))
        return records

    def encode_rows(self, many: ManyPredictions, observed_ns: int) -> list[bytes]:
        """Return one record for each row of a request that was answered, in order."""
        if self._one_by_one:
            return [self._one(p, observed_ns) for p in many.all_rows()]
        origin, outliers, values = many.origin, many.outliers, self._values(many, observed_ns)
        if outliers is None or len({*outliers}) == 1:
            template = self._template(outliers[0] if outliers else None, origin.route, origin.kept)
            return _filled(template, values)
        found = [b""] * len(outliers)
        for outlier in (False, True):
            places = [at for at, each in enumerate(outliers) if each is outlier]
            some = [each if isinstance(each, bytes) else [each[at] for at in places] for each in values]
            records = _filled(self._template(outlier, origin.route, origin.kept), some)
            for at, record in zip(places, records, strict=True):
                found[at] = record
        return found

    def _success(self, p: Prediction, numbers: Sequence[bytes], observed: bytes) -> bytes:
        """Return a record; `numbers` as JSON are features, probabilities, score, durations, batch, index, arrival."""
        origin = p.origin
        key = (p.outlier, origin.route, origin.kept)
        pieces = (self._templates.get(key) or self._template(*key)).copy()
        width, after = self._width, self._width + self._outputs
        number = int(p.label or 0)  # a place, where there are probabilities
        label, job_id = self._labels[number], p.job_id.encode()
        pieces[1::2] = (
            job_id,
            ID % text(origin.infer_id) if origin.infer_id else b"",
            numbers[-2],
            *(numbers[:width] if width else (self._inputs(p.features or ()),)),
            *numbers[width:after],
            label,
            numbers[width + number],
            *numbers[after + (p.outlier is None) : -2],
            REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            numbers[-1],
            observed,
            label,
            b"%.3f" % (p.probabilities[number] if p.probabilities else 0.0),
            job_id,
            b"%.1f" % (p.total * 1000),
            origin.trace_id.encode(),
            origin.span_id.encode(),
        )
        return b"".join(pieces)

    def _valued(self, p: Prediction, numbers: Sequence[bytes], observed: bytes) -> bytes:
        """Return a record without probabilities; `numbers` are the same with its values in their place."""
        origin = p.origin
        key = (p.outlier, origin.route, origin.kept)
        pieces = (self._templates.get(key) or self._template(*key)).copy()
        width, after = self._width, self._width + self._outputs
        label, job_id = self._schema.label(p), p.job_id.encode()
        pieces[1::2] = (
            job_id,
            ID % text(origin.infer_id) if origin.infer_id else b"",
            numbers[-2],
            *(numbers[:width] if width else (self._inputs(p.features or ()),)),
            LABEL % text(label) if label else b"",
            *numbers[width:after],
            *numbers[after + (p.outlier is None) : -2],
            REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            numbers[-1],
            observed,
            text(record_schema.headline(self._schema, p)),
            job_id,
            b"%.1f" % (p.total * 1000),
            origin.trace_id.encode(),
            origin.span_id.encode(),
        )
        return b"".join(pieces)

    def _values(self, many: ManyPredictions, observed_ns: int) -> list[bytes | _Column]:
        """Return what the places of the template have for the rows of a request: one text for all, or a column."""
        origin, job_id = many.origin, many.job_id.encode()
        indexes, inputs, outputs, scores = self._numbers(many)
        if self._classifies:
            answer, said = self._classified(many, outputs)
        else:
            rows = [*many.all_rows()]
            labels = map(self._schema.label, rows)
            answer = [[LABEL % text(label) if label else b"" for label in labels], *outputs]
            said = [[text(record_schema.headline(self._schema, row)) for row in rows]]
        return [
            job_id,
            ID % text(origin.infer_id) if origin.infer_id else b"",
            indexes,
            *inputs,
            *answer,
            *scores,
            encode(many.queue),
            encode(many.inference),
            encode(many.total),
            encode(many.batch_size),
            REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            encode(origin.received_ns),
            encode(observed_ns),
            *said,
            job_id,
            b"%.1f" % (many.total * 1000),
            origin.trace_id.encode(),
            origin.span_id.encode(),
        ]

    def _numbers(self, many: ManyPredictions) -> tuple[_Column, list[_Column], list[_Column], list[_Column]]:
        """Return the columns of the index, of each feature (or of all), of each output and of the score, if any."""
        count, width = len(many.features), self._width
        flat: list[float] = [*range(count)]
        flat += chain.from_iterable(many.features if width else ())
        flat += chain.from_iterable(many.probabilities or many.values or ())
        flat += many.scores or ()
        texts = encode(flat)[1:-1].split(b",")
        after = count + width * count
        end = after + self._outputs * count
        inputs: list[_Column] = [texts[at:after:width] for at in range(count, count + width)]
        return (
            texts[:count],
            inputs or [[self._inputs(row) for row in many.features]],
            [texts[at : end : self._outputs] for at in range(after, after + self._outputs)],
            [texts[end:]] if many.scores else [],
        )

    def _classified(self, many: ManyPredictions, outputs: list[_Column]) -> tuple[list[_Column], list[_Column]]:
        """Return the columns of a classification, and those of its display line."""
        places = [int(label) for label in many.labels or ()]
        labels = [self._labels[place] for place in places]
        confidence = [outputs[place][at] for at, place in enumerate(places)]
        numbers = [row[place] for row, place in zip(many.probabilities or (), places, strict=True)]
        shown = (b"%.3f " * len(numbers) % tuple(numbers)).split()
        return [*outputs, labels, confidence], [labels, shown]

    def _template(self, outlier: bool | None, route: str, kept: Kept | None) -> list[bytes]:  # noqa: FBT001
        """Return the pieces of a record of one kind; not to be changed."""
        key = (outlier, route, kept)
        found = self._templates.get(key)
        if found is None:
            found = record_template.pieces(self._schema, *key, one_input=not self._width)
            self._templates[key] = found
        return found

    def _one(self, p: Prediction, observed_ns: int) -> bytes:
        return encode_event(
            attributes=record_schema.attributes(self._schema, p),
            body=record_schema.body(self._schema, p),
            severity=record_schema.severity(p),
            event_name=record_schema.EVENT_NAME,
            time_ns=p.origin.received_ns,
            observed_ns=observed_ns,
            trace=(p.origin.trace_id, p.origin.span_id, bool(p.origin.kept)),
        )

    def _inputs(self, features: Sequence[Value]) -> bytes:
        pairs = input_attributes(self._schema, features)
        return encode(otlp.attributes(pairs))[1:-1] + b"," if pairs else b""


def _filled(template: Sequence[bytes], values: Sequence[bytes | _Column]) -> list[bytes]:
    """Return a record for each row: a template with one text for all in some places, and a column in the others."""
    form = template[0].replace(b"%", b"%%")
    columns: list[_Column] = []
    for value, constant in zip(values, template[2::2], strict=True):
        if isinstance(value, bytes):
            form += (value + constant).replace(b"%", b"%%")
        else:
            columns.append(value)
            form += b"%b" + constant.replace(b"%", b"%%")
    return [form % row for row in zip(*columns, strict=True)]


def encode_event(
    *,
    attributes: dict[str, object],
    body: str,
    severity: tuple[int, str],
    event_name: str,
    time_ns: int,
    observed_ns: int,
    trace: tuple[str, str, bool] | None = None,
) -> bytes:
    """Return any record without its beginning, for `numbered`; `trace` is trace id, span id, sampled."""
    fields: dict[str, object] = {
        "severityText": severity[1],
        "severityNumber": severity[0],
        "timeUnixNano": str(time_ns),
        "observedTimeUnixNano": str(observed_ns),
        "body": otlp.any_value(body),
        "eventName": event_name,
    }
    if trace:
        fields |= {"traceId": trace[0], "spanId": trace[1]} | ({"flags": 1} if trace[2] else {})
    return b"%b],%b" % (encode(otlp.attributes(attributes))[1:-1], encode(fields)[1:])
