"""A log record as readers see it, whatever its source, and the checks that every record must pass."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, NoReturn

import msgspec

from predictor.reader.content import NOTHING, Content
from predictor.recording.record_schema import EVENT_NAME, FEEDBACK, FEEDBACK_EVENT, MODEL_EVENT, MODEL_TABLE, TABLE
from predictor.recording.stream_events import LOST, whole
from predictor.recording.stream_events import TABLE as EVENTS

STREAM, SCHEMA = "prediction.stream.id", "prediction.schema_version"
SEQUENCE, REDACTION = "prediction.stream.sequence", "prediction.redaction"
LOST_FIRST, LOST_LAST = "prediction.stream.lost.first", "prediction.stream.lost.last"
OUTPUTS, KEY_ID = "prediction.redaction.outputs", "prediction.redaction.key_id"
MODEL = tuple(f"prediction.model.{part}" for part in ("name", "version", "digest"))
SCHEMAS = (1,)
"""The published versions of the record, all of which are read; docs/record.md says what each holds."""
_TABLES = {EVENT_NAME: TABLE, FEEDBACK_EVENT: FEEDBACK, MODEL_EVENT: MODEL_TABLE}
_TABLES |= {event: whole(event) for event in EVENTS}
MOST_INT = 2**63 - 1
_STREAM_ID = re.compile(r"[0-9A-Za-z-]{1,64}").fullmatch
"""A UUID; no path, since files are named after it."""
_PYTHON: dict[str, type] = {"int": int, "double": float, "bool": bool, "string": str}
_ALLOWED: dict[type, tuple[type, ...]] = {int: (int,), float: (float, int), bool: (bool,), str: (str,)}
_WANTED = {
    event: {each.name: _PYTHON[each.type] for each in table if each.type != "any"} for event, table in _TABLES.items()
}
DOUBTFUL: dict[type, frozenset[str]] = {
    found: frozenset(name for names in _WANTED.values() for name, kind in names.items() if found not in _ALLOWED[kind])
    for found in _PYTHON.values()
}
"""Names that no record, or not every one, may have with a value of this type: where none occurs there is no fault."""


MOST_ROWS = 1 << 16
"""Rows of one record: a server takes 4,096 a request, and whoever writes more into a log shall not fill a reader."""


class LaterSchema(NamedTuple):
    """A record of a form that this version does not know."""

    stream: str
    version: object
    number: int = 0
    """Its number, 0 if that cannot be read."""

    def __str__(self) -> str:
        """Return the sentence for a person."""
        wanted = f"wanted {' or '.join(map(str, SCHEMAS))}: read them with a later `predictor`"
        return f"records of stream {self.stream} are of schema version {self.version!r}, {wanted}"


class UnknownSchemaError(Exception):
    """A record says that it has a form which this version does not know."""

    def __init__(self, record: LaterSchema) -> None:
        """Take the record."""
        super().__init__(str(record))
        self.record = record


class ModelVersion(NamedTuple):
    """Which model a record speaks of."""

    name: str
    version: str
    digest: str
    """`sha256:…` over the model's files."""

    def __str__(self) -> str:
        """Return `name@version`."""
        return f"{self.name}@{self.version}"


class Entry(NamedTuple):
    """One record: a prediction, feedback, or a stream event.

    Every source gives it whole, with its attributes typed and checked, so a reader may ask for any part of it. A local
    source makes some 150,000 a second and core, so what `verify` or `export` does for each has 4 microseconds.
    """

    stream: str
    sequence: int
    event: str
    time_ns: int
    """Arrival of the request, Unix nanoseconds."""
    observed_ns: int
    """Writing of the record, Unix nanoseconds; 0 where the source does not say."""
    severity: str
    body: str
    trace_id: str
    span_id: str
    sampled: bool
    """Whether a span was written under the ids."""
    attributes: dict[str, Any]
    """The record's own, typed as in docs/record.md."""
    model: ModelVersion | None
    resource: dict[str, Any]
    redaction: dict[str, str]
    """Features that the model's description keeps out of the log, and what was done to them: `drop` or `hash`."""
    outputs: str = ""
    """What the model's description has done to outputs: `drop`, `hash`, `round:2`; empty if they are kept."""
    content: Content = NOTHING
    """What its digest is made of."""

    @property
    def job_id(self) -> str | None:
        """The request, None for a stream event."""
        return self.attributes.get("prediction.job_id")

    @property
    def row(self) -> int | None:
        """The row in the request, None if it was never known."""
        return self.attributes.get("prediction.index")

    @property
    def key(self) -> str | None:
        """The caller's key of the row, or its hash; None if there is none."""
        said = self.attributes
        return said.get("prediction.key") or said.get("prediction.hashed_key")

    @property
    def join_key(self) -> str | None:
        """The key and whose it is, since another model may have the same keys; None if there is no key."""
        return None if self.key is None else f"{self.model.name if self.model else ''} {self.key}"

    @property
    def identities(self) -> list[tuple[str | None, int | None]]:
        """Job id and row of all rows that the record speaks of."""
        if "prediction.rows" not in self.attributes:
            return [(self.job_id, self.row)]
        first, count = self.row, self.attributes["prediction.rows"]
        return [(self.job_id, None if first is None else first + at) for at in range(min(count, MOST_ROWS))]

    @property
    def redacted(self) -> tuple[str, ...]:
        """The features that are not in the log as they were."""
        return tuple(self.redaction)

    def fingerprint(self) -> int:
        """Return 64 bits of the content; equal for copies, also for those that were read from different places.

        Resource attributes do not count: a Collector may add some.
        """
        return int.from_bytes(self.content.digest()[:8])


