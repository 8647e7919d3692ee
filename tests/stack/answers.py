"""The planted records as plain Python sees them: what a query of the dashboards must answer is worked out of these.

An expectation takes what is asked and returns a number for each set of labels. A query over time is asked for each
window of its own. Copies are among the records; where they must not count, `unique` drops them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.stack.planting import Fact

Labels = frozenset[tuple[str, str]]
Answer = dict[Labels, float]


class Asked(NamedTuple):
    """The records in the time that is asked for, that time, and what the reader has chosen; None is everything."""

    facts: list[Fact]
    seconds: float
    model: str | None = None
    label: str | None = None
    stream: str = ""
    sample: str = ".*"

    def attempts(self) -> list[Fact]:
        """Return predictions and failures of the chosen model."""
        found = [fact for fact in self.facts if fact.values["event_name"] == "prediction"]
        return [fact for fact in found if self.model in {None, fact.values["prediction_model_name"]}]

    def answered(self) -> list[Fact]:
        """Return the predictions of the chosen model and label."""
        found = [fact for fact in self.attempts() if "error_type" not in fact.values]
        return [fact for fact in found if self.label in {None, fact.values.get("prediction_label")}]

    def failed(self) -> list[Fact]:
        """Return the failures of the chosen model."""
        return [fact for fact in self.attempts() if "error_type" in fact.values]

    def events(self, name: str) -> list[Fact]:
        """Return one kind of stream events."""
        return [fact for fact in self.facts if fact.values["event_name"] == f"prediction.stream.{name}"]

    def chosen(self) -> list[Fact]:
        """Return the records of the chosen stream."""
        return [fact for fact in self.facts if fact.values["prediction_stream_id"] == self.stream]


STREAM = ("prediction_stream_id", "k8s_pod_name")


def one(number: float) -> Answer:
    """Return a number without labels."""
    return {frozenset(): float(number)}


def unique(facts: Iterable[Fact]) -> list[Fact]:
    """Drop copies."""
    return list({number(fact): fact for fact in facts}.values())


def number(fact: Fact) -> tuple[str, int]:
    """Return what names a record."""
    return fact.values["prediction_stream_id"], fact.values["prediction_stream_sequence"]


def grouped(facts: Iterable[Fact], *by: str) -> dict[Labels, list[Fact]]:
    """Return records by their values of some attributes."""
    found: dict[Labels, list[Fact]] = {}
    for fact in facts:
        labels = frozenset((name, str(fact.values[name])) for name in by if name in fact.values)
        found.setdefault(labels, []).append(fact)
    return found


def counts(facts: Iterable[Fact], *by: str) -> Answer:
    """Return how many there are."""
    return {labels: float(len(some)) for labels, some in grouped(facts, *by).items()}


def figures(which: Callable[[list[Any]], float], name: str, facts: Iterable[Fact], *by: str) -> Answer:
    """Return a figure of the values of one attribute, of the records that have it."""
    having = [fact for fact in facts if name in fact.values]
    return {labels: float(which([fact.values[name] for fact in some])) for labels, some in grouped(having, *by).items()}


def quantile(share: float, name: str) -> Callable[[Asked], Answer]:
    """Expect a quantile of the answered rows."""
    return lambda asked: figures(
        lambda values: float(np.quantile(values, share)), name, asked.answered(), "service_name"
    )


def last_said(name: str, asked: Asked) -> Answer:
    """Return what each stream's last status says."""
    return {
        labels: float(max(some, key=lambda fact: fact.time).values[f"prediction_stream_{name}"])
        for labels, some in grouped(asked.events("status"), *STREAM).items()
    }


def most_said(name: str, asked: Asked) -> Answer:
    """Return the most that each stream's statuses say."""
    return figures(max, f"prediction_stream_{name}", asked.events("status"), *STREAM)
