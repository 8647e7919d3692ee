from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor import otlp
from predictor.core.problems import Kind
from predictor.recording import record_schema
from predictor.recording.encoder import RecordEncoder, encode_event, numbered
from predictor.recording.record_schema import Schema
from tests.support.official_otlp import comparable, parsed
from tests.support.sample_predictions import (
    CASES,
    HASHED,
    IRIS,
    KEY_HASHED,
    KEYED,
    MANY,
    OBSERVED_NS,
    PRICE,
    SPECIES,
    failure,
    many,
    origin,
    success,
)

if TYPE_CHECKING:
    from predictor.core.result import ManyPredictions, Prediction

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


_ROWS: dict[str, tuple[Schema, ManyPredictions]] = {
    **MANY,
    "hashed outputs": (HASHED, MANY["flowers"][1]),
    "key": (KEYED, many([[80.0, 3.0, 'A-"1017"'], [1.0, -0.0, 7]], values=[[1.5], [2.5]])),
    "hashed key": (KEY_HASHED, many([[80.0, 3.0, "A-1017"]], values=[[1.5]])),
    "numbers and outliers": (
        PRICE,
        many([[80.0, 3.0], [1.0, 2.0]], values=[[2.5], [1e21]], outliers=[True, False], scores=[-1.0, 0.5]),
    ),
    "many labels": (
        SPECIES,
        many([[1.0], [2.0]], probabilities=[[n / 125250 for n in range(501)]] * 2, labels=[7, 500]),
    ),
    "all outliers": (
        IRIS,
        many(
            [[0.5] * 4] * 2,
            probabilities=[[0.25, 0.5, 0.25]] * 2,
            labels=[1, 1],
            outliers=[True] * 2,
            scores=[-1.0, -2.0],
        ),
    ),
}


@pytest.mark.parametrize("name", _ROWS)
def test_rows_of_a_request_are_written_as_they_are_one_by_one(name: str) -> None:
    """What is put together for all rows of a request are the very records that the plain way makes of each."""
    schema, predictions = _ROWS[name]
    wanted = [generic(schema, each) for each in predictions.all_rows()]
    assert RecordEncoder(schema).encode_rows(predictions, OBSERVED_NS) == wanted


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


@st.composite
def requests(draw: st.DrawFn) -> tuple[Schema, ManyPredictions]:
    """Draw a model's schema and an answered request of many rows."""
    rows = draw(st.integers(1, 12))

    def table(width: int) -> list[list[float]]:
        return draw(st.lists(st.lists(_numbers, min_size=width, max_size=width), min_size=rows, max_size=rows))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    features = tuple(f"f{at}" for at in range(draw(st.integers(1, 5) | st.integers(31, 34))))
    answer: dict[str, object] = {}
    if draw(st.booleans()):
        labels = draw(st.lists(_texts, min_size=2, max_size=4, unique=True))
        schema = Schema(draw(_texts), features, tuple(labels))
        answer["probabilities"] = table(len(labels))
        answer["labels"] = column(st.integers(0, len(labels) - 1))
    else:
        names = tuple(f"prediction.value.v_{at}" for at in range(draw(st.integers(0, 6))))
        schema = Schema(draw(_texts), features, (), values=names, gives="label")
        answer["values"] = table(len(names)) if names else None
        answer["labels"] = column(_texts.filter(bool))
    if draw(st.booleans()):
        answer |= {"outliers": column(st.booleans()), "scores": column(_numbers)}
    source = origin(
        route=draw(_texts.filter(bool)),
        received_ns=draw(st.integers(1, 2**63 - 1)),
        request_id=draw(st.none() | _tokens),
        infer_id=draw(st.none() | _texts.filter(bool)),
        kept=draw(_kept),
    )
    times = {name: draw(_durations) for name in ("queue", "inference", "total")}
    return schema, many(table(len(features)), origin=source, batch_size=draw(st.integers(1, 10_000)), **answer, **times)


@settings(deadline=None, max_examples=60)
@given(requests())
def test_any_request_of_many_rows_is_written_as_the_record_says(drawn: tuple[Schema, ManyPredictions]) -> None:
    """Whatever the model and the rows, each record is the one that the plain way makes of its row."""
    schema, predictions = drawn
    wanted = [generic(schema, each) for each in predictions.all_rows()]
    assert RecordEncoder(schema).encode_rows(predictions, OBSERVED_NS) == wanted
