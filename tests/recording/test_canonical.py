"""The canonical content of records, its digests, and the published test vectors."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.recording.canonical import LogRecord, canonical, covered, record_digests, scope_digest
from predictor.recording.encoder import RecordEncoder, numbered
from predictor.recording.record_schema import CHECK, FEEDBACK, MODEL_TABLE, TABLE
from predictor.recording.stream_events import TABLE as EVENTS
from predictor.recording.stream_events import whole
from scripts import digest_vectors
from tests.support import digest_by_hand
from tests.support.sample_predictions import CASES, OBSERVED_NS

_UNCOVERED = ("prediction.stream.digest", "prediction.stream.digest.signature")


def test_the_published_vectors_are_what_the_code_gives() -> None:
    """docs/schema has the vectors of this version of the record."""
    assert digest_vectors.FILE.read_text(encoding="utf-8") == digest_vectors.text()


def test_a_stranger_gets_the_published_digests() -> None:
    """Whoever implements the definition with a standard library alone gets every digest of the vectors."""
    vectors = json.loads(digest_vectors.FILE.read_text(encoding="utf-8"))
    before = []
    for each in vectors["records"]:
        scope, record = each["scope"], each["record"]
        assert digest_by_hand.scope_digest(scope).hex() == each["scope_digest"]
        assert digest_by_hand.content(record, _UNCOVERED).decode() == each["content"]
        assert digest_by_hand.record_digest(scope, record, _UNCOVERED).hex() == each["digest"]
        before.append((scope, record))
    own = before.pop()
    found = digest_by_hand.checkpoint_digest(bytes.fromhex(vectors["beginning"]), before, *own)
    assert found.hex() == vectors["checkpoint"]["digest"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_the_canonical_content(name: str) -> None:
    """The writer hashes the bytes that it wrote: for every kind of record these are what a reader makes of them."""
    schema, prediction = CASES[name]
    record = numbered(7, RecordEncoder(schema).encode([prediction], OBSERVED_NS)[0])
    content = canonical(msgspec.json.decode(record, type=LogRecord))
    assert content == digest_by_hand.content(json.loads(record))
    scope = scope_digest({"prediction.stream.id": "s"})
    hashed = record_digests(scope, [record])
    assert hashed == digest_by_hand.record_digest(
        {"attributes": _pairs({"prediction.stream.id": "s"})}, json.loads(record)
    )
    assert content == record


def _pairs(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_have_one_form(value: float) -> None:
    """Whatever writes records in some later version, a double's text is the published one: digests depend on it."""
    text = msgspec.json.encode(value).decode()
    assert text == digest_by_hand.number(value)
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert float(text) == value


def test_every_published_attribute_is_covered() -> None:
    """A row in one of the tables is all that a new attribute needs to be covered."""
    for table in (TABLE, FEEDBACK, MODEL_TABLE, CHECK, *map(whole, EVENTS)):
        assert all(covered(row.name) for row in table)
    assert not covered("k8s.pod.name")


def test_what_was_seen_before_changes_nothing() -> None:
    """A record's content is the same whatever records came before it: with others' attributes, or times as numbers."""
    schema, prediction = next(iter(CASES.values()))
    plain = numbered(7, RecordEncoder(schema).encode([prediction], OBSERVED_NS)[0])
    record = json.loads(plain)
    added = {"attributes": [*record["attributes"], {"key": "k8s.pod.name", "value": {"stringValue": "pod-0"}}]}
    times = {name: int(record[name]) for name in ("timeUnixNano", "observedTimeUnixNano")}
    for change in ({}, added, {}, times, added, added | times, {}):
        assert canonical(msgspec.json.decode(msgspec.json.encode(record | change), type=LogRecord)) == plain
