"""The planted feedback: right, wrong, repeated, late, of rows and versions beside each other, and about nothing.

| place | rows | what is said of them, three minutes later |
|---|---|---|
| 0 | each fourth | the label that was logged: right |
| 1 | each third | another label: wrong; one of them is corrected by another replica |
| 2 | all but each fourth | twice or more: corrected to right, corrected to wrong, the same again |
| 3 | each second | a number, or a comment alone |
| 4 | all of churn | a label |
| 6 | the one that failed | a label, which no prediction belongs to |
| 8 | two rows of one request, by a newer version | a label of the second, told to a server of the older version |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from predictor.core.result import Feedback, Origin
from tests.stack.planting import BEGIN, CHURN, IRIS, IRIS_2, MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.planting import Model

LATER = 3
"""Minutes until the truth is known."""
UNKNOWN = "0199c0de-0000-7000-b000-000000000000"
"""A job that nobody has predicted."""


class Said(NamedTuple):
    """What a caller says, and the model that the server has which is told."""

    label: str | None = None
    model: Model = IRIS
    row: int = 0
    value: float | None = None
    comment: str | None = None


def job(minute: int, place: int) -> str:
    """Return the job in this place of a minute."""
    return f"0199c0de-0000-7000-9000-{minute * 10 + place:012d}"


def due(minute: int) -> Iterator[tuple[Feedback, Model]]:
    """Yield the feedback that the busy pod gets in a minute, and the model that it has then."""
    told = [(job(minute - LATER, place), said) for place in range(9) for said in _of(minute - LATER, place)]
    if minute == LATER:
        told += [(UNKNOWN, Said("setosa")), (UNKNOWN, Said("virginica")), (UNKNOWN, Said(comment="who?"))]
    for place, (about, said) in enumerate(told):
        yield _feedback(about, said, minute, place)


def corrected() -> tuple[Feedback, Model]:
    """Return what another replica is told in minute 9: what was said of a row in minute 1 is wrong, it was right."""
    minute, place = 1, 1
    return _feedback(job(minute, place), Said(_labels(minute, place)[0]), 9, 0)


def _feedback(about: str, said: Said, minute: int, place: int) -> tuple[Feedback, Model]:
    ids = f"{7000 + minute * 100 + place:x}"
    at = BEGIN + minute * MINUTE + (40 + place) * SECOND
    call = Origin(ids.zfill(32), ids.zfill(16), "/feedback/{job_id}", at, 0.0)
    return Feedback(about, said.row, call, said.label, said.value, said.comment), said.model


def _labels(minute: int, place: int) -> list[str]:
    """Return the labels, the one that was logged first."""
    return [IRIS.schema.labels[(minute * 10 + place + shift) % 3] for shift in range(3)]


def _of(minute: int, place: int) -> list[Said]:
    """Return what is said of a row, one after the other."""
    logged, wrong, other = _labels(minute, place)
    often = [[], [wrong, logged], [logged, wrong, other], [logged, logged]]
    number = Said(value=minute / 4) if minute % 4 == 1 else Said(comment="cannot tell")
    table = {
        0: [Said(logged, IRIS_2)] if minute % 4 == 1 else [],
        1: [Said(wrong, comment="it is not")] if minute % 3 == 1 else [],
        2: [Said(label) for label in often[minute % 4]],
        3: [number] if minute % 2 else [],
        4: [Said(CHURN.schema.labels[minute % 2], CHURN)] if minute % 5 == 0 else [],
        6: [Said(logged)] if minute == 10 else [],
        8: [Said(wrong if minute % 2 else logged, row=1)] if minute % 5 == 1 else [],  # that row is logged as `wrong`
    }
    return table.get(place, []) if minute >= 0 else []
