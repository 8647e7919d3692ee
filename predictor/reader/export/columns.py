"""The columns of an export: the fixed ones, and those of the features and classes that the records turn out to have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from predictor.reader.class_names import LearnedClasses, probabilities, wide_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.reader.record import Entry, ModelVersion

Type = Literal["time", "string", "int", "double", "bool"]
INPUT, HASH = "prediction.input.", "prediction.hashed_input."


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
        self._classes: dict[ModelVersion | None, LearnedClasses] = {}
        self._names: dict[ModelVersion | None, list[str]] = {}

    def learn(self, entry: Entry) -> None:
        """Take one prediction in; raises ValueError if its probabilities cannot be read."""
        classes = self._classes.setdefault(entry.model, LearnedClasses())
        said = entry.attributes
        classes.learn(probabilities(said), said.get("prediction.label"), said.get("prediction.confidence"))
        for key in entry.attributes:
            if key in _HASHED:
                self._inputs[key] = _HASHED[key]
            elif key.startswith(INPUT) and key not in self._inputs:
                self._inputs[key] = ExportColumn(f"input_{key.removeprefix(INPUT)}", "double")
            elif key.startswith(HASH) and key not in self._inputs:
                self._inputs[key] = ExportColumn(f"hash_{key.removeprefix(HASH)}", "string")
        for name in self._features if "prediction.input_json" in entry.attributes else ():
            if name not in entry.redaction:
                self._inputs.setdefault(INPUT + name, ExportColumn(f"input_{name}", "double"))
            elif entry.redaction[name] == "hash":
                self._inputs.setdefault(HASH + name, ExportColumn(f"hash_{name}", "string"))

    def columns(self) -> list[ExportColumn]:
        """Return all columns in their order; learning ends here. Raises ValueError if no model has so many labels."""
        sizes = {len(classes) for classes in self._classes.values()} - {0}
        if self._labels and sizes and len(self._labels) not in sizes:
            msg = f"{len(self._labels)} labels are given, wanted {' or '.join(map(str, sorted(sizes)))} as the log has"
            raise ValueError(msg)
        self._names = {model: classes.columns(self._labels) for model, classes in self._classes.items()}
        classes = dict.fromkeys(name for names in self._names.values() for name in names)
        outputs = [ExportColumn(name, "double") for name in classes]
        # Loki keeps no order of attributes, and every source must give the same columns.
        order = {f"input_{name}": at for at, name in enumerate(self._features)}
        inputs = sorted(self._inputs.values(), key=lambda column: (order.get(column.name, len(order)), column.name))
        return [*_BEFORE, *inputs, *outputs, *_AFTER.values(), *_LAST, *FEEDBACK]

    def row(self, entry: Entry) -> ExportRow:
        """Return a prediction's values; `columns` must have been called."""
        said = entry.attributes
        row: ExportRow = {"time": entry.time_ns, "job_id": entry.job_id, "index": entry.row}
        row |= {column.name: said[key] for key, column in self._inputs.items() if key in said}
        row |= self._wide(said)
        row |= dict(zip(self._names[entry.model], probabilities(said), strict=False))
        row |= {column.name: said[key] for key, column in _AFTER.items() if key in said}
        if entry.model:
            row |= {f"model_{part}": value for part, value in entry.model._asdict().items()}
        return row | {"trace_id": entry.trace_id or None, "stream": entry.stream, "sequence": entry.sequence}

    def _wide(self, said: dict[str, Any]) -> ExportRow:
        if not self._features or said.get("prediction.input_truncated"):
            return {}
        kinds = {float: "input", str: "hash"}
        values = zip(self._features, wide_row(said), strict=False)
        return {f"{kinds[type(value)]}_{name}": value for name, value in values if value is not None}
