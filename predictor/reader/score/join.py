"""Joins predictions with feedback on disk: memory does not grow with the log.

SQLite keeps both in a temporary file of its own (where TMPDIR says): some 60 bytes a prediction, 8 MB of them in
memory. A row counts once, whatever was sent again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from predictor.reader.rows import rows_of
from predictor.reader.score.quality import CalibrationBin, Period

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from predictor.reader.record import Entry, ModelVersion

_COLUMNS = "job, row INT, model INT, label TEXT, n REAL, k, c REAL, t INT"
_PREPARE = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -8192",
    f"CREATE TABLE prediction ({_COLUMNS}, PRIMARY KEY (job, row)) WITHOUT ROWID",
    "CREATE TABLE label (job TEXT, row INT, at INT, said TEXT, PRIMARY KEY (job, row)) WITHOUT ROWID",
    "CREATE TABLE value (job TEXT, row INT, at INT, said REAL, PRIMARY KEY (job, row)) WITHOUT ROWID",
    "CREATE TABLE key_label (k TEXT PRIMARY KEY, at INT, said TEXT) WITHOUT ROWID",
    "CREATE TABLE key_value (k TEXT PRIMARY KEY, at INT, said REAL) WITHOUT ROWID",
    "BEGIN",
)
# Of two at one nanosecond the one that was read later counts.
_LATEST = " ON CONFLICT DO UPDATE SET at = excluded.at, said = excluded.said WHERE excluded.at >= at"


def _latest(insert: str) -> str:
    return insert + _LATEST


_SAY = {
    "prediction.feedback.label": _latest("INSERT INTO label VALUES (?, ?, ?, ?)"),
    "prediction.feedback.value": _latest("INSERT INTO value VALUES (?, ?, ?, ?)"),
}
_SAY_BY_KEY = {
    "prediction.feedback.label": _latest("INSERT INTO key_label VALUES (?, ?, ?)"),
    "prediction.feedback.value": _latest("INSERT INTO key_value VALUES (?, ?, ?)"),
}
_SPREAD = (
    "CREATE INDEX IF NOT EXISTS by_key ON prediction (k)",
    _latest("INSERT INTO label SELECT job, row, at, said FROM key_label JOIN prediction USING (k) WHERE true"),
    _latest("INSERT INTO value SELECT job, row, at, said FROM key_value JOIN prediction USING (k) WHERE true"),
)
"""What was said of a key is said of each of its predictions."""
_STRAY_KEYS = (
    "SELECT count(*) FROM (SELECT k FROM key_label UNION SELECT k FROM key_value) "
    "WHERE k NOT IN (SELECT k FROM prediction WHERE k IS NOT NULL)"
)
_ADD = "INSERT OR IGNORE INTO prediction VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SAID = "(SELECT job, row FROM label UNION SELECT job, row FROM value)"
_COUNTED = "SELECT model, count(*) FROM prediction GROUP BY model ORDER BY 2 DESC, 1"
_COVERED = f"SELECT model, count(*) FROM {_SAID} JOIN prediction USING (job, row) GROUP BY model"  # noqa: S608
_STRAY = f"SELECT count(*) FROM {_SAID} LEFT JOIN prediction USING (job, row) WHERE model IS NULL"  # noqa: S608 - no parameter
_PAIRS = (
    "SELECT model, prediction.label, said, count(*) FROM label JOIN prediction USING (job, row) "
    "WHERE prediction.label IS NOT NULL GROUP BY 1, 2, 3"
)
_NUMBERS = (
    "SELECT model, count(*), avg(said), min(said), max(said), avg(abs(n - said)), "
    "avg((n - said) * (n - said)), count(n) FROM value JOIN prediction USING (job, row) GROUP BY 1"
)
_CALIBRATION = (
    "SELECT model, CAST(min(c * 10, 9) AS INT), count(*), avg(c), avg(prediction.label = said) "
    "FROM label JOIN prediction USING (job, row) WHERE c IS NOT NULL AND prediction.label IS NOT NULL "
    "GROUP BY 1, 2 ORDER BY 1, 2"
)
_PERIODS = (
    "SELECT model, t / ?1 * ?1, count(*), count(label.said), sum(prediction.label = label.said), "
    "count(value.said + n), avg(abs(n - value.said)) "
    "FROM prediction LEFT JOIN label USING (job, row) LEFT JOIN value USING (job, row) GROUP BY 1, 2 ORDER BY 1, 2"
)


@dataclass
class FeedbackNumbers:
    """The numbers that feedback gave, and how far the model's own were from them."""

    count: int
    mean: float
    least: float
    most: float
    absolute_error: float | None = None
    """The mean of the distances; None for a model that gives no number of its own."""
    squared_error: float | None = None
    """The mean of their squares."""
    compared: int = 0


