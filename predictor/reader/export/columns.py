"""The columns of an export: the fixed ones, and those of the features and classes that the records turn out to have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from predictor.reader.class_names import LearnedClasses, probabilities, wide_row
from predictor.reader.model_event import labels_of, types_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.reader.record import Entry, ModelVersion

Type = Literal["time", "string", "int", "double", "bool"]
INPUT, HASH, VALUE = "prediction.input.", "prediction.hashed_input.", "prediction.value."


Value = float | int | bool | str | None
_TYPES: dict[type, Type] = {int: "int", float: "double"}


class ExportColumn(NamedTuple):
    """One column and the type of all its values; any may be absent."""

    name: str
    type: Type


_BEFORE = (ExportColumn("time", "time"), ExportColumn("job_id", "string"), ExportColumn("index", "int"))
_AFTER = {
    "prediction.input_json": ExportColumn("input_json", "string"),
    "prediction.label": ExportColumn("label", "string"),
    "prediction.confidence": ExportColumn("confidence", "double"),
    "prediction.outlier": ExportColumn("outlier", "bool"),
    "prediction.outlier_score": ExportColumn("outlier_score", "double"),
    "error.type": ExportColumn("error", "string"),
    "prediction.duration.queue": ExportColumn("duration_queue", "double"),
    "prediction.duration.inference": ExportColumn("duration_inference", "double"),
    "prediction.duration.total": ExportColumn("duration_total", "double"),
    "prediction.batch.size": ExportColumn("batch_size", "int"),
    "http.route": ExportColumn("route", "string"),
    "prediction.request_id": ExportColumn("request_id", "string"),
}
_HASHED = {
    "prediction.hashed_output": ExportColumn("hashed_output", "string"),
    "prediction.hashed_label": ExportColumn("hashed_label", "string"),
}
"""Only where the log has them."""
_SOME = {
    "prediction.missing": ExportColumn("missing", "string"),
    "prediction.value": ExportColumn("value", "double"),
    "prediction.output_top": ExportColumn("output_top", "string"),
}
"""Columns that are there if any record has the attribute."""
_LAST = (
    *(ExportColumn(f"model_{part}", "string") for part in ("name", "version", "digest")),
    ExportColumn("trace_id", "string"),
    ExportColumn("stream", "string"),
    ExportColumn("sequence", "int"),
)
FEEDBACK = (
    ExportColumn("feedback_label", "string"),
    ExportColumn("feedback_value", "double"),
    ExportColumn("feedback_comment", "string"),
    ExportColumn("feedback_time", "time"),
)
ExportRow = dict[str, Any]
"""Values by column name; absent ones are left out."""


class Learned:
    """What a first pass finds out about the records, and with it their rows."""

    def __init__(self, labels: Sequence[str] = (), features: Sequence[str] = ()) -> None:
        """Take names for the classes, and for the features of a wide row, where the log does not have them."""
        self._labels = labels
        self._features = features
        self._inputs: dict[str, ExportColumn] = {}
        self._values: dict[str, ExportColumn] = {}
        self._classes: dict[ModelVersion | None, LearnedClasses] = {}
        self._told: dict[ModelVersion | None, list[str]] = {}
        self._aliases: dict[ModelVersion | None, list[str]] = {}
        self._names: dict[ModelVersion | None, list[str]] = {}

    def tell(self, entry: Entry) -> None:
        """Take in what a stream says of a model."""
        self._told[entry.model] = labels_of(entry)
        self._aliases[entry.model] = [*types_of(entry)]

    def learn(self, entry: Entry) -> None:
        """Take one prediction in; raises ValueError if its probabilities cannot be read."""
        classes = self._classes.setdefault(entry.model, LearnedClasses())
        said = entry.attributes
        if "prediction.confidence" in said:
            classes.learn(probabilities(said), said.get("prediction.label"), said["prediction.confidence"])
        for key, value in said.items():
            if key in _SOME:
                self._values[key] = _SOME[key]
            elif key in _HASHED:
                self._inputs[key] = _HASHED[key]
            elif key.startswith(INPUT):
                kind = _wider(self._inputs[key].type if key in self._inputs else None, value)
                self._inputs[key] = ExportColumn(f"input_{key.removeprefix(INPUT)}", kind)
            elif key.startswith(VALUE) and key not in self._values:
                self._values[key] = ExportColumn(f"value_{key.removeprefix(VALUE)}", "double")
            elif key.startswith(HASH) and key not in self._inputs:
                self._inputs[key] = ExportColumn(f"hash_{key.removeprefix(HASH)}", "string")
        for key, value in self._wide(entry).items():
            kind = _wider(self._inputs[key].type if key in self._inputs else None, value)
            prefix, name = (
                ("hash", key.removeprefix(HASH)) if key.startswith(HASH) else ("input", key.removeprefix(INPUT))
            )
            self._inputs[key] = ExportColumn(f"{prefix}_{name}", kind)

    def columns(self) -> list[ExportColumn]:
        """Return all columns in their order; learning ends here. Raises ValueError if no model has so many labels."""
        sizes = {len(classes) for classes in self._classes.values()} - {0}
        if self._labels and sizes and len(self._labels) not in sizes:
            msg = f"{len(self._labels)} labels are given, wanted {' or '.join(map(str, sorted(sizes)))} as the log has"
            raise ValueError(msg)
        self._names = {
            model: classes.columns(self._labels or self._told.get(model, ()))
            for model, classes in self._classes.items()
        }
        classes = dict.fromkeys(name for names in self._names.values() for name in names)
        outputs = [ExportColumn(name, "double") for name in classes]
        # Loki keeps no order of attributes, and every source must give the same columns.
        order = {f"input_{name}": at for at, name in enumerate(self._features)}
        inputs = sorted(self._inputs.values(), key=lambda column: (order.get(column.name, len(order)), column.name))
        values = sorted(self._values.values())
        return [*_BEFORE, *inputs, *outputs, *values, *_AFTER.values(), *_LAST, *FEEDBACK]

    def row(self, entry: Entry) -> ExportRow:
        """Return a prediction's values; `columns` must have been called."""
        said = entry.attributes
        row: ExportRow = {"time": entry.time_ns, "job_id": entry.job_id, "index": entry.row}
        row |= {column.name: _as(column.type, said[key]) for key, column in self._inputs.items() if key in said}
        row |= {column.name: said[key] for key, column in self._values.items() if key in said}
        row |= {(column := self._inputs[key]).name: _as(column.type, value) for key, value in self._wide(entry).items()}
        if "prediction.confidence" in said:
            row |= dict(zip(self._names[entry.model], probabilities(said), strict=False))
        row |= {column.name: said[key] for key, column in _AFTER.items() if key in said}
        if entry.model:
            row |= {f"model_{part}": value for part, value in entry.model._asdict().items()}
        return row | {"trace_id": entry.trace_id or None, "stream": entry.stream, "sequence": entry.sequence}

    def _wide(self, entry: Entry) -> dict[str, Value]:
        """Return the values of a row that is one JSON text by attribute, as far as the features' names are known."""
        said = entry.attributes
        features = self._features or self._aliases.get(entry.model, ())
        if not features or "prediction.input_json" not in said or said.get("prediction.input_truncated"):
            return {}
        values = zip(features, wide_row(said), strict=False)
        hashed = {name for name, how in entry.redaction.items() if how == "hash"}
        return {(HASH if name in hashed else INPUT) + name: value for name, value in values if value is not None}


def _wider(known: Type | None, value: Value) -> Type:
    """Return the type of a column that holds one more value: numbers become doubles, all else text."""
    found: Type = "bool" if isinstance(value, bool) else _TYPES.get(type(value), "string")
    if known is None or known == found:
        return found
    return "double" if {known, found} == {"int", "double"} else "string"


def _as(kind: Type, value: Value) -> Value:
    if kind == "double" and isinstance(value, int):
        return float(value)
    return str(value) if kind == "string" else value
