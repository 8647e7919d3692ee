from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor import otlp
from predictor.core.problems import Kind
from predictor.recording import record_schema
from predictor.recording.encoder import RecordEncoder, encode_event, numbered
from predictor.recording.record_schema import Schema
from tests.support.official_otlp import comparable, parsed
from tests.support.sample_predictions import CASES, OBSERVED_NS, failure, origin, success

if TYPE_CHECKING:
    from predictor.core.result import Prediction

_HEAD = otlp.head("logs", {"resource": {}}, {"name": "predictor"})


def generic(schema: Schema, prediction: Prediction) -> bytes:
    """Return the record as the plain functions of `record` say it."""
    source = prediction.origin
    return encode_event(
        attributes=record_schema.attributes(schema, prediction),
        body=record_schema.body(schema, prediction),
        severity=record_schema.severity(prediction),
        event_name=record_schema.EVENT_NAME,
        time_ns=source.received_ns,
        observed_ns=OBSERVED_NS,
        trace=(source.trace_id, source.span_id, source.kept is not None),
    )


@pytest.mark.parametrize("name", CASES)
def test_fast_path_writes_what_the_record_says(name: str) -> None:
    """The template writes the very bytes of the plain way, whatever the prediction."""
    schema, prediction = CASES[name]
    assert RecordEncoder(schema).encode([prediction], OBSERVED_NS) == [generic(schema, prediction)]


def test_batch_of_successes_and_failures_keeps_its_order() -> None:
    """Numbers are encoded once for a whole batch, and each record gets its own."""
    schema = CASES["normal"][0]
    batch = [
        success(index=0, features=(1.0, 2.0, 3.0, 4.0), probabilities=[0.1, 0.2, 0.7], score=0.5, queue=1e-3),
        failure(Kind.MODEL_FAILED, index=1, features=(9.0, 9.0, 9.0, 9.0)),
        success(index=2, features=(5.0, 6.0, 7.0, 8.0), probabilities=[0.8, 0.15, 0.05], label=0, score=-2.5),
        success(index=3, outlier=None, score=None),
    ]
    assert RecordEncoder(schema).encode(batch, OBSERVED_NS) == [generic(schema, each) for each in batch]


def test_nothing_to_encode_is_nothing() -> None:
    """An empty batch gives no records."""
    assert RecordEncoder(CASES["normal"][0]).encode([], OBSERVED_NS) == []


_numbers = st.floats(allow_nan=False, allow_infinity=False)
_durations = st.floats(0, 1e6)
_texts = st.text(max_size=12)
_tokens = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20)
_kept = st.sampled_from([None, "head", "outlier", "error", "slow"])


@st.composite
def batches(draw: st.DrawFn) -> tuple[Schema, list[Prediction]]:
    """Draw a model's schema and some of its predictions."""
    width = draw(st.integers(1, 5) | st.integers(31, 34))
    labels = draw(st.lists(_texts, min_size=2, max_size=4, unique=True))
    schema = Schema(draw(_texts), tuple(f"f{index}" for index in range(width)), tuple(labels))
    detector = draw(st.booleans())

    def one(index: int) -> Prediction:
        source = origin(
            trace_id=f"{draw(st.integers(1, 2**128 - 1)):032x}",
            span_id=f"{draw(st.integers(1, 2**64 - 1)):016x}",
            route=draw(_texts.filter(bool)),
            received_ns=draw(st.integers(1, 2**63 - 1)),
            request_id=draw(st.none() | _tokens),
            kept=draw(_kept),
        )
        features = draw(st.lists(_numbers, min_size=width, max_size=width))
        if kind := draw(st.none() | st.sampled_from(Kind)):
            known = {"index": index, "features": features} if draw(st.booleans()) else {}
            return failure(kind, origin=source, total=draw(_durations), **known)
        return success(
            origin=source,
            index=index,
            features=features,
            probabilities=draw(st.lists(_numbers, min_size=len(labels), max_size=len(labels))),
            label=draw(st.integers(0, len(labels) - 1)),
            outlier=draw(st.booleans()) if detector else None,
            score=draw(_numbers) if detector else None,
            queue=draw(_durations),
            inference=draw(_durations),
            total=draw(_durations),
            batch_size=draw(st.integers(1, 10_000)),
        )

    return schema, [one(index) for index in range(draw(st.integers(1, 4)))]


@settings(deadline=None, max_examples=60)
@given(batches())
def test_any_batch_is_written_as_the_record_says(batch: tuple[Schema, list[Prediction]]) -> None:
    """Whatever the model and its predictions, fast and plain way agree and the official bindings read the line."""
    schema, predictions = batch
    records = RecordEncoder(schema).encode(predictions, OBSERVED_NS)
    assert records == [generic(schema, each) for each in predictions]
    line = parsed(otlp.line(_HEAD, [numbered(7 + offset, rest) for offset, rest in enumerate(records)]))
    written = line["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    for number, (each, prediction) in enumerate(zip(written, predictions, strict=True), start=7):
        said = {"prediction.stream.sequence": number} | record_schema.attributes(schema, prediction)
        assert comparable(each["attributes"]) == comparable(otlp.attributes(said))