@dataclass
class ModelScore:
    """One model's predictions and what was said of them."""

    model: ModelVersion | None
    predictions: int
    covered: int = 0
    """Those of which feedback says a label or a number."""
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many were called the first and truly were the second."""
    numbers: FeedbackNumbers | None = None
    bins: list[CalibrationBin] = field(default_factory=list)
    """Those with a true label by their confidence."""
    periods: list[Period] = field(default_factory=list)

    @property
    def judged(self) -> int:
        """How many have a true label."""
        return sum(self.pairs.values())

    @property
    def right(self) -> int:
        """How many were truly what they were called."""
        return sum(count for (called, truly), count in self.pairs.items() if called == truly)


class ScoreTable:
    """Takes records in any order, then answers."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._database = sqlite3.connect("", isolation_level=None)  # "": a file that only this process sees
        for statement in _PREPARE:
            self._database.execute(statement)
        self._models: dict[ModelVersion | None, int] = {}
        self._by_key = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._database.close()

    def add_prediction(self, entry: Entry) -> None:
        """Take the rows of a prediction; one that failed has called nothing anything and is left out."""
        if "error.type" in entry.attributes:
            return
        for row in rows_of(entry):
            said = row.attributes
            model = self._models.setdefault(entry.model, len(self._models))
            answer = (said.get("prediction.label"), said.get("prediction.value"))
            whose = (row.job_id, row.row or 0, model)
            self._do(_ADD, *whose, *answer, row.join_key, said.get("prediction.confidence"), row.time_ns)

    def add_feedback(self, entry: Entry) -> None:
        """Take feedback; the latest label of a row counts, and the latest number."""
        key = entry.join_key if entry.job_id is None else None
        self._by_key = self._by_key or key is not None
        for name, statement in (_SAY_BY_KEY if key else _SAY).items():
            if (said := entry.attributes.get(name)) is not None:
                whose = (key,) if key else (entry.job_id, entry.row or 0)
                self._do(statement, *whose, entry.time_ns, said)

    def scores(self, period_ns: int | None = None) -> list[ModelScore]:
        """Return what each model has come to, the one with the most predictions first; over time too, by a period."""
        if self._by_key:
            for statement in _SPREAD:
                self._do(statement)
        models = list(self._models)
        found = {model: ModelScore(models[model], count) for model, count in self._do(_COUNTED)}
        for model, count in self._do(_COVERED):
            found[model].covered = count
        for model, called, truly, count in self._do(_PAIRS):
            found[model].pairs[called, truly] = count
        for model, *numbers in self._do(_NUMBERS):
            found[model].numbers = FeedbackNumbers(*numbers)
        for model, *calibrated in self._do(_CALIBRATION):
            found[model].bins.append(CalibrationBin(*calibrated))
        for model, start, count, judged, right, *errors in self._do(_PERIODS, period_ns) if period_ns else ():
            found[model].periods.append(Period(start, count, judged, right or 0, *errors))
        return list(found.values())

    def stray(self) -> int:
        """Return of how many rows there is feedback and no prediction."""
        return sum(int(count) for statement in (_STRAY, _STRAY_KEYS) for (count,) in self._do(statement))

    def _do(self, statement: str, *values: object) -> Iterator[Any]:
        return self._database.execute(statement, values)
