"""Brings what Loki gives back into the form in which it was written: types, and the order of the published tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictor import otlp
from predictor.recording.canonical import LogRecord, Pair, Value
from predictor.recording.record_schema import (
    EVENT_NAME,
    FEEDBACK,
    FEEDBACK_EVENT,
    MODEL_EVENT,
    MODEL_TABLE,
    TABLE,
    Attribute,
)
from predictor.recording.stream_events import TABLE as EVENTS
from predictor.recording.stream_events import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from predictor.reader.model_event import Described

_INPUTS = ("prediction.input.", "prediction.hashed_input.")
_VALUES = "prediction.value."
_OTHER_INPUTS = {"prediction.input_json", "prediction.inputs", "prediction.rows"}
"""What stands in the place of an attribute for each feature."""


def _places(table: Iterable[Attribute]) -> dict[str, int]:
    """Return where each attribute stands; features, kept or hashed, stand together in the order of the row."""
    return {each.name.partition("<")[0]: place for place, each in enumerate(table)}


_PLACES = {
    name: _places(table)
    for name, table in {
        EVENT_NAME: TABLE,
        FEEDBACK_EVENT: FEEDBACK,
        MODEL_EVENT: MODEL_TABLE,
        **{name: whole(name) for name in EVENTS},
    }.items()
}


def needs_description(attributes: Mapping[str, Any]) -> bool:
    """Tell whether the order of some attributes is one that only the model's description tells."""
    return any(name.startswith((*_INPUTS, _VALUES)) for name in attributes)


def has_row(event: str, attributes: Mapping[str, Any]) -> bool:
    """Tell whether a record has a row's features, one attribute each, though Loki may have dropped all: empty texts."""
    return event == EVENT_NAME and "error.type" not in attributes and not _OTHER_INPUTS & attributes.keys()


def known(event: str, attributes: Mapping[str, Any]) -> bool:
    """Tell whether the published table of the event has all attributes; a later version may have added some."""
    places = _PLACES.get(event, {})
    return bool(places) and all(
        name in places or (event == EVENT_NAME and name.startswith((*_INPUTS, _VALUES))) for name in attributes
    )


def in_order(attributes: Mapping[str, Any], about: Described) -> bool:
    """Tell whether the description names all attributes whose types or order only it can tell."""
    for name in attributes:
        for prefix, known in ((_INPUTS[0], about.types), (_INPUTS[1], about.types), (_VALUES, about.values)):
            if name.startswith(prefix) and name.removeprefix(prefix) not in known:
                return False
    return True


def restored(
    numbers: tuple[int, int, int], line: str, held: Mapping[str, str], attributes: Mapping[str, Any], about: Described
) -> LogRecord:
    """Return the record that was written, from Loki's texts and the attributes that were made of them.

    `numbers` are its time, Unix nanoseconds, its severity and its flags.
    """
    time_ns, severity, flags = numbers
    event = attributes.get("event.name", "")
    places = _PLACES.get(event, {})
    row = {alias: place for place, alias in enumerate(about.types)}
    answers = {alias: place for place, alias in enumerate(about.values)}

    def place(name: str) -> tuple[int, int]:
        for prefix in _INPUTS:
            if name.startswith(prefix):
                return places.get(_INPUTS[0], 0), row.get(name.removeprefix(prefix), 0)
        if name.startswith(_VALUES):
            return places.get(_VALUES, 0), answers.get(name.removeprefix(_VALUES), 0)
        return places.get(name, 0), 0

    return LogRecord(
        attributes=[Pair(name, Value(**otlp.any_value(attributes[name]))) for name in sorted(attributes, key=place)],
        severityText=held.get("severity_text", ""),
        severityNumber=severity,
        timeUnixNano=time_ns,
        observedTimeUnixNano=int(held.get("observed_timestamp", 0)),
        body=Value(stringValue=line) if line else Value(),
        eventName=event,
        traceId=held.get("trace_id", ""),
        spanId=held.get("span_id", ""),
        flags=flags,
    )
