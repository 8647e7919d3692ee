"""Selects the logged predictions that can be replayed: their inputs as the model takes them, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import msgspec

from predictor.reader.class_names import numbers, wide_row
from predictor.reader.export.columns import INPUT
from predictor.recording.record_model import VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.features import Feature, Value
    from predictor.reader.record import Entry, ModelVersion

BATCH = 256
"""Rows that run together, as many as the server's default: a row's numbers do not depend on it (decision 7)."""
SkipReason = Literal["failed", "redacted", "truncated", "features", "unreadable", "outputs"]
WHY: dict[SkipReason, str] = {
    "failed": "had failed: there is no output to compare with",
    "redacted": "a feature that the model needs is dropped or hashed in the log",
    "outputs": "the model's outputs are dropped, hashed or rounded in the log: there is nothing to compare with",
    "truncated": "the row, or a tensor, was too long for its record and is cut",
    "features": "has no feature of a name, or not as many features, as the model needs",
    "unreadable": "input or output is not a list of numbers",
}
"""What a person reads of each reason."""
assert set(WHY) == set(get_args(SkipReason))  # noqa: S101 - while the module is imported: a reason without a sentence


class Logged(NamedTuple):
    """One prediction as it was logged."""

    job_id: str
    row: int
    time_ns: int
    model: ModelVersion | None
    features: Any
    """In the order in which the model to replay through takes them; of a request of tensors these."""
    numbers: list[float]
    """The probabilities, or what else the model gave."""
    label: str | None
    confidence: float | None
    """None for a model without probabilities."""
    outlier: bool | None
    score: float | None
    inference: float
    """Seconds that its row took: of its batch, divided by the rows that ran together."""
    batch: int


class Reader:
    """Turns records into rows for one model."""

    def __init__(self, features: Sequence[Feature], values: Sequence[str]) -> None:
        """Take the model's features in its order, and the attributes of its numbers."""
        self._places = [(each.alias or each.name, each.datatype, each.missing) for each in features]
        self._values = values
        self._features = frozenset(name for name, _, _ in self._places)
        self.missing: set[str] = set()
        """Names that the model wants and a record did not have."""

    def read(self, entry: Entry) -> Logged | SkipReason:
        """Return the row of a prediction's record, or why it cannot be replayed."""
        said = entry.attributes
        if entry.outputs and "error.type" not in said:
            return "outputs"
        if "error.type" in said or entry.job_id is None:
            return "failed"
        try:
            features = self._features_of(entry)
            if isinstance(features, str):
                return features
            found = numbers(said, "prediction.output") or self._numbers(said)
        except ValueError:
            return "unreadable"
        if not found and "prediction.label" not in said:
            return "failed"
        size = max(said.get("prediction.batch.size", 1), 1)
        return Logged(
            entry.job_id,
            entry.row or 0,
            entry.time_ns,
            entry.model,
            features,
            found,
            said.get("prediction.label"),
            said.get("prediction.confidence"),
            said.get("prediction.outlier"),
            said.get("prediction.outlier_score"),
            said.get("prediction.duration.inference", 0.0) / size,
            size,
        )

    def _numbers(self, said: dict[str, Any]) -> list[float]:
        """Return the numbers of a model without probabilities, in the order of the model to replay through."""
        named = [said[name] for name in self._values if name in said]
        return named or [value for name, value in sorted(said.items()) if name.startswith(VALUE)]

    def _features_of(self, entry: Entry) -> list[Value] | SkipReason:
        said: dict[str, Any] = entry.attributes
        # A model that does without what is redacted can be replayed: features are known by name.
        if not self._features.isdisjoint(entry.redacted):
            return "redacted"
        if "prediction.input_json" in said:
            return self._whole(entry)
        missing = set(msgspec.json.decode(said.get("prediction.missing", "[]"), type=list[str]))
        found: list[Value] = []
        for name, datatype, _ in self._places:
            value = said.get(INPUT + name)
            if value is None and name not in missing:
                self.missing.add(name)
                return "features"
            found.append(as_datatype(datatype, value))
        return found

    def _whole(self, entry: Entry) -> list[Value] | SkipReason:
        """Return a row that was logged without names: as many values as the model takes are taken for its own."""
        if entry.attributes.get("prediction.input_truncated"):
            return "truncated"
        if entry.redacted:  # the places of the names are not in the log, nor are the values
            return "redacted"
        found = wide_row(entry.attributes)
        if len(found) != len(self._places):
            return "features"
        return [as_datatype(datatype, value) for (_, datatype, _), value in zip(self._places, found, strict=True)]


def as_datatype(datatype: str, value: Value) -> Value:
    """Return a logged value as a model takes it; raises ValueError if it has none of its datatype for it."""
    if value is None:
        return None
    if datatype == "BYTES":
        if isinstance(value, str):
            return value
    elif isinstance(value, bool):
        if datatype == "BOOL":
            return value
    elif datatype == "BOOL":
        if value in {"true", "false"}:
            return value == "true"
    elif datatype.startswith("FP"):
        return float(value)
    elif isinstance(value, str) or value == int(value):
        return int(value)
    msg = f"{value!r} does not fit {datatype}"
    raise ValueError(msg)
