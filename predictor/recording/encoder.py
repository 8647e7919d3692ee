"""Encodes predictions as OTLP JSON records: what `record_schema.py` says, several times cheaper.

All numbers of a batch are encoded by one call and put between the pieces of a template, which has whatever records can
have in common. Encoding them one by one, or as nested objects, is what a record costs most. Text needs no escaping
here: ids and request ids are made of safe characters, and names and labels were encoded when the template was made.

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
            _ID % _text(origin.infer_id) if origin.infer_id else b"",
            numbers[-2],
            *(numbers[:width] if width else (self._inputs(p),)),
            *numbers[width:after],
            label,
            numbers[width + number],
            *numbers[after + (p.outlier is None) : -2],
            _REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
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
            _ID % _text(origin.infer_id) if origin.infer_id else b"",
            numbers[-2],
            *(numbers[:width] if width else (self._inputs(p),)),
            _LABEL % _text(label) if label else b"",
            *numbers[width:after],
            *numbers[after + (p.outlier is None) : -2],
            _REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            numbers[-1],
            observed,
            _text(record_schema.headline(self._schema, p)),
            job_id,
            b"%.1f" % (p.total * 1000),
            origin.trace_id.encode(),
            origin.span_id.encode(),
        )
        return b"".join(pieces)

    def _template(self, outlier: bool | None, route: str, kept: Kept | None) -> list[bytes]:  # noqa: FBT001
        """Return the pieces of a record of one kind: every other piece is the same in all, the rest are empty here."""
        schema = self._schema
        if self._classifies:
            answer, said = _PROBABILITIES % b",".join([_OWN] * len(self._labels)), b"%b %b" % (_OWN, _OWN)
        else:
            answer, said = _OWN + b"".join(_VALUE % _text(name) for name in schema.values), _OWN
        common = _RECORD % (
            b"".join(_INPUT % _text(name) for name in schema.features) if self._width else _OWN,
            answer,
            _OUTLIER % (b"true" if outlier else b"false") if outlier is not None else b"",
            _text(route),
            _KEPT % kept.encode() if kept else b"",
            b'"WARN","severityNumber":13' if outlier else b'"INFO","severityNumber":9',
            b"OUTLIER " if outlier else b"",
            said,
            _text(schema.model),
            _SAMPLED if kept else b"",
        )
        constants = common.split(_OWN)
        found = [b""] * (2 * len(constants) - 1)
        found[::2] = constants
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


_OWN = b"\0"
"""In a template: where a record has something of its own. JSON has no such byte, in no text either."""
_MEASURES = 7  # score, queue, inference, total, batch, index, arrival
_INPUT = b'{"key":"prediction.input.%b","value":{"doubleValue":\0}},'
_PROBABILITIES = (
    b'{"key":"prediction.output","value":{"stringValue":"[%b]"}},'
    b'{"key":"prediction.label","value":{"stringValue":"\0"}},'
    b'{"key":"prediction.confidence","value":{"doubleValue":\0}},'
)
_VALUE = b'{"key":"%b","value":{"doubleValue":\0}},'
_LABEL = b'{"key":"prediction.label","value":{"stringValue":"%b"}},'
_OUTLIER = (
    b'{"key":"prediction.outlier","value":{"boolValue":%b}},'
    b'{"key":"prediction.outlier_score","value":{"doubleValue":\0}},'
)
_ID = b'{"key":"prediction.id","value":{"stringValue":"%b"}},'
_REQUEST_ID = b'{"key":"prediction.request_id","value":{"stringValue":"%b"}},'
_KEPT = b'{"key":"prediction.kept","value":{"stringValue":"%b"}},'
_RECORD = (
    b'{"key":"prediction.job_id","value":{"stringValue":"\0"}},'
    b"\0"
    b'{"key":"prediction.index","value":{"intValue":"\0"}},'
    b"%b"
    b"%b"
    b"%b"
    b'{"key":"prediction.duration.queue","value":{"doubleValue":\0}},'
    b'{"key":"prediction.duration.inference","value":{"doubleValue":\0}},'
    b'{"key":"prediction.duration.total","value":{"doubleValue":\0}},'
    b'{"key":"prediction.batch.size","value":{"intValue":"\0"}},'
    b"\0"
    b'{"key":"http.route","value":{"stringValue":"%b"}},'
    b"%b"
    b'{"key":"event.name","value":{"stringValue":"prediction"}}],'
    b'"severityText":%b,"timeUnixNano":"\0","observedTimeUnixNano":"\0",'
    b'"body":{"stringValue":"%b%b %b job=\0 \0 ms"},"eventName":"prediction",'
    b'"traceId":"\0","spanId":"\0"%b}'
)
