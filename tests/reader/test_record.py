"""Records as readers see them: from lines of OTLP JSON, and as Loki keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from predictor import otlp
from predictor.reader.content import Content
from predictor.reader.model_event import Described
from predictor.reader.record import ModelVersion, UnknownSchemaError
from predictor.reader.sources.loki_record import UnreadableError, entry_of
from predictor.reader.sources.otlp_record import entries
from predictor.recording.canonical import LogRecord
from predictor.recording.encoder import RecordEncoder, numbered
from predictor.recording.record_schema import TABLE
from predictor.recording.stream_events import LostRange, Status, closed, closing_line, lost, opened, status
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, IRIS, Stream, changed, line, pairs
from tests.support.sample_predictions import CASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.reader.record import Entry
    from predictor.recording.record_schema import Attribute

_SCOPE = IRIS | {"prediction.schema_version": 1, "prediction.stream.id": "0199c0de-0000-7000-8000-00000000000a"}
_HEAD = otlp.head("logs", {"resource": {"attributes": []}}, otlp.scope_json("predictor", "1", _SCOPE))
_EVENTS = {
    "opened": opened("s", BASE),
    "lost": lost("s", LostRange(3, 4, "bytes"), BASE),
    "status": status("s", Status(1, 2.5, 3, 4), 5, BASE),
    "closed": closed("s", BASE),
}


def refuse(what: str) -> None:
    """Raise what is wrong with a record."""
    raise ValueError(what)


def one(text: bytes) -> Entry:
    """Return the only record of a line."""
    (entry,) = entries(text, refuse)
    return entry


def from_loki(text: bytes, types: dict[str, str] | None = None, values: Sequence[str] = ()) -> Entry:
    """Return the only record of a line after it went through Loki; `types` and `values` are the model's, if known."""
    with Loki() as loki:
        loki.add(text)
        (stored,) = loki.entries
    entry = entry_of(
        stored.time_ns,
        stored.line,
        stored.metadata | {"service_name": "predictor"},
        lambda *_: Described(types or {}, values),
    )
    assert entry
    return entry


def written(name: str) -> bytes:
    """Return a line with one record, of the server's own writing."""
    if name in _EVENTS:
        return otlp.line(_HEAD, [numbered(7, _EVENTS[name])])
    schema, prediction = CASES[name]
    return otlp.line(_HEAD, [numbered(7, RecordEncoder(schema).encode([prediction], BASE)[0])])


def test_all_of_a_record() -> None:
    """A reader has every field and attribute of a record, with the types of the published table."""
    stream = Stream()
    stream.opened()
    record = stream.prediction(2, job="0199c0de-0000-7000-8000-000000000001", index=3)
    entry = one(line(stream.id, [record]))
    assert (entry.stream, entry.sequence, entry.event) == (stream.id, 2, "prediction")
    assert (entry.time_ns, entry.observed_ns) == (BASE + 1_000_000, BASE + 1_500_000)
    assert (entry.severity, entry.body, entry.sampled) == ("INFO", "virginica 0.800", False)
    assert (entry.trace_id, entry.span_id) == (f"{2:032x}", f"{2:016x}")
    assert entry.model == ModelVersion("iris", "1", "sha256:" + "ab" * 32)
    assert str(entry.model) == "iris@1"
    assert entry.resource == {"service.name": "predictor"}
    assert (entry.job_id, entry.row) == ("0199c0de-0000-7000-8000-000000000001", 3)
    types = {key: type(value) for key, value in entry.attributes.items()}
    assert types["prediction.stream.sequence"] is types["prediction.batch.size"] is int
    assert types["prediction.outlier"] is bool
    assert types["prediction.outlier_score"] is float
    assert types["prediction.output"] is str


@pytest.mark.parametrize("name", [*CASES, *_EVENTS])
def test_loki_keeps_the_record(name: str) -> None:
    """A record that comes back from Loki is equal to the one that was written, value by value and type by type."""
    here = one(written(name))
    inputs = {key: value for key, value in here.attributes.items() if key.startswith("prediction.input.")}
    kinds = {bool: "bool", int: "int", float: "double", str: "string"}
    types = {key.removeprefix("prediction.input."): kinds[type(value)] for key, value in inputs.items()}
    if name in CASES:  # in the order of the row, with those that are not logged as they are
        types = {alias: types.get(alias, "double") for alias in CASES[name][0].features}
    values = [key.removeprefix("prediction.value.") for key in here.attributes if key.startswith("prediction.value.")]
    there = from_loki(written(name), types, values)
    assert {key: repr(value) for key, value in there.attributes.items()} == {
        key: repr(value) for key, value in here.attributes.items()
    }
    assert there.content.digest() == here.content.digest()
    assert not there.content.doubt
    same = Content(b"", LogRecord)
    assert there._replace(resource={}, attributes={}, content=same) == here._replace(
        resource={}, attributes={}, content=same
    )


