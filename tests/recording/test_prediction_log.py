from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource

from predictor import otlp
from predictor.core.problems import Kind
from predictor.core.rate_limit import TokenBucket
from predictor.outbox import OutboxError
from predictor.recording.prediction_log import PredictionLog, RefusalCounter
from predictor.recording.stream import LogStream
from tests.support.sample_predictions import IRIS, MANY, failure, origin, success
from tests.support.server import flatten

if TYPE_CHECKING:
    from predictor.outbox.outbox import OutboxReason


class _Outbox:
    """An outbox that fails when told to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.full: OutboxReason | None = None
        self.syncs = 0

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Take a line or refuse it."""
        if self.full and not urgent:
            raise OutboxError(self.full, "no room")
        self.lines.append(line)

    async def synced(self) -> None:
        """Count."""
        self.syncs += 1

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records but the stream's events."""
        read = [record for line in self.lines for record in flatten(json.loads(line))]
        return [record for record in read if record["eventName"] == "prediction"]


@pytest.fixture
def outbox() -> _Outbox:
    """Return an outbox that takes everything so far."""
    return _Outbox()


@pytest.fixture
def refusals() -> RefusalCounter:
    """Return what the process counts."""
    return RefusalCounter()


def _log(outbox: _Outbox, refusals: RefusalCounter, *, refuses: bool = True, waits: bool = False) -> PredictionLog:
    stream = LogStream("0199", otlp.resource_json(Resource({"service.name": "predictor"})), "1", refuses=refuses)
    stream.open(outbox)
    scope = {"prediction.model.name": "iris"}
    return PredictionLog(IRIS, scope, stream, outbox, refusals, refuses=refuses, waits=waits)  # type: ignore[arg-type]


def test_batch_is_one_line_under_its_model(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """All rows of a batch are written with one append, under the model's scope."""
    assert _log(outbox, refusals).write([success(index=0), success(index=1), failure(Kind.MODEL_FAILED)])
    assert len(outbox.lines) == 2
    assert [record["attributes"]["prediction.stream.sequence"] for record in outbox.records] == [2, 3, 4]
    assert outbox.records[0]["scope"]["attributes"]["prediction.model.name"] == "iris"


def test_what_is_refused_is_counted(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """A row that could not be logged, and a request refused for that beforehand, is counted, never unsaid."""
    log = _log(outbox, refusals)
    assert log.refuse_if_full() is None
    outbox.full = "bytes"
    with pytest.raises(OutboxError):
        log.write([success(index=0), success(index=1)])
    assert refusals.unrecorded == 2
    assert "PREDICTOR_OUTBOX_BYTES" in (log.refuse_if_full() or "")
    assert refusals.unrecorded == 3


@pytest.mark.parametrize("reason", ["bytes", "disk", "sync"])
def test_every_reason_is_a_sentence(outbox: _Outbox, refusals: RefusalCounter, reason: OutboxReason) -> None:
    """Whatever keeps the outbox from taking records, the caller is told in words."""
    outbox.full = reason
    assert "outbox" in (_log(outbox, refusals).refuse_if_full() or "")


def test_losing_policy_refuses_nothing(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """Under `lose` predictions go on, and the answer can say that they were not logged."""
    log = _log(outbox, refusals, refuses=False)
    outbox.full = "disk"
    assert log.refuse_if_full() is None
    assert not log.write([success()])
    assert refusals.unrecorded == 0


def test_requests_without_rows_are_bounded(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """Of requests refused before their rows were known ten a second are recorded, the rest counted: none is unsaid."""
    now = 100.0
    refusals._rate = TokenBucket(10, 10, lambda: now)
    log = _log(outbox, refusals)
    for _ in range(25):
        log.refused(origin(), Kind.INVALID_JSON)
    assert (len(outbox.records), refusals.unrecorded) == (10, 15)
    now += 1
    log.refused(origin(), Kind.INVALID_JSON)
    assert (len(outbox.records), refusals.unrecorded) == (11, 15)
    told = outbox.records[-1]["attributes"]
    assert told["error.type"] == "invalid-json"
    assert not {"prediction.index", "prediction.output"} & set(told)


def test_refusal_that_cannot_be_written_is_counted(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """A refused request whose record the outbox does not take is counted and answered all the same."""
    log = _log(outbox, refusals)
    outbox.full = "disk"
    log.refused(origin(), Kind.INVALID_JSON)
    assert refusals.unrecorded == 1


async def test_waiting_is_the_outboxs(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """Who waits for the disk waits for the outbox's sync; whether callers wait is the setting's."""
    log = _log(outbox, refusals, waits=True)
    assert log.waits
    await log.synced()
    assert outbox.syncs == 1
    assert not _log(outbox, refusals).waits


def test_many_rows_of_a_request_have_a_record_each(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """Rows that come together by column are numbered and written as rows that come one by one, in the same line."""
    schema, predictions = MANY["flowers"]
    assert schema == IRIS
    assert _log(outbox, refusals).write([success(index=0), predictions, success(index=0)])
    assert len(outbox.lines) == 2
    said = [record["attributes"] for record in outbox.records]
    assert [each["prediction.stream.sequence"] for each in said] == [2, 3, 4, 5, 6]
    assert [each["prediction.index"] for each in said] == [0, 0, 1, 2, 0]
    assert predictions.origin.recorded


def test_many_rows_that_are_refused_are_counted(outbox: _Outbox, refusals: RefusalCounter) -> None:
    """Each row of a request that could not be logged is counted."""
    log = _log(outbox, refusals)
    outbox.full = "bytes"
    with pytest.raises(OutboxError):
        log.write([MANY["flowers"][1], success(index=0)])
    assert refusals.unrecorded == 4
