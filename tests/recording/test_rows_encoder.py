"""Many rows in one record: read back they are what records of their own would have, and no record is too large."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from predictor.reader.rows import rows_of
from predictor.reader.sources.otlp_record import entries
from predictor.recording import record_schema
from predictor.recording.encoder import RecordEncoder, encode_event
from predictor.recording.rows_encoder import RowsEncoder
from tests.recording.test_record_schema import written_many
from tests.support.sample_predictions import DROPPED, HEAVY, IRIS, LONG, MANY, OBSERVED_NS, TYPED, many
from tests.support.server import attributes

if TYPE_CHECKING:
    from predictor.core.result import ManyPredictions
    from predictor.reader.record import Entry
    from predictor.recording.record_schema import Schema


def read(line: bytes) -> list[Entry]:
    """Return the records of a line."""
    return entries(line, pytest.fail)


def rows(line: bytes) -> list[Entry]:
    """Return the rows of all records of a line."""
    return [row for entry in read(line) for row in rows_of(entry)]


def alone(schema: Schema, predictions: ManyPredictions, at: int) -> dict[str, Any]:
    """Return the attributes of a row in a record of its own, without its number."""
    (record,) = RecordEncoder(schema).encode([predictions.row(at)], OBSERVED_NS)
    return attributes(json.loads(b'{"attributes":[' + record)["attributes"])


@pytest.mark.parametrize("name", MANY)
def test_rows_are_read_as_their_own_records(name: str) -> None:
    """Each row of a record has, read back, the very attributes that a record of its own has."""
    schema, predictions = MANY[name]
    found = rows(written_many(schema, predictions))
    assert len(found) == len(predictions.features)
    for at, row in enumerate(found):
        wanted = alone(schema, predictions, at)
        told = {key: value for key, value in row.attributes.items() if key != "prediction.stream.sequence"}
        if schema.wide:  # by name here, as one text there
            texts = json.loads(wanted.pop("prediction.input_json"))
            wanted |= {f"prediction.input.{key}": value for key, value in zip(schema.features, texts, strict=True)}
        assert told == wanted
        assert [math.copysign(1, each) for each in told.values() if each == 0] == [
            math.copysign(1, wanted[key]) for key, each in told.items() if each == 0
        ]


@pytest.mark.parametrize("name", MANY)
def test_a_record_of_many_is_written_as_an_encoder_would(name: str) -> None:
    """Put together of pieces, a record is what an encoder of JSON makes of its attributes in the order of the table."""
    schema, predictions = MANY[name]
    (written,) = RowsEncoder(schema, 1 << 20, RecordEncoder(schema)).encode(predictions, OBSERVED_NS)
    (entry,) = read(written_many(schema, predictions))
    said = {key: value for key, value in entry.attributes.items() if key != "prediction.stream.sequence"}
    order = [each.name for each in record_schema.TABLE]
    assert [*said] == sorted(said, key=order.index)
    source = predictions.origin
    outlier = any(predictions.outliers or ())
    rows = len(predictions.features)
    headline = f"{'OUTLIER ' if outlier else ''}{rows} row{'' if rows == 1 else 's'}"
    assert written == encode_event(
        attributes=said,
        body=f"{headline} {schema.model} job={predictions.job_id} {predictions.total * 1000:.1f} ms",
        severity=record_schema.WARN if outlier else record_schema.INFO,
        event_name=record_schema.EVENT_NAME,
        time_ns=source.received_ns,
        observed_ns=OBSERVED_NS,
        trace=(source.trace_id, source.span_id, bool(source.kept)),
    )


def test_what_a_record_of_many_says_of_all() -> None:
    """A record has its first row and how many they are, its labels with their counts, and which are outliers."""
    (entry,) = read(written_many(*MANY["flowers"]))
    said = entry.attributes
    assert (said["prediction.index"], said["prediction.rows"]) == (0, 3)
    assert json.loads(said["prediction.labels"]) == ["virginica", "setosa", "virginica"]
    assert json.loads(said["prediction.label_counts"]) == {"virginica": 2, "setosa": 1}
    assert json.loads(said["prediction.outliers"]) == [1]
    assert json.loads(said["prediction.inputs"])["sepal_width"] == [3.0, 3.5, 0.2]
    assert [*json.loads(said["prediction.outputs"])] == list(IRIS.labels)
    assert (entry.severity, entry.body.partition(" iris@1")[0]) == ("WARN", "OUTLIER 3 rows")


@pytest.mark.parametrize("bound", [1024, 4096, 40_960])
def test_records_have_a_bound(bound: int) -> None:
    """As many rows as fit are one record, the next ones another; nothing is cut, and every row is there once."""
    count = 1000
    numbers: list[list[Any]] = [[at / 7, at / 3, -at / 11, 1e-5 * at] for at in range(count)]
    predictions = many(
        numbers,
        probabilities=[[at / count / 3, 1 - at / count, at / count / 3] for at in range(count)],
        labels=[at % 3 for at in range(count)],
        outliers=[at % 100 == 0 for at in range(count)],
        scores=[at / 13 for at in range(count)],
    )
    line = written_many(IRIS, predictions, bound)
    sizes = [
        sum(len(value) for key, value in entry.attributes.items() if isinstance(value, str) and value[:1] in "[{")
        for entry in read(line)
    ]
    assert max(sizes) <= bound
    assert sum(sizes[1:-1]) > 0.7 * bound * (len(sizes) - 2)  # no record is much smaller than it could be
    found = rows(line)
    assert [row.row for row in found] == [*range(count)]
    assert [row.attributes["prediction.input.sepal_width"] for row in found] == [row[1] for row in numbers]
    assert [at for at, row in enumerate(found) if row.attributes["prediction.outlier"]] == [*range(0, count, 100)]


def test_a_row_that_does_not_fit_has_its_own_record() -> None:
    """A row beyond the bound is not cut with others: it has the record that it has alone."""
    texts: list[list[object]] = [["a"] * 33, [LONG * 9] * 33, ["b"] * 33]
    line = written_many(HEAVY, many(texts, probabilities=[[0.5, 0.5]] * 3, labels=[0, 1, 0]), bound=4096)
    first, second, third = read(line)
    assert [each.attributes.get("prediction.rows") for each in (first, second, third)] == [1, None, 1]
    assert second.attributes["prediction.input_truncated"] is True
    assert [each.row for each in (first, second, third)] == [0, 1, 2]


def test_dropped_outputs_are_nowhere() -> None:
    """What is kept out of the log is in no list and no count."""
    (entry,) = read(written_many(*MANY["dropped outputs"]))
    assert DROPPED.redaction
    text = " ".join(map(str, entry.attributes.values()))
    assert "virginica" not in text + entry.body
    assert "0.9715" not in text
    assert entry.attributes["prediction.outliers"] == "[1]"


def test_columns_that_are_none() -> None:
    """A record whose columns have not as many values as it has rows is no record, and one sentence says so."""
    (entry,) = read(written_many(TYPED, many([["a", 1, True, 0.5]], probabilities=[[0.5, 0.5]], labels=[0])))
    for count in (-1, 0, 1 << 40):
        with pytest.raises(ValueError, match=rf"a record of {count} rows, wanted 1 to 65536"):
            [*rows_of(entry._replace(attributes=entry.attributes | {"prediction.rows": count}))]
        assert len(entry._replace(attributes=entry.attributes | {"prediction.rows": count}).identities) <= 1 << 16
    for broken in ('{"city":[]}', '{"city":1}', "{"):
        with pytest.raises(ValueError, match=r"columns cannot be read|has not 1 values"):
            [*rows_of(entry._replace(attributes=entry.attributes | {"prediction.inputs": broken}))]