def model_of(scope: dict[str, Any]) -> ModelVersion | None:
    """Return the model that a scope's attributes name, None for a stream's own events."""
    name, version, digest = (scope.get(key) for key in MODEL)
    return ModelVersion(str(name), str(version), str(digest)) if name is not None else None


def check_schema(scope: dict[str, Any]) -> None:
    """Raise UnknownSchemaError unless the record has a published form that this version knows."""
    if (version := scope.get(SCHEMA)) not in SCHEMAS:
        raise UnknownSchemaError(LaterSchema(scope[STREAM], version))


def check(event: str, attributes: dict[str, Any]) -> None:
    """Raise ValueError unless a record has its number, and a stream event all that the published table says."""
    if type(number := attributes.get(SEQUENCE)) is not int or number < 1:
        msg = f"a record with {SEQUENCE} {number!r}, wanted a number from 1 on"
        raise ValueError(msg)
    wanted = _WANTED.get(event, {}).get
    for name, value in attributes.items():  # and not the table's: of that a record has a half
        kind, found = wanted(name), type(value)
        if (kind and found not in _ALLOWED[kind]) or (found is int and abs(value) > MOST_INT):
            _refuse(event, name, value)
    for each in EVENTS.get(event, ()):
        if each.name not in attributes:
            _refuse(event, each.name, None)
    if event in EVENTS:
        _check_counts(event, attributes)


def _check_counts(event: str, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if type(value) is int and value < 0:
            msg = f"{event} with {name} {value}, wanted none below 0"
            raise ValueError(msg)
    if event == LOST and not 0 < attributes[LOST_FIRST] <= attributes[LOST_LAST]:
        msg = f"{event} of {attributes[LOST_FIRST]} to {attributes[LOST_LAST]}, wanted numbers from 1 on"
        raise ValueError(msg)


def check_stream(stream: object) -> None:
    """Raise ValueError unless it can be a stream's id."""
    if not isinstance(stream, str) or not _STREAM_ID(stream):
        msg = f"a record of stream {stream!r}, wanted a UUID"
        raise ValueError(msg)


def nanoseconds(name: str, text: str | int) -> int:
    """Return the time of a field of a record, which has 63 bits at most; raises ValueError."""
    if not 0 <= (value := int(text)) <= MOST_INT:
        msg = f"a record with {name} {value}"
        raise ValueError(msg)
    return value


def _refuse(event: str, name: str, value: Any) -> NoReturn:  # noqa: ANN401 - whatever an attribute holds
    kind = _WANTED.get(event, {}).get(name, int)
    wanted = next(each for each, python in _PYTHON.items() if python is kind)
    msg = f"{event} with {name} {value!r}, wanted {wanted}"
    raise ValueError(msg)


def redaction_of(scope: dict[str, Any]) -> dict[str, str]:
    """Return what a scope says of features that are not in the log as they were; raises ValueError."""
    if REDACTION not in scope:
        return {}
    try:
        return msgspec.json.decode(scope[REDACTION], type=dict[str, str])
    except (msgspec.MsgspecError, TypeError) as error:
        msg = f"{REDACTION} {scope[REDACTION]!r}, wanted a JSON object of names"
        raise ValueError(msg) from error
