"""The template of a prediction's record as bytes: what many records have in common, and the places of what differs.

Text needs no escaping when a place is filled: ids and request ids are made of safe characters, names and labels were
encoded before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.otlp import encode

if TYPE_CHECKING:
    from predictor.core.result import Kept
    from predictor.recording.record_schema import Schema


def pieces(schema: Schema, outlier: bool | None, route: str, kept: Kept | None, *, one_input: bool) -> list[bytes]:  # noqa: FBT001
    """Return the pieces of a record of one kind: every other piece is the same in all, the rest are empty here.

    These are the places, in this order: job id, `ID`, index; a number for each feature, or `one_input` for all of them;
    outputs; score, of a model with a detector; three durations, batch, `REQUEST_ID`, arrival and writing.
    Then come those of the display line, of its job id and milliseconds, and of trace id and span id.
    Outputs are probabilities, label and confidence, and the line has label and confidence. A model without
    probabilities has `LABEL` and its values, and in the line its headline.
    """
    if schema.gives == "probabilities":
        answer, said = _PROBABILITIES % b",".join([_OWN] * len(schema.labels)), b"%b %b" % (_OWN, _OWN)
    else:
        answer, said = _OWN + b"".join(_VALUE % text(name) for name in schema.values), _OWN
    inputs = _OWN if one_input else b"".join(_INPUT % text(name) for name in schema.features)
    verdict = _OUTLIER % (b"true" if outlier else b"false") if outlier is not None else b""
    return _parted(schema, inputs + answer + verdict, said, (outlier, route, kept))


def pieces_of_many(schema: Schema, outlier: bool, route: str, kept: Kept | None) -> list[bytes]:  # noqa: FBT001
    """Return the same of a record of many rows: `ROWS` with a `COLUMN` for each is in the place of the features.

    There is none for outputs and score, and the display line has one, for the number of rows.
    """
    return _parted(schema, _OWN, _OWN, (outlier, route, kept))


def _parted(schema: Schema, row: bytes, said: bytes, kind: tuple[bool | None, str, Kept | None]) -> list[bytes]:
    outlier, route, kept = kind
    constants = (
        _RECORD
        % (
            row,
            text(route),
            _KEPT % kept.encode() if kept else b"",
            b'"WARN","severityNumber":13' if outlier else b'"INFO","severityNumber":9',
            b"OUTLIER " if outlier else b"",
            said,
            text(schema.model),
            _SAMPLED if kept else b"",
        )
    ).split(_OWN)
    found = [b""] * (2 * len(constants) - 1)
    found[::2] = constants
    return found


def text(value: str) -> bytes:
    """Return a string as it stands between JSON quotes."""
    return encode(value)[1:-1]


ID = b'{"key":"prediction.id","value":{"stringValue":"%b"}},'
REQUEST_ID = b'{"key":"prediction.request_id","value":{"stringValue":"%b"}},'
ROWS = b'{"key":"prediction.rows","value":{"intValue":"%d"}},'
COLUMN = b'{"key":"%b","value":{"stringValue":"%b"}},'
LABEL = b'{"key":"prediction.label","value":{"stringValue":"%b"}},'
_OWN = b"\0"
"""In a template: where a record has something of its own. JSON has no such byte, in no text either."""
_SAMPLED = b',"flags":1'
_INPUT = b'{"key":"prediction.input.%b","value":{"doubleValue":\0}},'
_PROBABILITIES = (
    b'{"key":"prediction.output","value":{"stringValue":"[%b]"}},'
    b'{"key":"prediction.label","value":{"stringValue":"\0"}},'
    b'{"key":"prediction.confidence","value":{"doubleValue":\0}},'
)
_VALUE = b'{"key":"%b","value":{"doubleValue":\0}},'
_OUTLIER = (
    b'{"key":"prediction.outlier","value":{"boolValue":%b}},'
    b'{"key":"prediction.outlier_score","value":{"doubleValue":\0}},'
)
_KEPT = b'{"key":"prediction.kept","value":{"stringValue":"%b"}},'
_RECORD = (
    b'{"key":"prediction.job_id","value":{"stringValue":"\0"}},'
    b"\0"
    b'{"key":"prediction.index","value":{"intValue":"\0"}},'
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
