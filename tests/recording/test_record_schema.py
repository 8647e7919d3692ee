from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor import otlp
from predictor.core.problems import Kind
from predictor.outbox import OutboxError
from predictor.recording import record_schema
from predictor.recording.encoder import RecordEncoder
from predictor.recording.record_scope import SCOPE
from predictor.recording.rows_encoder import RowsEncoder
from predictor.recording.stream import LogStream
from predictor.recording.stream_events import (
    CHECKPOINT,
    EVENT_NAME,
    OPTIONAL,
    PREVIOUS,
    SEQUENCE,
    TABLE,
    Status,
    closing_line,
    whole,
)
from tests.support.official_otlp import RESOURCE, VERSION, Logger, comparable, parsed
from tests.support.sample_predictions import (
    CASES,
    IRIS,
    JOB,
    MANY,
    OBSERVED_NS,
    RECEIVED_NS,
    ROW,
    SPAN_ID,
    TRACE_ID,
    failure,
    origin,
    success,
)
from tests.support.server import attributes, flatten

if TYPE_CHECKING:
    from predictor.core.result import ManyPredictions, Prediction
    from predictor.recording.record_schema import Attribute, Schema

_PATH = Path(__file__).parents[2] / "docs" / "record.md"
_PAGE = _PATH.read_text(encoding="utf-8")
_STREAM = "0199c0de-0000-7000-8000-00000000abcd"
_MODEL = {
    "prediction.model.name": "iris",
    "prediction.model.version": "1",
    "prediction.model.digest": "sha256:00ff",
}
_REDACTION = ("prediction.redaction", "prediction.redaction.outputs", "prediction.redaction.key_id")
_SCOPE = _MODEL | {"prediction.schema_version": 1, "prediction.stream.id": _STREAM}
_TYPES: dict[str, set[type]] = {
    "int": {int},
    "double": {float},
    "string": {str},
    "bool": {bool},
    "any": {int, float, str, bool},
}


class _Lines(list[bytes]):
    """A log that takes everything, until it is told not to."""

    fails = False

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Take a line."""
        if self.fails and not urgent:
            raise OutboxError("disk", "no")  # noqa: EM101 - the reason is a word, not a message
        super().append(line)


def _stream(lines: _Lines) -> LogStream:
    stream = LogStream(_STREAM, otlp.resource_json(RESOURCE), VERSION, refuses=False, now_ns=lambda: OBSERVED_NS)
    stream.open(lines)
    return stream


def _written(schema: Schema, prediction: Prediction) -> bytes:
    """Return the line that the server writes for one prediction, the second record of its stream."""
    lines = _Lines()
    stream = _stream(lines)
    stream.append(stream.head(_MODEL), RecordEncoder(schema).encode([prediction], OBSERVED_NS))
    return lines[1]


def _emitted(schema: Schema, prediction: Prediction) -> str:
    """Return what the SDK's logger and the official encoder make of the same prediction."""
    source = prediction.origin
    return (
        Logger(_SCOPE)
        .emit(
            name="prediction",
            attributes={"prediction.stream.sequence": 2} | record_schema.attributes(schema, prediction),
            body=record_schema.body(schema, prediction),
            severity=record_schema.severity(prediction),
            times=(source.received_ns, OBSERVED_NS),
            ids=(source.trace_id, source.span_id, source.kept is not None),
        )
        .encoded()
    )


def written_many(schema: Schema, many: ManyPredictions, bound: int = 1 << 20) -> bytes:
    """Return the line that the server writes for a request of several rows, all of them in one record if they fit."""
    lines = _Lines()
    stream = _stream(lines)
    records = RowsEncoder(schema, bound, RecordEncoder(schema)).encode(many, OBSERVED_NS)
    stream.append(stream.head(_MODEL | _redaction(schema)), records)
    return lines[1]


def _redaction(schema: Schema) -> dict[str, str]:
    """Return what a record's scope says of features that are not logged as they are."""
    if schema.redaction is None:
        return {}
    hashed = {schema.features[at]: "hash" for at in schema.redaction.hashed}
    dropped = {schema.features[at]: "drop" for at in schema.redaction.dropped}
    return {"prediction.redaction": json.dumps(dropped | hashed)}


