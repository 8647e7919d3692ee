"""The judge of `make chaos` notices each planted fault, by its kind, and finds nothing in a log that is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chaos import judge
from tests.support.ledger import Answer, Ledger, Record, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.judge import Verdict
    from tests.support.ledger import Key

ROWS = 3
Records = list[Record]


def record(sequence: int, event: str, *, text: str = "", **attributes: Any) -> Record:  # noqa: ANN401 - any attribute
    """Return a record of the stream `s`; `__` stands for a dot in the names of attributes."""
    named = {f"prediction.{name.replace('__', '.')}": value for name, value in attributes.items()}
    whole = {"prediction.stream.sequence": sequence, "event.name": event} | named
    return Record("s", sequence, whole, text or repr(whole))


def prediction(sequence: int, index: int, **changes: Any) -> Record:  # noqa: ANN401 - any attribute
    """Return the record of one row of the job `j`."""
    said: dict[str, Any] = {"job_id": "j", "index": index, "input__width": 1.5, "input__length": float(index)}
    result: dict[str, Any] = {"output": "[0.25,0.75]", "outlier": False, "outlier_score": 0.5}
    return record(sequence, "prediction", **{**said, **result, **changes})


def closed(sequence: int) -> Record:
    """Return the record that ends the stream."""
    return record(sequence, "prediction.stream.closed", stream__reason="crash")


def whole() -> Records:
    """Return a whole stream: opened, three rows, a copy, two lost numbers that are declared, closed."""
    rows = [prediction(2 + index, index) for index in range(ROWS)]
    lost = record(7, "prediction.stream.lost", stream__lost__first=5, stream__lost__last=6)
    return [record(1, "prediction.stream.opened"), *rows, rows[1], lost, closed(8)]


def told() -> dict[Key, Answer]:
    """Return what the callers were told: `j` was answered, `k` was answered as not logged."""
    answers: dict[Key, Answer] = {
        ("j", index): Answer([1.5, float(index)], [0.25, 0.75], outlier=False, score=0.5) for index in range(ROWS)
    }
    return answers | {("k", 0): Answer([1.0, 1.0], [1.0, 0.0], outlier=True, score=-1.0, logged=False)}


def wrong(verdict: Verdict) -> dict[str, int]:
    """Return how much of each kind was found."""
    return {kind: len(found) for kind, found in verdict.findings.items() if found}


def test_what_is_whole_passes() -> None:
    """A stream with all its numbers, identical copies and a declared loss is whole, and counted."""
    verdict = judge.judge(told(), whole())
    assert verdict.whole
    assert (verdict.acknowledged, verdict.records, verdict.copies, verdict.lost) == (ROWS, 6, 1, 2)
    assert verdict.streams == {"crash": 1}


def test_each_record_belongs_to_one_count() -> None:
    """A record is one of an acknowledged row, of a row whose caller had no answer, or of the stream about itself."""
    verdict = judge.judge(told(), [*whole()[:-1], prediction(8, 0, job_id="cut"), closed(9)])
    assert verdict.whole
    assert (verdict.answered, verdict.unanswered, verdict.events) == (ROWS, 1, 3)
    assert verdict.records == ROWS + 1 + 3


PLANTED: dict[str, tuple[Callable[[Records], Records], dict[str, int]]] = {
    "a row is gone with its number": (
        lambda records: [each for each in records if each.sequence != 3],
        {judge.MISSING: 1, judge.GAPS: 1},
    ),
    "the end of a stream is gone": (
        lambda records: [each for each in records if each.sequence < 3],
        {judge.MISSING: 2, judge.OPEN: 1},
    ),
    "a row's number is another event's": (
        lambda records: [*records[:1], record(2, "prediction.stream.status"), *records[2:]],
        {judge.MISSING: 1},
    ),
    "nothing arrived": (lambda _: [], {judge.MISSING: ROWS}),
    "another output": (
        lambda records: [*records[:1], prediction(2, 0, output="[0.25,0.7500001]"), *records[2:]],
        {judge.ALTERED: 1},
    ),
    "another input": (
        lambda records: [*records[:1], prediction(2, 0, input__width=1.6), *records[2:]],
        {judge.ALTERED: 1},
    ),
    "another verdict of the detector": (
        lambda records: [*records[:1], prediction(2, 0, outlier=True), *records[2:]],
        {judge.ALTERED: 1},
    ),
    "logged as a failure": (
        lambda records: [*records[:1], _failed(2, 0), *records[2:]],
        {judge.ALTERED: 1},
    ),
    "logged although the caller was told otherwise": (
        lambda records: [*records[:-1], prediction(8, 0, job_id="k"), closed(9)],
        {judge.UNTOLD: 1},
    ),
    "a row under two numbers": (
        lambda records: [*records[:-1], prediction(8, 0), closed(9)],
        {judge.TWICE: 1},
    ),
    "a copy that differs": (
        lambda records: [*records, records[1]._replace(text="another")],
        {judge.COPIES: 1},
    ),
    "a number is missing": (lambda records: records[1:], {judge.GAPS: 1}),
    "a loss that is not declared": (
        lambda records: [each for each in records if each.sequence != 7],
        {judge.GAPS: 3},
    ),
    "a number declared as lost that is there": (
        lambda records: [*records, record(5, "prediction.stream.status")],
        {judge.GAPS: 1},
    ),
    "not closed": (lambda records: records[:-1], {judge.OPEN: 1}),
    "something behind the end": (
        lambda records: [*records, record(9, "prediction.stream.status")],
        {judge.OPEN: 1},
    ),
}


def _failed(sequence: int, index: int) -> Record:
    made = prediction(sequence, index)
    return made._replace(attributes=made.attributes | {"error.type": "model-failed"})


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_is_found(name: str) -> None:
    """Each planted fault is found as what it is and as often as it is there, and the tests' own check sees it too."""
    spoil, expected = PLANTED[name]
    records = spoil(whole())
    assert wrong(judge.judge(told(), records)) == expected
    with pytest.raises(AssertionError):
        check(Ledger(told()), records)


