"""The canonical content of a record and its digest: the part of it that outbox, Collector files and Loki all give back.

It is the record as the outbox holds it, so the writer hashes the bytes that it wrote. docs/evidence.md defines it, and
docs/schema/digest-vectors-1.json has test vectors.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from predictor import otlp
from predictor.recording.record_scope import SCOPE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PREFIX = "prediction."
OTHERS = frozenset({"http.route", "error.type", "event.name"})
"""The attributes of records whose names do not begin with PREFIX."""
_REPLACEMENT = "\ufffd".encode()
_LEAD = _REPLACEMENT[:1]
"""A byte is found ten times as fast as several."""
_seen: set[str] = set()
_MOST_SEEN = 10_000
_sha256 = hashlib.sha256
_encode = msgspec.json.Encoder().encode
# What has more bits cannot be written again.
_Int32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


# `gc=False`: some fifty of these are made a record, none can be part of a cycle, and the collector would visit each.
class Value(msgspec.Struct, omit_defaults=True, gc=False):
    """An AnyValue of one of the four kinds that records have."""

    stringValue: str | None = None  # noqa: N815 - OTLP's name, as all below
    boolValue: bool | None = None  # noqa: N815
    intValue: str | _Int64 | None = None  # noqa: N815
    doubleValue: float | str | None = None  # noqa: N815


class Pair(msgspec.Struct, gc=False):
    """An attribute."""

    key: str
    value: Value = msgspec.field(default_factory=Value)


class LogRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """A record with its fields in the order of the outbox; what stands at its default is left out when written."""

    attributes: list[Pair] = []
    severityText: str = ""  # noqa: N815
    severityNumber: _Int32 = 0  # noqa: N815
    timeUnixNano: str | int = 0  # noqa: N815
    observedTimeUnixNano: str | int = 0  # noqa: N815
    body: Value = msgspec.field(default_factory=Value)
    eventName: str = ""  # noqa: N815
    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    flags: _Int32 = 0


_decode = msgspec.json.Decoder(LogRecord).decode


def covered(name: str) -> bool:
    """Tell whether an attribute of a record is covered; others are what a Collector may add."""
    return name.startswith(PREFIX) or name in OTHERS


def canonical(record: LogRecord, *, without: Collection[str] = ()) -> bytes:
    """Return the canonical content of a record, perhaps without some of its attributes.

    Attributes that are not covered are left out, and U+FFFD is a space: Loki does not keep it.
    """
    if not without and _as_written(record):
        text = _encode(record)
    else:
        pairs = [pair for pair in record.attributes if covered(pair.key) and pair.key not in without]
        text = _encode(LogRecord(pairs, *_fields(record)))
    return text.replace(_REPLACEMENT, b" ") if _LEAD in text and _REPLACEMENT in text else text


def _as_written(record: LogRecord) -> bool:
    """Tell whether a record is its own canonical content: nothing is to be left out, and its times are texts.

    Names are few and come again with each record, so they are remembered: to look at each costs three times as much.
    """
    if type(record.timeUnixNano) is not str or type(record.observedTimeUnixNano) is not str:
        return False
    names = [pair.key for pair in record.attributes]
    if _seen.issuperset(names):
        return True
    if not all(map(covered, names)):
        return False
    if len(_seen) < _MOST_SEEN:
        _seen.update(names)
    return True


def _fields(record: LogRecord) -> tuple[Any, ...]:
    """Return the fields after the attributes; 64-bit integers are texts."""
    return (
        record.severityText,
        record.severityNumber,
        str(record.timeUnixNano),
        str(record.observedTimeUnixNano),
        record.body,
        record.eventName,
        record.traceId,
        record.spanId,
        record.flags,
    )


def scope_digest(pairs: Mapping[str, Any]) -> bytes:
    """Return the digest of a scope's attributes: 32 bytes, the beginning of what is hashed of each of its records."""
    known = {name: pairs[name] for name in SCOPE_NAMES if pairs.get(name) not in {None, ""}}
    return _sha256(_encode(otlp.attributes(known)).replace(_REPLACEMENT, b" ")).digest()


SCOPE_NAMES = tuple(each.name for each in SCOPE)


def record_digest(scope: bytes, content: bytes) -> bytes:
    """Return the digest of a record: 32 bytes, of its scope's digest and its canonical content."""
    return _sha256(scope + content).digest()


def record_digests(scope: bytes, records: Sequence[bytes]) -> bytes:
    """Return the digests of records as this program writes them, one after the other."""
    whole = b"".join(records)
    if _LEAD in whole and _REPLACEMENT in whole:  # rare
        records = [record.replace(_REPLACEMENT, b" ") for record in records]
    return b"".join([_sha256(scope + record).digest() for record in records])
