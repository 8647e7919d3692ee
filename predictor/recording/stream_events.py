"""Stream events as records: their names, THE table of their attributes, and their bytes (all but the number)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from predictor import otlp
from predictor.recording import checkpoints, record_schema
from predictor.recording.encoder import encode_event, numbered
from predictor.recording.record_schema import Attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from predictor.recording.checkpoints import Interval

EVENTS = "prediction.stream."
"""What the names of all events of a stream begin with."""
OPENED, STATUS = "prediction.stream.opened", "prediction.stream.status"
LOST, CLOSED = "prediction.stream.lost", "prediction.stream.closed"

SEQUENCE = record_schema.TABLE[0]
EVENT_NAME = Attribute("event.name", "string", "the event's name; again as an attribute, since Loki drops the field")
TABLE: Mapping[str, tuple[Attribute, ...]] = {
    OPENED: (),
    STATUS: (
        Attribute("prediction.stream.backlog.size", "int", "bytes that the sink has not accepted yet"),
        Attribute("prediction.stream.backlog.age", "double", "seconds since the oldest of them was written"),
        Attribute("prediction.stream.lost.count", "int", "records declared lost so far"),
        Attribute("prediction.stream.rejected.count", "int", "records that the sink refused so far, for their content"),
        Attribute("prediction.stream.unrecorded.count", "int", "refused rows and requests without a record so far"),
    ),
    LOST: (
        Attribute("prediction.stream.lost.first", "int", "first number that is lost"),
        Attribute("prediction.stream.lost.last", "int", "last number that is lost"),
        Attribute(
            "prediction.stream.reason",
            "string",
            "`bytes`: outbox full; `disk`: it failed, or a file went; `sync`: too slow",
        ),
    ),
    CLOSED: (Attribute("prediction.stream.reason", "string", "`shutdown`, or `crash` if the next process wrote it"),),
}
"""What stands beside SEQUENCE and EVENT_NAME, which every event has."""
PREVIOUS = Attribute(
    "prediction.stream.previous",
    "string",
    "streams that ended on this outbox before, as a JSON array; absent if there were not any",
)
CHECKPOINT: tuple[Attribute, ...] = (
    Attribute(checkpoints.FIRST, "int", "the number of the last checkpoint, else 1"),
    Attribute(checkpoints.LAST, "int", "the number before this one"),
    Attribute(checkpoints.COUNT, "int", "records that were written from first to last"),
    Attribute(checkpoints.PREVIOUS, "string", "the digest of the last checkpoint, or of the stream's id"),
    Attribute(checkpoints.KEY_ID, "string", "16 hexadecimal digits of the key that signed; absent without a signature"),
    Attribute(checkpoints.DIGEST, "string", "SHA-256 of that digest, of these records and of this one"),
    Attribute(checkpoints.SIGNATURE, "string", "Ed25519 signature of the digest in Base64; absent without a key"),
)
"""What a checkpoint says; docs/evidence.md describes it."""
OPTIONAL: Mapping[str, tuple[Attribute, ...]] = {OPENED: (PREVIOUS,), STATUS: CHECKPOINT, LOST: (), CLOSED: CHECKPOINT}
"""What stands after TABLE's, in most."""


def whole(name: str) -> tuple[Attribute, ...]:
    """Return all attributes that an event may have, in their order."""
    return (SEQUENCE, *TABLE[name], *OPTIONAL[name], EVENT_NAME)


class LostRange(NamedTuple):
    """Numbers given to records that could not be written."""

    first: int
    last: int
    reason: str


class Status(NamedTuple):
    """What a status event says beside the stream's own numbers; the counts are the process's."""

    backlog_bytes: int = 0
    backlog_age: float = 0.0
    rejected: int = 0
    unrecorded: int = 0


def opened(stream_id: str, now_ns: int, previous: str = "") -> bytes:
    """Return the event that begins a stream; `previous` names those before it, as JSON."""
    pairs = {"prediction.stream.previous": previous} if previous else {}
    return _event(OPENED, pairs, f"stream {stream_id} opened", record_schema.INFO, now_ns)


def lost(stream_id: str, numbers: LostRange, now_ns: int) -> bytes:
    """Return the event that declares a range of numbers lost; whoever closes a dead process's stream has no id."""
    first, last, reason = numbers
    pairs = {
        "prediction.stream.lost.first": first,
        "prediction.stream.lost.last": last,
        "prediction.stream.reason": reason,
    }
    stream = f"stream {stream_id}".rstrip()
    return _event(LOST, pairs, f"{stream} lost records {first} to {last}: {reason}", record_schema.ERROR, now_ns)


def status(
    stream_id: str, says: Status, lost_count: int, now_ns: int, checkpoint: Mapping[str, Any] | None = None
) -> bytes:
    """Return the event that says how a stream stands; `checkpoint` is from `sealing` and `sealed`."""
    pairs = {
        "prediction.stream.backlog.size": says.backlog_bytes,
        "prediction.stream.backlog.age": says.backlog_age,
        "prediction.stream.lost.count": lost_count,
        "prediction.stream.rejected.count": says.rejected,
        "prediction.stream.unrecorded.count": says.unrecorded,
    }
    body = (
        f"stream {stream_id}: backlog {says.backlog_bytes} bytes, {says.backlog_age:.0f} s old, "
        f"lost {lost_count}, rejected {says.rejected}, unrecorded {says.unrecorded}"
    )
    return _event(STATUS, {**pairs, **(checkpoint or {})}, body, record_schema.INFO, now_ns)


def closed(stream_id: str, now_ns: int, checkpoint: Mapping[str, Any] | None = None) -> bytes:
    """Return the event that ends a stream; `checkpoint` as in `status`."""
    pairs = {"prediction.stream.reason": "shutdown", **(checkpoint or {})}
    return _event(CLOSED, pairs, f"stream {stream_id} closed: shutdown", record_schema.INFO, now_ns)


def sealing(interval: Interval, key_id: str | None) -> dict[str, Any]:
    """Return what a checkpoint says of its interval, all but the digest and its signature."""
    pairs = {
        checkpoints.FIRST: interval.first,
        checkpoints.LAST: interval.last,
        checkpoints.COUNT: interval.records,
        checkpoints.PREVIOUS: interval.previous.hex(),
    }
    return pairs | ({checkpoints.KEY_ID: key_id} if key_id else {})


def sealed(digest: bytes, signature: str | None) -> dict[str, Any]:
    """Return the rest of a checkpoint."""
    return {checkpoints.DIGEST: digest.hex()} | ({checkpoints.SIGNATURE: signature} if signature else {})


def closing_line(event_head: bytes, sequence: int, undeclared: Iterable[tuple[int, int, str]] = ()) -> bytes:
    """Return the last line of a stream whose process died, from number `sequence` on, under its own resource and scope.

    It declares what the process lost and did not declare, and then closes the stream.
    """
    now_ns = time.time_ns()
    pairs = {"prediction.stream.reason": "crash"}
    rests = [lost("", LostRange(*numbers), now_ns) for numbers in undeclared]
    rests.append(_event(CLOSED, pairs, "stream closed: crash", record_schema.WARN, now_ns))
    return otlp.line(event_head, [numbered(sequence + at, rest) for at, rest in enumerate(rests)])


def _event(name: str, pairs: dict[str, Any], body: str, severity: tuple[int, str], now_ns: int) -> bytes:
    return encode_event(
        attributes=pairs | {"event.name": name},
        body=body,
        severity=severity,
        event_name=name,
        time_ns=now_ns,
        observed_ns=now_ns,
    )
