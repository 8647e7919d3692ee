"""What the row `Feedback` of the dashboard `predictions` must answer to the planted records, joined in plain Python."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.stack.answers import Answer, Asked, one, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.planting import Fact

Row = tuple[str, int]
MODEL = ("prediction_model_name", "prediction_model_version", "prediction_model_digest")
_LABEL, _VALUE = "prediction_feedback_label", "prediction_feedback_value"


def _row(fact: Fact) -> Row:
    return fact.values["prediction_job_id"], fact.values["prediction_index"]


def _rows(asked: Asked, facts: list[Fact]) -> dict[Row, Fact]:
    """Return the last of these records of each row in the sample."""
    some = [fact for fact in facts if re.fullmatch(asked.sample, fact.values["prediction_job_id"])]
    return {_row(fact): fact for fact in sorted(some, key=lambda fact: fact.time)}


def _feedback(asked: Asked, *having: str) -> dict[Row, Fact]:
    told = [fact for fact in feedback(asked) if any(name in fact.values for name in having)]
    return _rows(asked, told)


def _of_models(asked: Asked, which: Callable[[list[Row]], float | None]) -> Answer:
    """Return a number of each model's rows."""
    models: dict[frozenset[tuple[str, str]], list[Row]] = {}
    for row, fact in _rows(asked, asked.answered()).items():
        models.setdefault(frozenset((name, fact.values[name]) for name in MODEL), []).append(row)
    numbers = {model: which(rows) for model, rows in models.items()}
    return {model: number for model, number in numbers.items() if number is not None}


def _covered(asked: Asked, rows: list[Row]) -> float:
    return len(set(rows) & set(_feedback(asked, _LABEL, _VALUE))) / len(rows)


def _coverage(asked: Asked) -> Answer:
    rows = list(_rows(asked, asked.answered()))
    return one(_covered(asked, rows)) if rows else {}


def _judged(asked: Asked) -> dict[Row, tuple[Fact, str]]:
    """Return the predictions with a true label, and that."""
    labels = _feedback(asked, _LABEL)
    rows = _rows(asked, asked.answered())
    return {row: (rows[row], labels[row].values[_LABEL]) for row in rows if row in labels}


def _accuracy(asked: Asked, rows: list[Row]) -> float | None:
    judged = _judged(asked)
    right = [fact.values["prediction_label"] == label for fact, label in (judged[row] for row in rows if row in judged)]
    return sum(right) / len(right) if right else None


def _confusion(asked: Asked) -> Answer:
    pairs = Counter(
        (" ".join(fact.values[name] for name in MODEL[:2]) + ": " + fact.values["prediction_label"], label)
        for fact, label in _judged(asked).values()
    )
    return {frozenset({("logged", logged), ("truly", truly)}): float(many) for (logged, truly), many in pairs.items()}


def _stray(asked: Asked) -> Answer:
    everything = _rows(asked, asked._replace(model=None, label=None).answered())
    return one(len(_feedback(asked, _LABEL, _VALUE).keys() - everything.keys()))


def _over_time(asked: Asked) -> Answer:
    some = [fact for fact in unique(feedback(asked)) if re.fullmatch(asked.sample, fact.values["prediction_job_id"])]
    said = Counter(fact.values.get(_LABEL) or ("(number)" if _VALUE in fact.values else "(comment)") for fact in some)
    return {frozenset({("said", what)}): float(many) for what, many in said.items()}


def feedback(asked: Asked) -> list[Fact]:
    """Return all feedback, copies among it."""
    return [fact for fact in asked.facts if fact.values["event_name"] == "prediction.feedback"]


NUMBERS: dict[tuple[str, str, str], Callable[[Asked], Answer]] = {
    ("predictions", "Feedback by label", "A"): _over_time,
    ("predictions", "Coverage", "A"): _coverage,
    ("predictions", "Feedback without its prediction", "A"): _stray,
    ("predictions", "Accuracy by model version", "A"): lambda asked: _of_models(asked, len),
    ("predictions", "Accuracy by model version", "B"): lambda asked: _of_models(
        asked, lambda rows: _covered(asked, rows)
    ),
    ("predictions", "Accuracy by model version", "C"): lambda asked: _of_models(
        asked, lambda rows: len([row for row in rows if row in _judged(asked)]) or None
    ),
    ("predictions", "Accuracy by model version", "D"): lambda asked: _of_models(
        asked, lambda rows: _accuracy(asked, rows)
    ),
    ("predictions", "Confusion", "A"): _confusion,
}

BY_HAND = {
    "A": {("iris", "1"): 90, ("iris", "2"): 8, ("churn", "7"): 4, ("price", "3"): 4},
    "B": {("iris", "1"): 26 / 90, ("iris", "2"): 4 / 8, ("churn", "7"): 1, ("price", "3"): 0},  # labels, and 4 numbers
    "C": {("iris", "1"): 22, ("iris", "2"): 4, ("churn", "7"): 4},
    # Of the 13, 8 were told more than once, and 1 was corrected by another replica.
    "D": {("iris", "1"): 13 / 22, ("iris", "2"): 2 / 4, ("churn", "7"): 2 / 4},
}
"""What `Accuracy by model version` comes to, counted with a pencil, so that the code above is held to it too."""
STRAY = 2
"""Rows that feedback speaks of and nobody answered: one failed, one is unknown."""

RECORDS: dict[tuple[str, str, str], Callable[[Asked], list[Fact]]] = {
    ("predictions", "Newest feedback", "A"): lambda asked: unique(feedback(asked)),
}
