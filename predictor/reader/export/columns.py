"""The columns of an export, by the attribute or the field of the record that they come from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

Type = Literal["time", "string", "int", "double", "bool", "strings", "ints", "uints", "doubles", "bools"]
"""Those in the plural are lists."""
INPUT, HASH, VALUE = "prediction.input.", "prediction.hashed_input.", "prediction.value."
TENSOR = "tensor."
"""Before the names of tensors that stand as lists; no record has such an attribute."""


class ExportColumn(NamedTuple):
    """One column and the type of all its values; any may be absent."""

    name: str
    type: Type


BEFORE = {
    "time": ExportColumn("time", "time"),
    "prediction.job_id": ExportColumn("job_id", "string"),
    "prediction.index": ExportColumn("index", "int"),
}
AFTER = {
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
HASHED = {
    "prediction.hashed_output": ExportColumn("hashed_output", "string"),
    "prediction.hashed_label": ExportColumn("hashed_label", "string"),
}
SOME = {
    "prediction.key": ExportColumn("key", "string"),
    "prediction.hashed_key": ExportColumn("hashed_key", "string"),
    "prediction.missing": ExportColumn("missing", "string"),
    "prediction.value": ExportColumn("value", "double"),
    "prediction.rows": ExportColumn("rows", "int"),
    "prediction.id": ExportColumn("id", "string"),
    "prediction.output_top": ExportColumn("output_top", "string"),
}
MODEL_COLUMNS = tuple(ExportColumn(f"model_{part}", "string") for part in ("name", "version", "digest"))
LAST = {
    "trace_id": ExportColumn("trace_id", "string"),
    "stream": ExportColumn("stream", "string"),
    "sequence": ExportColumn("sequence", "int"),
}
FEEDBACK = (
    ExportColumn("feedback_label", "string"),
    ExportColumn("feedback_value", "double"),
    ExportColumn("feedback_comment", "string"),
    ExportColumn("feedback_time", "time"),
)
_FIXED = frozenset({*BEFORE, *HASHED, *SOME, *AFTER})
ALWAYS = frozenset({"time", "prediction.job_id", "prediction.index", "stream", "sequence"})
JOIN_KEY = "join_key"
"""In a block: `Entry.join_key` of each row, if any has a key."""
Block = dict[str, list[Any]]
"""Values of some rows by the attribute, or the field of the record, that they come from; None where a row has none."""
Rows = dict[str, list[Any]]
"""Values of some rows by column; one without a value in them may be left out."""


@lru_cache(4096)
def is_column(attribute: str) -> bool:
    """Tell whether an attribute of a prediction has a column, if any record has it."""
    return attribute in _FIXED or attribute.startswith((INPUT, HASH, VALUE, TENSOR))


def of_feature(attribute: str, kinds: set[type], *, gaps: bool) -> ExportColumn:
    """Return the column of a feature, kept or hashed, by the types of its values and whether rows lack one."""
    if attribute.startswith(HASH):
        return ExportColumn(f"hash_{attribute.removeprefix(HASH)}", "string")
    kind: Type = "string"
    if kinds == {bool}:
        kind = "double" if gaps else "bool"  # of truth with gaps pandas makes objects, which no detector takes
    elif kinds <= {int, float}:
        kind = "int" if kinds == {int} else "double"
    return ExportColumn(f"input_{attribute.removeprefix(INPUT)}", kind)
