"""A prediction log with known contents, written by the server's own code under a clock of its own, pushed into Loki.

Twenty minutes of records end at `END`; what each query must answer follows from what is planted, see `facts`.

| stream | what is planted |
|---|---|
| alive | two models, outliers, errors, rows beyond the training range, feedback; a tenth and all feedback sent twice |
| closed | ended by a shutdown, with a declared loss |
| crashed | ended by a crash, two records refused by the sink |
| holes | open, three numbers missing at two places |
| silent | silent for ten minutes after a status with a backlog |
| brief | started and shut down, without a prediction |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.core.problems import Kind
from predictor.core.result import Feedback, Origin, Prediction
from tests.stack import planted_feedback
from tests.stack.planting import BEGIN, CHURN, ELSEWHERE, IRIS_2, MINUTE, MINUTES, PRICE, SECOND, Stream

if TYPE_CHECKING:
    from predictor.core.result import Kept


def row(minute: int, place: int, **changes: object) -> Prediction:
    """Return a prediction of iris; its numbers follow from the minute and its place in it."""
    count = minute * 10 + place
    sure = 0.5 + count % 50 / 100
    label = count % 3
    probabilities = [(1 - sure) / 2] * 3
    probabilities[label] = sure
    fields: dict[str, object] = {
        "job_id": f"0199c0de-0000-7000-9000-{count:012d}",
        "origin": origin(minute, place),
        "index": 0,
        "features": (5.0 + count % 7 / 2, 3.0, 1.0 + count % 9 / 4, 0.25),
        "probabilities": probabilities,
        "label": label,
        "outlier": count % 7 == 0,
        "score": -0.25 if count % 7 == 0 else 0.5,
        "queue": count % 11 / 1024,
        "inference": count % 5 / 512,
        "total": 0.001 + count % 13 / 256,
        "batch_size": 1,
    }
    return Prediction(**(fields | changes))  # type: ignore[arg-type]


def origin(minute: int, place: int) -> Origin:
    """Return the request that comes in this place of a minute; every fifth leaves a span."""
    count = minute * 10 + place
    kept: Kept | None = "head" if count % 5 == 0 else None
    at = BEGIN + minute * MINUTE + (place * 5 + 1) * SECOND
    return Origin(f"{count + 1:032x}", f"{count + 1:016x}", "/predict", at, 0.0, kept=kept)


def alive() -> Stream:
    """Return the stream of the busy pod."""
    stream = Stream(1, "predictor-0")
    for minute in range(MINUTES):
        for place in range(4):
            stream.predict(row(minute, place))
        if minute % 5 == 0:
            rows = {"features": (40.0,), "probabilities": [0.25, 0.75], "label": 1, "outlier": None, "score": None}
            stream.predict(row(minute, 4, **rows), CHURN)
        if minute % 5 == 2:
            numbers = {"features": (80.0,), "probabilities": None, "label": None, "outlier": None, "score": None}
            stream.predict(row(minute, 9, values=[100.0 + minute * 7 % 5], **numbers), PRICE)
        if minute % 4 == 0:
            job = f"0199c0de-0000-7000-a000-{minute:012d}"
            stream.predict(Prediction(job, origin(minute, 5), total=0.002, error=Kind.INVALID_DATA))
        if minute == 10:
            failed = {"probabilities": None, "label": None, "outlier": None, "score": None, "error": Kind.MODEL_FAILED}
            kept = origin(minute, 6)
            kept.kept = "error"
            stream.predict(row(minute, 6, origin=kept, **failed))
        if minute % 5 == 1:
            stream.predict(row(minute, 8), IRIS_2)
            label = (minute * 10 + 8 + 1) % 3
            stream.predict(row(minute, 8, index=1, label=label), IRIS_2)
        for feedback in planted_feedback.due(minute):
            stream.feedback(*feedback)
        stream.status(minute, backlog_bytes=5000 - minute, backlog_age=0.5, unrecorded=min(minute, 7))
    return stream


def closed() -> Stream:
    """Return the stream of a pod that lost three records, said so, and was shut down."""
    stream = Stream(2, "predictor-1")
    for minute in range(6):
        stream.full = minute == 3
        for place in range(3):
            stream.predict(row(minute, place))
        stream.full = False
        stream.status(minute)
    stream.log.close()
    return stream


def crashed() -> Stream:
    """Return the stream of a process that was killed; the sink refused two of its records."""
    stream = Stream(3, "predictor-2")
    for minute in range(8):
        for place in range(2):
            stream.dropping = minute == 4
            stream.predict(row(minute, place))
        stream.dropping = False
        stream.status(minute, rejected=2 if minute >= 5 else 0)
    stream.crash(8)
    return stream


def holes() -> Stream:
    """Return an open stream of which three records are missing: two beside each other, and one."""
    stream = Stream(4, "predictor-2")
    for minute in range(10, MINUTES):
        for place in range(2):
            stream.dropping = minute == 12 or (minute, place) == (15, 1)
            stream.predict(row(minute, place))
        stream.dropping = False
        stream.status(minute)
    return stream


def silent() -> Stream:
    """Return a stream that fell silent with records on its disk."""
    stream = Stream(5, "predictor-3")
    for minute in range(MINUTES - 10):
        stream.predict(row(minute, 7))
        if minute == MINUTES - 11:
            stream.feedback(*planted_feedback.corrected())
        stream.status(minute, backlog_bytes=5000 * minute, backlog_age=60.0 * minute)
    return stream


def brief() -> Stream:
    """Return the stream of a server that was started and ended in the same minute."""
    stream = Stream(7, "predictor-4")
    stream.now += SECOND
    stream.log.close()
    return stream


def elsewhere() -> Stream:
    """Return a stream of another namespace, which no query may count."""
    stream = Stream(6, "other-0", ELSEWHERE)
    stream.predict(row(1, 1))
    stream.status(1, backlog_bytes=10**9, backlog_age=10.0**6, rejected=1000, unrecorded=1000)
    return stream


def long(number: int, records: int) -> Stream:
    """Return a stream of so many numbers in a namespace of its own; one in the middle is missing."""
    stream = Stream(number, "predictor-0", f"long-{number}")
    for sequence in range(2, records + 1):
        stream.dropping = sequence == records // 2
        stream.predict(row(sequence % MINUTES, 1))
    return stream


def judged(number: int, rows: int) -> Stream:
    """Return a stream of so many predictions in a namespace of its own; every second is right, as one minute tells."""
    stream = Stream(number, "predictor-0", f"judged-{number}")
    for place in range(rows):
        job = f"0199c0de-0000-7000-9000-{place:012d}"
        call = origin(3, place % 10)
        stream.predict(row(0, 0, job_id=job, origin=call))
        stream.feedback(Feedback(job, 0, call, label=("setosa", "virginica")[place % 2]))
    return stream


def plant() -> list[Stream]:
    """Return all streams."""
    return [alive(), closed(), crashed(), holes(), silent(), brief(), elsewhere()]


def copies(streams: list[Stream]) -> list[bytes]:
    """Return what is sent once more: a tenth of the first stream, and its feedback."""
    return [line for place, line in enumerate(streams[0].sent) if place % 10 == 0 or b"prediction.feedback" in line]
