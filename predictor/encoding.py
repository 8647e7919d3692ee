"""Predictions as the bytes of OTLP JSON records: what `record.py` says, several times cheaper.

All numbers of a batch are encoded by one call and put between the constant pieces of a template, because encoding
them one by one, or as nested objects, is what a record costs most. Text needs no escaping here: ids and request ids
are made of safe characters, and names and labels were encoded when the template was made.

A record is returned without its beginning, which holds the number: `numbered` adds that at the writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor import otlp, record
from predictor.otlp import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.prediction import Prediction
    from predictor.record import Schema

_SAMPLED = b',"flags":1'


def numbered(sequence: int, rest: bytes) -> bytes:
    """Return the whole record: the number stands first among the attributes."""
    return b'{"attributes":[{"key":"prediction.stream.sequence","value":{"intValue":"%d"}},%b' % (sequence, rest)


class RecordEncoder:
    """Encodes the predictions of one model."""

    def __init__(self, schema: Schema) -> None:
        """Make the constant pieces."""
        self._schema = schema
        self._labels = [_text(label) for label in schema.labels]
        self._model = _text(schema.model)
        self._inputs = b"".join(
            b'{"key":"prediction.input.%b","value":{"doubleValue":%%b}},' % name.encode() for name in schema.features
        )
        self._spliced = not (schema.wide or schema.redaction)
        self._routes: dict[str, bytes] = {}

    def encode(self, predictions: Sequence[Prediction], observed_ns: int) -> list[bytes]:
        """Return one record for each prediction, in order; `observed_ns` is the Unix time of the writing."""
        successes = [prediction for prediction in predictions if prediction.error is None]
        numbers = self._numbers(successes)
        return [
            self._success(prediction, numbers, observed_ns)
            if prediction.error is None
            else self._failure(prediction, observed_ns)
            for prediction in predictions
        ]

    def _numbers(self, successes: Sequence[Prediction]) -> list[bytes]:
        """Return every float of the batch as JSON text, last prediction first, so that each pops its own."""
        flat: list[float] = []
        for p in successes:
            flat += (p.queue or 0.0, p.inference or 0.0, p.total, 0.0 if p.score is None else p.score)
            flat += p.probabilities or ()
            if self._spliced:
                flat += p.features or ()
        texts = encode(flat)[1:-1].split(b",")
        texts.reverse()
        return texts

    def _success(self, p: Prediction, numbers: list[bytes], observed_ns: int) -> bytes:
        origin = p.origin
        pop = numbers.pop
        queue, inference, total, score = pop(), pop(), pop(), pop()
        outputs = [pop() for _ in self._labels]
        label = self._labels[p.label or 0]
        inputs = self._inputs % tuple([pop() for _ in self._schema.features]) if self._spliced else self._others(p)
        outlier = _OUTLIER % (b"true" if p.outlier else b"false", score) if p.outlier is not None else b""
        confidence = p.probabilities[p.label or 0] if p.probabilities else 0.0
        return _RECORD % (
            p.job_id.encode(),
            p.index,
            inputs,
            b",".join(outputs),
            label,
            outputs[p.label or 0],
            outlier,
            queue,
            inference,
            total,
            p.batch_size,
            _REQUEST_ID % origin.request_id.encode() if origin.request_id else b"",
            self._route(origin.route),
            _KEPT % origin.kept.encode() if origin.kept else b"",
            b'"WARN","severityNumber":13' if p.outlier else b'"INFO","severityNumber":9',
            origin.received_ns,
            observed_ns,
            b"OUTLIER " if p.outlier else b"",
            label,
            confidence,
            self._model,
            p.job_id.encode(),
            p.total * 1000,
            origin.trace_id.encode(),
            origin.span_id.encode(),
            _SAMPLED if origin.kept else b"",
        )

    def _failure(self, p: Prediction, observed_ns: int) -> bytes:
        return encode_event(
            attributes=record.attributes(self._schema, p),
            body=record.body(self._schema, p),
            severity=record.severity(p),
            event_name=record.EVENT_NAME,
            time_ns=p.origin.received_ns,
            observed_ns=observed_ns,
            trace=(p.origin.trace_id, p.origin.span_id, bool(p.origin.kept)),
        )

    def _others(self, p: Prediction) -> bytes:
        pairs = record.input_attributes(self._schema, p.features or ())
        return encode(otlp.attributes(pairs))[1:-1] + b"," if pairs else b""

    def _route(self, route: str) -> bytes:
        if route not in self._routes:
            self._routes[route] = _text(route)
        return self._routes[route]


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


_OUTLIER = (
    b'{"key":"prediction.outlier","value":{"boolValue":%b}},'
    b'{"key":"prediction.outlier_score","value":{"doubleValue":%b}},'
)
_REQUEST_ID = b'{"key":"prediction.request_id","value":{"stringValue":"%b"}},'
_KEPT = b'{"key":"prediction.kept","value":{"stringValue":"%b"}},'
_RECORD = (
    b'{"key":"prediction.job_id","value":{"stringValue":"%b"}},'
    b'{"key":"prediction.index","value":{"intValue":"%d"}},'
    b"%b"
    b'{"key":"prediction.output","value":{"stringValue":"[%b]"}},'
    b'{"key":"prediction.label","value":{"stringValue":"%b"}},'
    b'{"key":"prediction.confidence","value":{"doubleValue":%b}},'
    b"%b"
    b'{"key":"prediction.duration.queue","value":{"doubleValue":%b}},'
    b'{"key":"prediction.duration.inference","value":{"doubleValue":%b}},'
    b'{"key":"prediction.duration.total","value":{"doubleValue":%b}},'
    b'{"key":"prediction.batch.size","value":{"intValue":"%d"}},'
    b"%b"
    b'{"key":"http.route","value":{"stringValue":"%b"}},'
    b"%b"
    b'{"key":"event.name","value":{"stringValue":"prediction"}}],'
    b'"severityText":%b,"timeUnixNano":"%d","observedTimeUnixNano":"%d",'
    b'"body":{"stringValue":"%b%b %.3f %b job=%b %.1f ms"},"eventName":"prediction",'
    b'"traceId":"%b","spanId":"%b"%b}'
)