def test_every_kind_is_planted() -> None:
    """No kind of finding is without a fault that it is there for."""
    planted = {kind for _, expected in PLANTED.values() for kind in expected}
    assert planted | {judge.REFUSED} == set(judge.KINDS)


def test_what_the_sink_refused_must_be_kept() -> None:
    """A refused record is no gap and no missing row if the server keeps it; otherwise it is both."""
    there = [each for each in whole() if each.sequence != 3]
    verdict = judge.judge(told(), there, [prediction(3, 1)], [("s", 3)])
    assert verdict.whole
    assert verdict.refused == 1
    assert wrong(judge.judge(told(), there, [], [("s", 3)])) == {judge.MISSING: 1, judge.GAPS: 1}


@pytest.mark.parametrize(
    ("arrived", "may_refuse", "expected"),
    [
        (whole(), [("s", 3)], {judge.REFUSED: 1, judge.TWICE: 1}),
        ([each for each in whole() if each.sequence != 3], [], {judge.REFUSED: 1}),
    ],
    ids=["the sink has it too", "the sink never refused it"],
)
def test_what_is_kept_without_need_is_found(
    arrived: Records, may_refuse: list[judge.Number], expected: dict[str, int]
) -> None:
    """A record that the server put aside must have been refused, and must not be at the sink."""
    assert wrong(judge.judge(told(), arrived, [prediction(3, 1)], may_refuse)) == expected


def test_what_is_kept_must_be_what_was_answered() -> None:
    """A record that the server put aside is held to the answer like those at the sink."""
    there = [each for each in whole() if each.sequence != 3]
    verdict = judge.judge(told(), there, [prediction(3, 1, output="[1,0]")], [("s", 3)])
    assert wrong(verdict) == {judge.ALTERED: 1}


def test_what_a_power_cut_may_take_is_counted_and_no_more() -> None:
    """A row that may be gone is counted if it is, and is judged like any other if it is there; others are missing."""
    gone = [each for each in whole() if each.attributes.get("prediction.index") != 1]
    may_miss = [key for key in told() if key[1] == 1]
    verdict = judge.judge(told(), gone, may_miss=may_miss)
    assert not verdict.findings[judge.MISSING]
    assert verdict.cut == set(may_miss)
    assert judge.judge(told(), whole(), may_miss=may_miss).cut == set()
    assert len(judge.judge(told(), gone).findings[judge.MISSING]) == 1
