"""`predictor log export --append DIR`: adds to a table what has come since the last run; no file is changed again.

The names of the files show what is there. A run that was ended in between has left some files of a range; the
next one writes the others, by the list that each footer has.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from predictor.reader.command import FINE, FOUND
from predictor.reader.export.columns import BEFORE, MODEL_COLUMNS, ExportColumn
from predictor.reader.export.learned import Learned
from predictor.reader.export.pieces import PIECE, Kept, PieceSpool
from predictor.reader.export.table_folder import About, NumberRange, TableFolder, last_days, missing, partition
from predictor.reader.export.tensor_columns import with_lists
from predictor.reader.model_event import labels_of, types_of
from predictor.reader.rows import rows_of
from predictor.reader.sources.errors import SourceError
from predictor.reader.time_range import MARGIN_NS, TimeRange
from predictor.recording.record_schema import EVENT_NAME, FEEDBACK_EVENT, MODEL_EVENT
from predictor.recording.stream_events import CLOSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from predictor.reader.command import Asked
    from predictor.reader.export.columns import Block, Rows
    from predictor.reader.record import Entry, ModelVersion

_BATCH = 512
_OPEN_DAYS = 2
"""A stream that has not ended and has no record in so many last days of the table is taken for dead."""
_FEEDBACK = {
    "prediction.key": ExportColumn("key", "string"),
    "prediction.hashed_key": ExportColumn("hashed_key", "string"),
    "prediction.feedback.label": ExportColumn("label", "string"),
    "prediction.feedback.value": ExportColumn("value", "double"),
    "prediction.feedback.comment": ExportColumn("comment", "string"),
}
_STREAM = (ExportColumn("stream", "string"), ExportColumn("sequence", "int"))


def append(asked: Asked, labels: Sequence[str] = (), features: Sequence[str] = ()) -> int:
    """Add what has come to the table and return the exit status; raises SourceError and OSError."""
    run = _Append(TableFolder(asked.options.append), labels, features)
    start = asked.window.start
    if start is None and asked.source.oldest is not None:  # who is asked for a time goes on where the table ends
        start = run.resume
    with run.folder.alone(), PieceSpool(time.time_ns()) as spool:
        run.read(asked, spool, TimeRange(start, asked.window.end))
        for stream, kept in spool.pieces():
            run.write(stream, kept, spool)
    for part in run.unfinished:
        lost = (
            f"an earlier run did not write all of {part.stream} {part.first}-{part.last}, which the log no longer has"
        )
        asked.output.note(f"{run.folder.name}: {lost}")
    said = {"folder": run.folder.name, "files": run.files, "predictions": run.predictions, "feedback": run.feedback}
    if asked.output.as_json:
        asked.output.json(said)
    else:
        told = f"{run.predictions} predictions, {run.feedback} feedback records in {run.files} files"
        asked.output.line(f"{run.folder.name}: {told}")
    return FOUND if asked.source.damaged or run.unfinished else FINE


class _Append:
    """One run."""

    def __init__(self, folder: TableFolder, labels: Sequence[str], features: Sequence[str]) -> None:
        self.folder = folder
        self.files = self.predictions = self.feedback = 0
        self.resume: int | None = None
        self._labels, self._features = labels, features
        self._ranges = folder.ranges()
        self.unfinished: dict[NumberRange, About] = {}
        self._closed: set[str] = set()
        self._told: dict[ModelVersion | None, tuple[list[str], list[str]]] = {}
        self._remembered: dict[str, list[str]] = {}
        self._look()

    def _look(self) -> None:
        """Find where the streams stand that may go on, and which files an earlier run did not come to write."""
        latest = {name.rpartition("/")[2] for name in last_days(self.folder.files, _OPEN_DAYS)}
        spoke = []
        for ranges in self._ranges.values():
            last = ranges[-1]
            if f"{last.stream}.{last.first}-{last.last}.parquet" not in latest:
                continue
            about = self.folder.about(last)
            if about is None:
                continue
            self._remembered |= about.labels
            if missing(about, self.folder.files):
                self.unfinished[last] = about
            if not about.closed:
                spoke.append(about.newest)
        if spoke:
            self.resume = min(spoke) - MARGIN_NS

    def read(self, asked: Asked, spool: PieceSpool, window: TimeRange) -> None:
        """Put aside what is not in the table."""
        with asked.output.progress("reading", asked.source) as tick:
            for entry in asked.source.read(window):
                tick()
                if entry.event == MODEL_EVENT:
                    self._told[entry.model] = labels_of(entry), [*types_of(entry)]
                elif entry.event == CLOSED:
                    self._closed.add(entry.stream)
                if spool.see(entry) and not self._there(entry.stream, entry.sequence):
                    spool.keep(entry)

    def write(self, stream: str, kept: Iterable[Kept], spool: PieceSpool) -> None:
        """Write one piece: a range for each stretch of numbers that is not there yet."""
        settled = spool.settled(stream)
        some = [each for each in kept if each.sequence <= settled]
        for at, stretch in groupby(some, lambda each: self._before(stream, each.sequence)):
            self._write(stream, at, list(stretch), spool)

    def _write(self, stream: str, at: int, kept: list[Kept], spool: PieceSpool) -> None:
        ranges = self._ranges.get(stream, [])
        first, last = kept[0].sequence, kept[-1].sequence
        redo = ranges[at] if at < len(ranges) and ranges[at].first <= first <= ranges[at].last else None
        begin = (first - 1) // PIECE * PIECE + 1
        if at:
            begin = max(begin, ranges[at - 1].last + 1)
        part = redo or NumberRange(stream, begin if spool.lowest[stream] <= begin else first, last)
        rows: defaultdict[tuple[str, str | None, str], list[Entry]] = defaultdict(list)
        for each in kept:
            if each.event in {EVENT_NAME, FEEDBACK_EVENT}:
                kind = "predictions" if each.event == EVENT_NAME else "feedback"
                day = f"{datetime.fromtimestamp(each.time_ns // 10**9, UTC):%Y-%m-%d}"
                rows[kind, each.model and each.model[0], day].append(each.entry(stream))
        names = {key: f"{partition(*key)}/{stream}.{part.first}-{part.last}.parquet" for key in sorted(rows, key=str)}
        closed = stream in self._closed
        labels = {f"{model} {model.digest}": each[0] for model, each in self._told.items() if model}
        about = About(sorted(names.values()), max(each.time_ns for each in kept), closed, labels)
        if redo:
            about = self.unfinished.pop(redo)
        for key, name in names.items():
            if name not in self.folder.files:
                about_predictions = key[0] == "predictions"
                columns, blocks = self._predictions(rows[key]) if about_predictions else _of_feedback(rows[key])
                written = self.folder.write(name, columns, blocks, about)
                self.files += 1
                self.predictions += written if about_predictions else 0
                self.feedback += 0 if about_predictions else written

    def _predictions(self, entries: list[Entry]) -> tuple[list[ExportColumn], Iterable[Rows]]:
        learned = Learned(self._labels, self._features)
        for model in {entry.model for entry in entries}:
            labels, features = self._told.get(model, ([], []))
            learned.name(
                model, labels or self._remembered.get(f"{model} {model.digest}" if model else "", []), features
            )
        blocks: Iterable[Block]
        try:
            blocks = [learned.learn(batch) for batch in _batches(entries)] if _are_rows(entries) else ()
            if not blocks:  # a request's rows in one record: all at once would not fit memory, so they are made twice
                for batch in _batches(entries):
                    learned.learn(batch)
                blocks = map(learned.learn, _batches(entries))
        except ValueError as error:
            raise SourceError(self.folder.name, str(error)) from error
        return learned.columns(alike=True), map(learned.rows, blocks)

    def _there(self, stream: str, number: int) -> bool:
        ranges = self._ranges.get(stream)
        if not ranges or number > ranges[-1].last:
            return False
        at = self._before(stream, number)
        return ranges[at].first <= number and ranges[at] not in self.unfinished

    def _before(self, stream: str, number: int) -> int:
        """Return how many of a stream's ranges lie wholly before a number."""
        return bisect_left(self._ranges.get(stream, []), number, key=lambda each: each.last)


def _are_rows(entries: list[Entry]) -> bool:
    """Tell whether each record is one row."""
    return all("prediction.rows" not in entry.attributes for entry in entries)


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield the rows of records, some at a time; raises ValueError for a record whose rows cannot be read."""
    batch: list[Entry] = []
    for entry in entries:
        for row in rows_of(entry):
            batch.append(with_lists(row))
            if len(batch) >= _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def _of_feedback(entries: list[Entry]) -> tuple[list[ExportColumn], Iterable[Rows]]:
    columns = [*BEFORE.values(), *_FEEDBACK.values(), *MODEL_COLUMNS, *_STREAM]
    said = [entry.attributes for entry in entries]
    rows: Rows = {
        "time": [entry.time_ns for entry in entries],
        "job_id": [each.get("prediction.job_id") for each in said],
        "index": [each.get("prediction.index") for each in said],
        **{column.name: [each.get(name) for each in said] for name, column in _FEEDBACK.items()},
        **{
            column.name: [entry.model and entry.model[at] for entry in entries]
            for at, column in enumerate(MODEL_COLUMNS)
        },
        "stream": [entry.stream for entry in entries],
        "sequence": [entry.sequence for entry in entries],
    }
    return columns, [rows]