def test_closing_line() -> None:
    """The closing record that the next process writes is one of the dead stream."""
    entry = one(closing_line(_HEAD, 9))
    assert (entry.stream, entry.sequence) == (_SCOPE["prediction.stream.id"], 9)
    assert entry.attributes["prediction.stream.reason"] == "crash"


def test_others_records() -> None:
    """Records of other programs in the same file, or the same line, are passed over."""
    stream = Stream()
    ours = json.loads(line(stream.id, [stream.opened()]))
    record: dict[str, Any] = {"body": {"kvlistValue": {"values": []}}, "attributes": pairs({"prediction.job_id": "no"})}
    theirs = {"resource": {}, "scopeLogs": [{"scope": {"name": "x"}, "logRecords": [record]}, {"logRecords": [{}]}]}
    data = {"resourceLogs": [theirs, *ours["resourceLogs"], theirs]}
    assert [entry.sequence for entry in entries(json.dumps(data).encode(), pytest.fail)] == [1]
    assert not [*entries(b'{"resourceSpans":[{"scopeSpans":[]}]}\n', pytest.fail)]


@pytest.mark.parametrize("version", [0, 2, 99])
def test_unknown_schema(version: int) -> None:
    """A record of a form that this version does not know is refused by a sentence, from every source."""
    stream = Stream()
    text = line(stream.id, [stream.opened()], schema=version)
    with pytest.raises(UnknownSchemaError, match=rf"schema version {version}, wanted 1: read"):
        one(text)
    with pytest.raises(UnknownSchemaError, match=rf"schema version {version}"):
        from_loki(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"resourceLogs":1}',
        b'{"resourceLogs":' + b"[" * 100_000,
        b"\xff",
        b'{"resourceLogs":[{"resource":0}]}',
    ],
)
def test_not_otlp(text: bytes) -> None:
    """What is no line of OTLP JSON is a ValueError with a sentence."""
    with pytest.raises(ValueError, match="not a line of OTLP JSON logs"):
        [*entries(text, pytest.fail)]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"stream__sequence": "7"}, "sequence '7', wanted a number from 1 on"),
        ({"stream__sequence": 0}, "sequence 0, wanted a number from 1 on"),
        ({"stream__lost__first": "x"}, "lost.first 'x', wanted int"),
    ],
)
def test_record_without_what_proves(change: dict[str, Any], wanted: str) -> None:
    """A record whose number, or an event whose own words, cannot be read is damaged and no crash."""
    stream = Stream()
    text = line(stream.id, [changed(stream.lost(1, 2), **change)])
    with pytest.raises(ValueError, match=wanted):
        one(text)


_VALUES: dict[str, Any] = {"string": "x", "int": 1, "double": 0.5, "bool": True}
_TAKEN = {"string": ("string",), "int": ("int",), "double": ("double", "int"), "bool": ("bool",)}


@pytest.mark.parametrize("attribute", [each for each in TABLE if each.type != "any" and "<" not in each.name])
def test_types(attribute: Attribute) -> None:
    """An attribute of a prediction with a value of another type than the published one is damage, with any other."""
    for kind, value in _VALUES.items():
        stream, found = Stream(), list[str]()
        record = stream.prediction()
        others = [each for each in record["attributes"] if each["key"] != attribute.name]
        record["attributes"] = others + pairs({attribute.name: value})
        read = entries(line(stream.id, [record]), found.append)
        assert [bool(read), not found] == [kind in _TAKEN[attribute.type]] * 2, kind


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809"])
def test_integer_too_large(number: str) -> None:
    """An integer that has no 64 bits is damage, whatever its attribute."""
    stream = Stream()
    record = stream.prediction()
    record["attributes"].append({"key": "prediction.input.x", "value": {"intValue": number}})
    with pytest.raises(ValueError, match=f"prediction.input.x {number}, wanted int"):
        one(line(stream.id, [record]))


