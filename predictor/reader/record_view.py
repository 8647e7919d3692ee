"""Shows a record as a JSON object or a row of a table, and filters records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictor.reader import time_range
from predictor.reader.output import TextColumn, number
from predictor.recording.record_model import VALUE
from predictor.recording.record_schema import EVENT_NAME, FEEDBACK_EVENT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from predictor.reader.record import Entry

COLUMNS = (
    TextColumn("time"),
    TextColumn("label"),
    TextColumn("confidence", right=True),
    TextColumn("outlier"),
    TextColumn("ms", right=True),
    TextColumn("model"),
    TextColumn("job id"),
    TextColumn("row", right=True),
    TextColumn("key", wide=True),
    TextColumn("event", wide=True),
    TextColumn("route", wide=True),
    TextColumn("kept", wide=True),
    TextColumn("trace id", wide=True),
    TextColumn("stream", wide=True),
    TextColumn("number", right=True, wide=True),
)
"""More are the attributes of records, by their names, with or without `prediction.` before them."""


def as_json(entry: Entry) -> dict[str, Any]:
    """Return what `--json` prints of a record; docs/reading.md describes it."""
    return {
        "time": time_range.shown(entry.time_ns, digits=9),
        "observed": time_range.shown(entry.observed_ns, digits=9) if entry.observed_ns else None,
        "stream": entry.stream,
        "sequence": entry.sequence,
        "event": entry.event,
        "severity": entry.severity,
        "body": entry.body,
        "trace_id": entry.trace_id or None,
        "span_id": entry.span_id or None,
        "sampled": entry.sampled,
        "model": entry.model._asdict() if entry.model else None,
        "attributes": dict(sorted(entry.attributes.items())),
        "redaction": entry.redaction,
    }


def as_row(entry: Entry, attributes: Sequence[str] = ()) -> list[str]:
    """Return a record as COLUMNS, and some of its attributes behind them."""
    said = entry.attributes
    total = said.get("prediction.duration.total")
    return [
        time_range.shown(entry.time_ns),
        said.get("error.type") or said.get("prediction.label") or _number(said) or entry.body,
        number(said.get("prediction.confidence"), 3),
        "outlier" if said.get("prediction.outlier") else "",
        number(None if total is None else total * 1000, 1),
        str(entry.model or ""),
        entry.job_id or "",
        "" if entry.row is None else str(entry.row),
        _cell(said.get("prediction.key", said.get("prediction.hashed_key"))),
        entry.event,
        _cell(said.get("http.route")),
        _cell(said.get("prediction.kept")),
        entry.trace_id,
        entry.stream,
        str(entry.sequence),
        *(_cell(said.get(name, said.get(f"prediction.{name}"))) for name in attributes),
    ]


def attribute_columns(names: Iterable[str]) -> list[TextColumn]:
    """Return columns for those of the names that are none of COLUMNS: attributes."""
    known = {column.name for column in COLUMNS}
    return [TextColumn(name, right=name.startswith("input."), wide=True) for name in names if name not in known]


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever an attribute holds
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(said: dict[str, Any]) -> str:
    """Return the answer of a model that gives numbers: one, or each with its name; of tensors how many rows."""
    if (value := said.get(VALUE)) is not None:
        return f"{value:.6g}"
    if (rows := said.get("prediction.rows")) is not None:
        return "1 row" if rows == 1 else f"{rows} rows"
    named = [(name, value) for name, value in said.items() if name.startswith(f"{VALUE}.")]
    return " ".join(f"{name.removeprefix(f'{VALUE}.')}={value:.6g}" for name, value in sorted(named))


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that `Filter` reads."""
    group = parser.add_argument_group("which records")
    group.add_argument("--label", action="append", help="only predictions of this label; may be given again")
    group.add_argument("--outlier", action="store_true", help="only outliers")
    group.add_argument("--error", nargs="?", const="", metavar="TYPE", help="only failures, or those of this type")
    group.add_argument("--model", metavar="NAME[@VERSION]", help="only of this model")
    group.add_argument("--events", action="store_true", help="the stream's own events too")


class Filter:
    """Which records a person wants to see: predictions and feedback, unless more is asked for or less."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Take the parsed options."""
        self._labels = frozenset(options.label or ())
        self._outlier: bool = options.outlier
        self._error: str | None = options.error
        self._model: str | None = options.model
        self._events: bool = options.events
        self._picky = bool(self._labels or self._outlier or self._error is not None or self._model)

    def wants(self, entry: Entry) -> bool:
        """Tell whether a record passes."""
        if entry.event != EVENT_NAME:
            return self._events if entry.event != FEEDBACK_EVENT else not self._picky
        said = entry.attributes
        return (
            (not self._labels or said.get("prediction.label") in self._labels)
            and (not self._outlier or bool(said.get("prediction.outlier")))
            and (self._error is None or _fails(said.get("error.type"), self._error))
            and (
                self._model is None or (entry.model is not None and self._model in {entry.model.name, str(entry.model)})
            )
        )


def _fails(found: str | None, wanted: str) -> bool:
    return found is not None and wanted in {"", found}