def told_many(schema: Schema, many: ManyPredictions) -> list[dict[str, Any]]:
    """Return the records of a request of several rows."""
    return flatten(parsed(written_many(schema, many)))


def _told(schema: Schema, prediction: Prediction) -> dict[str, Any]:
    (told,) = flatten(parsed(_written(schema, prediction)))
    return told


def test_record_says_what_is_known_of_a_prediction() -> None:
    """An outlier of a sampled request has these very fields, and no others."""
    prediction = success(outlier=True, score=-0.25, origin=origin(kept="head", request_id="r-1"))
    told = _told(IRIS, prediction)
    assert told.pop("resource")["service.name"] == "predictor"
    assert told.pop("scope") == {"name": "predictor", "version": VERSION, "attributes": _SCOPE}
    assert told == {
        "timeUnixNano": str(RECEIVED_NS),
        "observedTimeUnixNano": str(OBSERVED_NS),
        "severityNumber": 13,
        "severityText": "WARN",
        "eventName": "prediction",
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "flags": 1,
        "body": {"stringValue": f"OUTLIER virginica 0.972 iris@1 job={JOB} 1.2 ms"},
        "attributes": {
            "prediction.stream.sequence": 2,
            "prediction.job_id": JOB,
            "prediction.index": 0,
            "prediction.input.sepal_length": 6.7,
            "prediction.input.sepal_width": 3.0,
            "prediction.input.petal_length": 5.2,
            "prediction.input.petal_width": 2.3,
            "prediction.output": "[0.0074,0.0211,0.9715]",
            "prediction.label": "virginica",
            "prediction.confidence": 0.9715,
            "prediction.outlier": True,
            "prediction.outlier_score": -0.25,
            "prediction.duration.queue": 0.00025,
            "prediction.duration.inference": 0.0005,
            "prediction.duration.total": 0.0012,
            "prediction.batch.size": 3,
            "prediction.request_id": "r-1",
            "http.route": "/predict",
            "prediction.kept": "head",
            "event.name": "prediction",
        },
    }


def test_failure_says_only_what_is_known() -> None:
    """A request that was refused before its rows were known has neither index nor input nor output."""
    told = _told(IRIS, failure(Kind.INVALID_DATA))
    assert told["attributes"] == {
        "prediction.stream.sequence": 2,
        "prediction.job_id": JOB,
        "prediction.duration.total": 10.0,
        "http.route": "/predict",
        "error.type": "invalid-data",
        "event.name": "prediction",
    }
    assert told["body"] == {"stringValue": f"invalid-data iris@1 job={JOB} 10000.0 ms"}
    assert (told["severityText"], told["severityNumber"]) == ("WARN", 13)
    assert told["traceId"] == TRACE_ID
    assert "flags" not in told


@pytest.mark.parametrize("kind", Kind)
def test_severity_follows_whose_fault_it_was(kind: Kind) -> None:
    """The caller's fault is a warning, the server's an error."""
    expected = (13, "WARN") if 400 <= kind.status < 500 else (17, "ERROR")
    assert record_schema.severity(failure(kind)) == expected


def test_severity_of_a_usual_prediction() -> None:
    """A prediction is information, with a detector or without."""
    assert record_schema.severity(success()) == record_schema.severity(success(outlier=None, score=None)) == (9, "INFO")


def test_wide_row_is_one_text() -> None:
    """Up to 32 features have an attribute each, more are one JSON text of whole values, with the hash of all."""
    schema, prediction = CASES["wide"]
    assert prediction.features is not None
    told = _told(schema, prediction)["attributes"]
    assert json.loads(told["prediction.input_json"]) == list(prediction.features)
    assert not any(name.startswith("prediction.input.") for name in told)

    narrow = schema._replace(features=schema.features[:32])
    told = _told(narrow, success(features=prediction.features[:32], probabilities=[0.25, 0.75], label=1))["attributes"]
    assert sum(name.startswith("prediction.input.") for name in told) == 32
    assert "prediction.input_json" not in told

    schema, prediction = CASES["cut"]
    told = _told(schema, prediction)["attributes"]
    whole = json.dumps(prediction.features, separators=(",", ":"))
    assert prediction.features
    held = told["prediction.input_json"]
    assert json.loads(held) == list(prediction.features)[: len(json.loads(held))]
    assert (32 << 10) - 32 < len(held) <= 32 << 10
    assert told["prediction.input_truncated"] is True
    assert told["prediction.input_sha256"] == hashlib.sha256(whole.encode()).hexdigest()