def test_scope_that_cannot_be_read() -> None:
    """What a scope says wrongly costs its own records, and not those of the line's other scopes."""
    good, bad = Stream(seed=1), Stream(seed=2)
    texts = [line(good.id, [good.opened()]), line(bad.id, bad.predictions(2), scope={"prediction.redaction": "x"})]
    groups = [json.loads(text)["resourceLogs"][0] for text in texts]
    found = list[str]()
    read = entries(json.dumps({"resourceLogs": groups}).encode(), found.append)
    assert [entry.stream for entry in read] == [good.id]
    assert len(found) == 2, found


def test_damaged_in_loki() -> None:
    """A value that the published table does not allow is unreadable, and said with stream and time."""
    with Loki() as loki:
        stream = Stream()
        loki.add(line(stream.id, [stream.prediction()]))
        (stored,) = loki.entries
    for key, value in {
        "prediction_outlier": "maybe",
        "prediction_confidence": "high",
        "prediction_stream_sequence": "",
    }.items():
        with pytest.raises(UnreadableError, match=f"a record of stream {stream.id} at {stored.time_ns}"):
            entry_of(stored.time_ns, stored.line, stored.metadata | {key: value})
    assert entry_of(1, "", {"service_name": "predictor"}) is None


def test_redacted() -> None:
    """Which features are not in the log as they were is told, and their hashes are texts, also after Loki."""
    stream = Stream()
    record = stream.prediction(
        input__sepal_length=None, hashed_input__sepal_length="0123456789abcdef", input__hashed=0.5
    )
    text = line(stream.id, [record], scope={"prediction.redaction": '{"sepal_length":"hash","sepal_width":"drop"}'})
    for entry in (one(text), from_loki(text)):
        assert entry.redaction == {"sepal_length": "hash", "sepal_width": "drop"}
        assert entry.attributes["prediction.hashed_input.sepal_length"] == "0123456789abcdef"
        assert entry.attributes["prediction.input.hashed"] == 0.5
        assert "prediction.input.sepal_length" not in entry.attributes
    with pytest.raises(ValueError, match="wanted a JSON object of names"):
        one(line(stream.id, [record], scope={"prediction.redaction": "sepal"}))


def test_feedback_in_loki() -> None:
    """Feedback has its types after Loki too."""
    stream = Stream()
    text = line(stream.id, [stream.feedback("job", 1, label="virginica", value=2.0, comment="true")])
    assert from_loki(text).attributes == one(text).attributes


def test_fingerprint() -> None:
    """Copies have one fingerprint though a Collector added to their resource; any other difference gives another."""
    stream = Stream()
    spaced = line(stream.id, [stream.prediction(outlier=False, outlier_score=0.0)])
    text = json.dumps(json.loads(spaced), separators=(",", ":")).encode()
    entry = one(text)
    assert one(spaced).fingerprint() == entry.fingerprint()
    copy = text.replace(
        b'"resource":{"attributes":[', b'"resource":{"attributes":[{"key":"pod","value":{"intValue":"1"}},'
    )
    assert one(copy).resource != entry.resource
    assert one(copy).fingerprint() == entry.fingerprint()
    changes = [
        (b'"body":{"stringValue":"', b'"body":{"stringValue":"x'),
        (b'"timeUnixNano":"1', b'"timeUnixNano":"2'),
        (b'"observedTimeUnixNano":"1', b'"observedTimeUnixNano":"2'),
        (b'"severityText":"INFO"', b'"severityText":"WARN"'),
        (b'"severityNumber":9', b'"severityNumber":13'),
        (b'"traceId":"0', b'"traceId":"a'),
        (b'"spanId":"0', b'"spanId":"a'),
        (b'"prediction.index","value":{"intValue":"0"', b'"prediction.index","value":{"intValue":"1"'),
        (b'"prediction.outlier","value":{"boolValue":false', b'"prediction.outlier","value":{"boolValue":true'),
        (
            b'"prediction.model.version","value":{"stringValue":"1"',
            b'"prediction.model.version","value":{"stringValue":"2"',
        ),
        (
            b'"prediction.outlier_score","value":{"doubleValue":0.0',
            b'"prediction.outlier_score","value":{"doubleValue":-0.0',
        ),
    ]
    others = [text.replace(here, there, 1) for here, there in changes]
    assert all(other != text for other in others)
    assert len({one(each).fingerprint() for each in [text, *others]}) == 1 + len(others)
