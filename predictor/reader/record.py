"""A log record as readers see it, whatever its source, and the checks that every record must pass."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from predictor.recording.record_schema import EVENT_NAME, FEEDBACK, FEEDBACK_EVENT, MODEL_EVENT, MODEL_TABLE, TABLE
from predictor.recording.stream_events import TABLE as EVENTS

STREAM, SCHEMA = "prediction.stream.id", "prediction.schema_version"
SEQUENCE, REDACTION = "prediction.stream.sequence", "prediction.redaction"
OUTPUTS, KEY_ID = "prediction.redaction.outputs", "prediction.redaction.key_id"
MODEL = tuple(f"prediction.model.{part}" for part in ("name", "version", "digest"))
SCHEMAS = (1,)
"""The published versions of the record, all of which are read; docs/record.md says what each holds."""
_TABLES = {EVENT_NAME: TABLE, FEEDBACK_EVENT: FEEDBACK, MODEL_EVENT: MODEL_TABLE}
_MOST = 2**63 - 1
_PYTHON: dict[str, type | tuple[type, ...]] = {"int": int, "double": (int, float), "bool": bool, "string": str}
_PYTHON["any"] = (int, float, bool, str)


class UnknownSchemaError(Exception):
    """A record says that it has a form which this version does not know."""


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
    """One record: a prediction, feedback, or a stream event."""

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

    @property
    def job_id(self) -> str | None:
        """The request, None for a stream event."""
        return self.attributes.get("prediction.job_id")

    @property
    def row(self) -> int | None:
        """The row in the request, None if it was never known."""
        return self.attributes.get("prediction.index")

    @property
    def redacted(self) -> tuple[str, ...]:
        """The features that are not in the log as they were."""
        return tuple(self.redaction)

    def fingerprint(self) -> int:
        """Return 64 bits of the content; equal for copies, also for those that were read from different places.

        Resource attributes do not count: a Collector may add some.
        """
        held = sorted((key, repr(value)) for key, value in self.attributes.items())
        whole = repr((self.time_ns, self.severity, self.body, self.trace_id, self.span_id, self.sampled, held))
        return int.from_bytes(hashlib.blake2b(whole.encode(), digest_size=8).digest())


def model_of(scope: dict[str, Any]) -> ModelVersion | None:
    """Return the model that a scope's attributes name, None for a stream's own events."""
    name, version, digest = (scope.get(key) for key in MODEL)
    return ModelVersion(str(name), str(version), str(digest)) if name is not None else None


def check_schema(scope: dict[str, Any]) -> None:
    """Raise UnknownSchemaError unless the record has a published form that this version knows."""
    if (version := scope.get(SCHEMA)) not in SCHEMAS:
        msg = f"a record of schema version {version!r}, wanted one of {SCHEMAS}: read it with a later `predictor`"
        raise UnknownSchemaError(msg)


def check(event: str, attributes: dict[str, Any]) -> None:
    """Raise ValueError unless a record has its number, and a stream event all that the published table says."""
    if not isinstance(number := attributes.get(SEQUENCE), int) or number < 1:
        msg = f"a record with {SEQUENCE} {number!r}, wanted a number from 1 on"
        raise ValueError(msg)
    always = EVENTS.get(event)
    for each in _TABLES.get(event, ()) if always is None else always:
        if each.name not in attributes and always is None:
            continue
        value = attributes.get(each.name)
        if not isinstance(value, _PYTHON[each.type]) or (isinstance(value, int) and abs(value) > _MOST):
            msg = f"{event} with {each.name} {value!r}, wanted {each.type}"
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
