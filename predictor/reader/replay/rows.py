"""Selects the logged predictions that can be replayed: their inputs as the model takes them, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from predictor.reader.class_names import numbers
from predictor.reader.export.columns import INPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.reader.record import Entry, ModelVersion

BATCH = 256
"""Rows that run together, as many as the server's default: a row's numbers do not depend on it (decision 7)."""
SkipReason = Literal["failed", "redacted", "truncated", "features", "unreadable", "outputs"]
WHY: dict[SkipReason, str] = {
    "failed": "had failed: there is no output to compare with",
    "redacted": "a feature that the model wants is dropped or hashed in the log",
    "outputs": "the model's outputs are dropped, hashed or rounded in the log: there is nothing to compare with",
    "truncated": "the row was too long for its record and is cut",
    "features": "has no feature of a name, or not as many features, as the model wants",
    "unreadable": "input or output is no list of numbers",
}
"""What a person is told of each reason."""
assert set(WHY) == set(get_args(SkipReason))  # noqa: S101 - while the module is imported: a reason without a sentence


class Logged(NamedTuple):
    """One prediction as it was logged."""

    job_id: str
    row: int
    time_ns: int
    model: ModelVersion | None
    features: list[float]
    """In the order in which the model to replay through takes them."""
    probabilities: list[float]
    label: str
    confidence: float
    outlier: bool | None
    score: float | None
    inference: float
    """Seconds that its row took: of its batch, divided by the rows that ran together."""
    batch: int


class Reader:
    """Turns records into rows for one model."""

    def __init__(self, features: Sequence[str]) -> None:
        """Take the names of the features in the model's order."""
        self._names = [INPUT + name for name in features]
        self._features = frozenset(features)
        self.missing: set[str] = set()
        """Names that the model wants and a record did not have."""

    def read(self, entry: Entry) -> Logged | SkipReason:
        """Return the row of a prediction's record, or why it cannot be replayed."""
        said = entry.attributes
        if entry.outputs and "error.type" not in said:
            return "outputs"
        label, confidence = said.get("prediction.label"), said.get("prediction.confidence")
        if "error.type" in said or label is None or confidence is None or entry.job_id is None:
            return "failed"
        try:
            features = self._features_of(entry)
            if isinstance(features, str):
                return features
            probabilities = numbers(said, "prediction.output")
        except ValueError:
            return "unreadable"
        size = max(said.get("prediction.batch.size", 1), 1)
        return Logged(
            entry.job_id,
            entry.row or 0,
            entry.time_ns,
            entry.model,
            features,
            probabilities,
            label,
            confidence,
            said.get("prediction.outlier"),
            said.get("prediction.outlier_score"),
            said.get("prediction.duration.inference", 0.0) / size,
            size,
        )

    def _features_of(self, entry: Entry) -> list[float] | SkipReason:
        said: dict[str, Any] = entry.attributes
        # A model that does without what is redacted can be replayed: features are known by name.
        if not self._features.isdisjoint(entry.redacted):
            return "redacted"
        if "prediction.input_json" in said:
            return self._wide(entry)
        try:
            return [said[name] for name in self._names]
        except KeyError:
            self.missing.update(name.removeprefix(INPUT) for name in self._names if name not in said)
            return "features"

    def _wide(self, entry: Entry) -> list[float] | SkipReason:
        """Return a row that was logged without names: as many numbers as the model takes are taken for its own."""
        if entry.attributes.get("prediction.input_truncated"):
            return "truncated"
        if entry.redacted:  # the places of the names are not in the log, nor are the values
            return "redacted"
        found = numbers(entry.attributes, "prediction.input_json")
        return found if len(found) == len(self._names) else "features"
