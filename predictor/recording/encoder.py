"""Encodes predictions as OTLP JSON records: what `record_schema.py` says, several times cheaper.

All numbers of a batch are encoded by one call and put into a template that holds whatever records can have in common,
because encoding them one by one, or as nested objects, is what a record costs most. Text needs no escaping here: ids
and request ids are made of safe characters, and names and labels were encoded when the template was made.

A record is returned without its beginning, which holds the number: `numbered` adds that at the writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor import otlp
from predictor.otlp import encode
from predictor.recording import record_schema
from predictor.recording.record_inputs import input_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import Kept, Prediction
    from predictor.recording.record_schema import Schema

_SAMPLED = b',"flags":1'


def numbered(sequence: int, rest: bytes) -> bytes:
    """Return the whole record: the number stands first among the attributes."""
    return b'{"attributes":[{"key":"prediction.stream.sequence","value":{"intValue":"%d"}},%b' % (sequence, rest)


class RecordEncoder:
    """Encodes the predictions of one model."""

    def __init__(self, schema: Schema) -> None:
        """Make no template yet: there is one for each verdict, route and reason to keep a span."""
        self._schema = schema
        self._width = 0 if schema.wide or schema.redaction or not schema.plain else len(schema.features)
        self._labels = [_text(label) for label in schema.labels]
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
        self._templates: dict[tuple[bool | None, str, Kept | None], bytes] = {}

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
        texts = encode(flat)[1:-1].split(b",")
        success = self._success if self._classifies else self._valued
        records = []
        begin = 0
        for p in predictions:
            if p.error is None:
                end = begin + self._width + self._outputs + _MEASURES
                records.append(success(p, texts[begin:end], observed_ns))
                begin = end
            else:
                records.append(self._one(p, observed_ns))
        return records

    def _success(self, p: Prediction, numbers: Sequence[bytes], observed_ns: int) -> bytes:
        """Return a record; `numbers` are the floats as JSON: features, probabilities, score, durations."""
        origin = p.origin
        key = (p.outlier, origin.route, origin.kept)
        template = self._templates.get(key) or self._template(*key)
        width, after = self._width, self._width + self._outputs
        number = int(p.label or 0)  # a place, where there are probabilities
        label, job_id = self._labels[number], p.job_id.encode()
        return template % (
            job_id,
            _ID % _text(origin.infer_id) if origin.infer_id else b"",
            p.index,
            *(numbers[:width] if width else (self._inputs(p),)),
            *numbers[width:after],
            label,
            numbers[width + number],
            *numbers[after + (p.outlier is None) :],
            p.batch_size,
            _REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            origin.received_ns,
            observed_ns,
            label,
            p.probabilities[number] if p.probabilities else 0.0,
            job_id,
            p.total * 1000,
            origin.trace_id.encode(),
            origin.span_id.encode(),
        )

    def _valued(self, p: Prediction, numbers: Sequence[bytes], observed_ns: int) -> bytes:
        """Return a record without probabilities; `numbers` are features, values, score and durations as JSON."""
        origin = p.origin
        key = (p.outlier, origin.route, origin.kept)
        template = self._templates.get(key) or self._template(*key)
        width, after = self._width, self._width + self._outputs
        label, job_id = self._schema.label(p), p.job_id.encode()
        return template % (
            job_id,
            _ID % _text(origin.infer_id) if origin.infer_id else b"",
            p.index,
            *(numbers[:width] if width else (self._inputs(p),)),
            _LABEL % _text(label) if label else b"",
            *numbers[width:after],
            *numbers[after + (p.outlier is None) :],
            p.batch_size,
            _REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            origin.received_ns,
            observed_ns,
            _text(record_schema.headline(self._schema, p)),
            job_id,
            p.total * 1000,
            origin.trace_id.encode(),
            origin.span_id.encode(),
        )

    def _template(self, outlier: bool | None, route: str, kept: Kept | None) -> bytes:  # noqa: FBT001
        """Return what the records of one kind have in common, with places for what they have not."""
        schema = self._schema
        if self._classifies:
            answer, said = _PROBABILITIES % b",".join([b"%b"] * len(self._labels)), b"%b %.3f"
        else:
            answer, said = b"%b" + b"".join(_VALUE % _constant(name) for name in schema.values), b"%b"
        found = _RECORD % (
            b"".join(_INPUT % _constant(name) for name in schema.features) if self._width else b"%b",
            answer,
            _OUTLIER % (b"true" if outlier else b"false") if outlier is not None else b"",
            _constant(route),
            _KEPT % kept.encode() if kept else b"",
            b'"WARN","severityNumber":13' if outlier else b'"INFO","severityNumber":9',
            b"OUTLIER " if outlier else b"",
            said,
            _constant(schema.model),
            _SAMPLED if kept else b"",
        )
        self._templates[outlier, route, kept] = found
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

    def _inputs(self, p: Prediction) -> bytes:
        pairs = input_attributes(self._schema, p.features or ())
        return encode(otlp.attributes(pairs))[1:-1] + b"," if pairs else b""


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


def _text(value: str) -> bytes:
    """Return a string as it stands between JSON quotes."""
    return encode(value)[1:-1]


def _constant(value: str) -> bytes:
    """Return a string as it stands between JSON quotes in a template."""
    return _text(value).replace(b"%", b"%%")


# Filled in twice: %b is what the records of one kind have in common, what is doubled (%%b) each record's own.
_MEASURES = 4  # score, queue, inference, total
_INPUT = b'{"key":"prediction.input.%b","value":{"doubleValue":%%b}},'
_PROBABILITIES = (
    b'{"key":"prediction.output","value":{"stringValue":"[%b]"}},'
    b'{"key":"prediction.label","value":{"stringValue":"%%b"}},'
    b'{"key":"prediction.confidence","value":{"doubleValue":%%b}},'
)
_VALUE = b'{"key":"%b","value":{"doubleValue":%%b}},'
_LABEL = b'{"key":"prediction.label","value":{"stringValue":"%b"}},'
_OUTLIER = (
    b'{"key":"prediction.outlier","value":{"boolValue":%b}},'
    b'{"key":"prediction.outlier_score","value":{"doubleValue":%%b}},'
)
_ID = b'{"key":"prediction.id","value":{"stringValue":"%b"}},'
_REQUEST_ID = b'{"key":"prediction.request_id","value":{"stringValue":"%b"}},'
_KEPT = b'{"key":"prediction.kept","value":{"stringValue":"%b"}},'
_RECORD = (
    b'{"key":"prediction.job_id","value":{"stringValue":"%%b"}},'
    b"%%b"
    b'{"key":"prediction.index","value":{"intValue":"%%d"}},'
    b"%b"
    b"%b"
    b"%b"
    b'{"key":"prediction.duration.queue","value":{"doubleValue":%%b}},'
    b'{"key":"prediction.duration.inference","value":{"doubleValue":%%b}},'
    b'{"key":"prediction.duration.total","value":{"doubleValue":%%b}},'
    b'{"key":"prediction.batch.size","value":{"intValue":"%%d"}},'
    b"%%b"
    b'{"key":"http.route","value":{"stringValue":"%b"}},'
    b"%b"
    b'{"key":"event.name","value":{"stringValue":"prediction"}}],'
    b'"severityText":%b,"timeUnixNano":"%%d","observedTimeUnixNano":"%%d",'
    b'"body":{"stringValue":"%b%b %b job=%%b %%.1f ms"},"eventName":"prediction",'
    b'"traceId":"%%b","spanId":"%%b"%b}'
)
