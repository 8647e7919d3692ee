"""Compares what callers were told with what the sink has, and counts every way in which they can differ.

It takes records as `tests/support/ledger.py` and `tests/support/loki_client.py` read them, which is plain JSON; no
code of the server's.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.ledger import Answer

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from tests.support.ledger import Key, Record

Number = tuple[str, int]
"""A stream and a number in it."""

MISSING = "acknowledged rows that are missing"
ALTERED = "rows that are logged otherwise than answered"
UNTOLD = "rows that are logged although the answer said that they are not"
TWICE = "rows under two numbers"
COPIES = "copies of a number that differ"
GAPS = "numbers missing in a stream"
REFUSED = "records refused, and stored or never refused by the sink"
OPEN = "streams that are not closed"
KINDS = (MISSING, ALTERED, UNTOLD, TWICE, COPIES, GAPS, REFUSED, OPEN)
_EVENT, _PREDICTION = "event.name", "prediction"


@dataclass
class Verdict:
    """What is wrong, by kind, and how much there was to judge."""

    findings: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    acknowledged: int = 0
    records: int = 0
    answered: int = 0
    """Records of rows that were acknowledged as logged."""
    unanswered: int = 0
    """Records of rows whose caller had no prediction in answer."""
    events: int = 0
    """Records of the streams about themselves."""
    copies: int = 0
    lost: int = 0
    """Numbers that the streams declare as lost."""
    refused: int = 0
    """Records that the sink refused and the server keeps."""
    cut: set[Key] = field(default_factory=set)
    """Rows that went with a power cut, as its server's mode of fsync allows."""
    streams: Counter[str] = field(default_factory=Counter)
    """By the reason of their closing record."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.findings.values())


def judge(
    answers: Mapping[Key, Answer],
    arrived: Iterable[Record],
    kept: Iterable[Record] = (),
    may_refuse: Iterable[Number] = (),
    may_miss: Container[Key] = (),
) -> Verdict:
    """Compare the ledger with what arrived at the sink.

    `kept` are records that the servers keep as refused by the sink, `may_refuse` what it did refuse, `may_miss` the
    rows that a power cut may have taken.
    """
    verdict = Verdict(acknowledged=sum(answer.logged for answer in answers.values()))
    streams = _by_stream(arrived, verdict)
    refused = {record[:2]: record for record in kept}
    verdict.refused = len(refused)
    allowed = set(may_refuse)
    for number in refused:
        if number not in allowed:
            verdict.findings[REFUSED].append(f"{_name(number)} was not refused by the sink")
        if number[1] in streams.get(number[0], {}):
            verdict.findings[REFUSED].append(f"{_name(number)} is at the sink too")
    for stream, records in streams.items():
        _judge_stream(stream, records, {number for name, number in refused if name == stream}, verdict)
    every = [record for records in streams.values() for record in records.values()]
    _count(answers, every, verdict)
    _judge_rows(answers, [*every, *refused.values()], may_miss, verdict)
    return verdict


def _count(answers: Mapping[Key, Answer], records: Iterable[Record], verdict: Verdict) -> None:
    for record in records:
        if record.attributes[_EVENT] != _PREDICTION:
            verdict.events += 1
        elif (answer := answers.get(_key(record))) is None:
            verdict.unanswered += 1
        else:
            verdict.answered += answer.logged


def _key(record: Record) -> Key:
    return record.attributes["prediction.job_id"], record.attributes.get("prediction.index")


def _by_stream(arrived: Iterable[Record], verdict: Verdict) -> dict[str, dict[int, Record]]:
    streams: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in arrived:
        numbers = streams[record.stream]
        if (first := numbers.get(record.sequence)) is None:
            numbers[record.sequence] = record
            verdict.records += 1
            continue
        verdict.copies += 1
        if first.text != record.text:
            verdict.findings[COPIES].append(f"{_name(record[:2])}:\n{first.text}\n{record.text}")
    return streams


def _judge_stream(stream: str, records: Mapping[int, Record], refused: set[int], verdict: Verdict) -> None:
    declared: set[int] = set()
    for record in records.values():
        if record.attributes[_EVENT] == "prediction.stream.lost":
            first, last = (record.attributes[f"prediction.stream.lost.{end}"] for end in ("first", "last"))
            declared |= set(range(first, last + 1))
    verdict.lost += len(declared)
    last = records[max(records)]
    absent = set(range(1, last.sequence + 1)) - records.keys() - declared - refused
    verdict.findings[GAPS] += [_name((stream, number)) for number in sorted(absent)]
    verdict.findings[GAPS] += [
        f"{_name((stream, number))} is declared as lost and is there" for number in sorted(declared & records.keys())
    ]
    if last.attributes[_EVENT] == "prediction.stream.closed":
        verdict.streams[last.attributes["prediction.stream.reason"]] += 1
    else:
        verdict.findings[OPEN].append(f"{stream} ends with {last.sequence}, {last.attributes[_EVENT]}")


def _judge_rows(
    answers: Mapping[Key, Answer], records: Iterable[Record], may_miss: Container[Key], verdict: Verdict
) -> None:
    logged: dict[Key, Record] = {}
    for record in records:
        if record.attributes[_EVENT] != _PREDICTION:
            continue
        key = _key(record)
        if (other := logged.setdefault(key, record)) is not record:
            verdict.findings[TWICE].append(f"{key}: {_name(other[:2])} and {_name(record[:2])}")
    for key, answer in answers.items():
        found = logged.get(key)
        if found is None:
            if answer.logged and key in may_miss:
                verdict.cut.add(key)
            elif answer.logged:
                verdict.findings[MISSING].append(f"{key}: {answer}")
        elif not answer.logged:
            verdict.findings[UNTOLD].append(f"{key}: {_name(found[:2])}")
        elif (said := _said(found)) != answer:
            verdict.findings[ALTERED].append(f"{key}: {_name(found[:2])}\nanswered {answer}\nlogged   {said}")


def _said(record: Record) -> Answer | str:
    """Return what a record says was answered, or as which failure it is logged."""
    was = record.attributes
    if "error.type" in was:
        return str(was["error.type"])
    return Answer(
        [value for name, value in was.items() if name.startswith("prediction.input.")],
        json.loads(was["prediction.output"]),
        was["prediction.outlier"],
        was["prediction.outlier_score"],
    )


def _name(number: Number) -> str:
    return f"{number[0]}/{number[1]}"