@pytest.mark.parametrize("name", CASES)
def test_line_is_what_the_sdk_would_have_written(name: str) -> None:
    """The SDK's logger and the official encoder give the same line, whatever the prediction."""
    schema, prediction = CASES[name]
    assert comparable(parsed(_written(schema, prediction))) == _emitted(schema, prediction)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.none() | st.tuples(st.booleans(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    st.lists(st.text(min_size=1, max_size=20), min_size=3, max_size=3),
)
def test_any_prediction_is_written_as_the_sdk_would_have(
    features: list[float], probabilities: list[float], verdict: tuple[bool, float] | None, labels: list[str]
) -> None:
    """Whatever the numbers and labels, our line is the SDK's."""
    outlier, score = verdict or (None, None)
    label = probabilities.index(max(probabilities))
    prediction = success(
        features=features,
        probabilities=probabilities,
        label=label,
        outlier=outlier,
        score=score,
        total=probabilities[0],
    )
    schema = IRIS._replace(labels=tuple(labels))
    assert comparable(parsed(_written(schema, prediction))) == _emitted(schema, prediction)


# Stream events
def _events() -> list[bytes]:
    """Return a line of every stream event, after real ways to it."""
    lines = _Lines()
    stream = _stream(lines)
    stream.status(Status(backlog_bytes=1024, backlog_age=2.5, rejected=1, unrecorded=3))
    rests = RecordEncoder(IRIS).encode([success()], OBSERVED_NS)
    lines.fails = True
    stream.append(stream.head(_MODEL), rests)
    lines.fails = False
    stream.append(stream.head(_MODEL), rests)
    stream.close()
    lines.append(closing_line(stream.event_head, stream.sequence))
    return [line for line in lines if _MODEL["prediction.model.digest"].encode() not in line]


def test_stream_events_are_what_the_sdk_would_have_written() -> None:
    """Each stream event's line is the SDK's own, under the stream's scope without a model's attributes."""
    for line in _events():
        data = parsed(line)
        (told,) = flatten(data)
        scope = {"prediction.schema_version": 1, "prediction.stream.id": _STREAM}
        emitted = Logger(scope).emit(
            name=told["eventName"],
            attributes=told["attributes"],
            body=told["body"]["stringValue"],
            severity=(told["severityNumber"], told["severityText"]),
            times=(int(told["timeUnixNano"]), int(told["observedTimeUnixNano"])),
        )
        assert comparable(data) == emitted.encoded()


# The published table
def _matches(row: Attribute, name: str, value: object) -> bool:
    pattern = re.sub("<(feature|name)>", "[a-z_][a-z0-9_]*", re.escape(row.name))
    return re.fullmatch(pattern, name) is not None and type(value) in _TYPES[row.type]


def test_table_is_the_record() -> None:
    """Every attribute that is written stands in the table with its type, and each of the table's is written."""
    written = [
        item for schema, prediction in CASES.values() for item in _told(schema, prediction)["attributes"].items()
    ]
    written += [item for case in MANY.values() for told in told_many(*case) for item in told["attributes"].items()]
    for name, value in written:
        assert any(_matches(row, name, value) for row in record_schema.TABLE), (
            f"{name} = {value!r} is not in record.TABLE"
        )
    for row in record_schema.TABLE:
        assert any(_matches(row, name, value) for name, value in written), f"{row.name} is never written"


def _family(name: str) -> str:
    return re.sub(r"^(prediction\.value)\..*", r"\1.<name>", name)


def test_table_is_the_order_of_the_record() -> None:
    """The table lists the attributes in the order in which a record has them."""
    rows = [row.name for row in record_schema.TABLE]
    for schema, prediction in CASES.values():
        places = [
            # features stand in the order of the row, whether they are told or hashed
            rows.index(re.sub(r"^prediction\.(hashed_)?input\..*", "prediction.input.<feature>", _family(name)))
            for name in _told(schema, prediction)["attributes"]
        ]
        assert places == sorted(places)


def test_tables_of_events_are_the_events() -> None:
    """Every event is written with its table's attributes, in their order, of their types; others are optional."""
    seen = set()
    for line in _events():
        (told,) = flatten(parsed(line))
        always = {SEQUENCE, *TABLE[told["eventName"]], EVENT_NAME}
        rows = [row for row in whole(told["eventName"]) if row in always or row.name in told["attributes"]]
        assert [row.name for row in rows] == list(told["attributes"])
        assert all(_matches(row, *item) for row, item in zip(rows, told["attributes"].items(), strict=True))
        assert told["attributes"]["event.name"] == told["eventName"]
        seen.add(told["eventName"])
    assert seen == set(TABLE)


def _published(heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table under a heading of docs/record.md."""
    section = re.split(r"^#+ .*\n", _PAGE[_PAGE.index(f"# {heading}\n") :], flags=re.MULTILINE)[1]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line) for line in lines[2:]]


def _rows(table: tuple[Attribute, ...]) -> list[tuple[str, ...]]:
    return [(f"`{row.name}`", row.type, row.meaning) for row in table]


def test_page_holds_the_table() -> None:
    """docs/record.md publishes the attributes with their types and meanings, in the order of the code."""
    assert _published("Attributes of a prediction") == _rows(record_schema.TABLE)


@pytest.mark.parametrize("event", TABLE)
def test_page_holds_the_stream_events(event: str) -> None:
    """docs/record.md publishes the attributes of each stream event."""
    assert _published(f"`{event}`") == _rows(TABLE[event] or OPTIONAL[event])
    assert all(f"`{row.name}`" in _PAGE for row in (SEQUENCE, EVENT_NAME))


def test_page_holds_the_checkpoints() -> None:
    """docs/record.md publishes what a checkpoint says, and what names streams before one."""
    assert _published("Checkpoints") == _rows(CHECKPOINT)
    assert _published("`prediction.stream.opened`") == _rows((PREVIOUS,))
    assert {row for rows in OPTIONAL.values() for row in rows} == {PREVIOUS, *CHECKPOINT}


def test_page_holds_the_scope() -> None:
    """docs/record.md publishes the attributes of the scope, and the version that they have."""
    assert _published("Scope") == _rows(SCOPE)
    assert {row.name for row in SCOPE} == {*_SCOPE, *_REDACTION}
    assert f"`prediction.schema_version` | int | {record_schema.SCHEMA_VERSION}" in _PAGE


def test_page_holds_every_error() -> None:
    """docs/record.md lists each value of `error.type` that docs/http.md gives a record, with its HTTP status."""
    page = _PATH.with_name("http.md").read_text(encoding="utf-8")
    recorded = set(re.findall(r"^\| `([\w-]+)`[^|]*\| one", page, re.MULTILINE))
    rows = [(f"`{kind.word}`", str(kind.status), kind.title) for kind in Kind if kind.word in recorded]
    assert 10 < len(rows) < len(Kind)
    assert _published("`error.type`") == rows


def test_page_shows_a_record_as_it_is_written() -> None:
    """The example in docs/record.md is a line that the server writes."""
    example = _PAGE.split("```json\n")[1].split("```")[0]
    shown = json.loads(example)
    lines = _Lines()
    stream = _stream(lines)
    stream.append(stream.head(_MODEL), RecordEncoder(IRIS).encode([success(features=ROW)], OBSERVED_NS))
    written = parsed(lines[1])["resourceLogs"][0]["scopeLogs"][0]
    assert comparable(shown) == comparable(written["logRecords"][0])
    assert attributes(shown["attributes"])["prediction.label"] == "virginica"
