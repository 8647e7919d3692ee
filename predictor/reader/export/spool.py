"""Temporary files of an export: its records and all feedback, kept on disk until the table's columns are known.

Which columns there are, and what feedback says, is known only when all was read; memory must not grow meanwhile.
"""

from __future__ import annotations

import sqlite3
import struct
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from predictor.reader.record import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_LENGTH = struct.Struct("<I")
_TABLE = "CREATE TABLE feedback (job TEXT, row INTEGER, at INTEGER, label TEXT, value REAL, comment TEXT)"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class LatestFeedback(NamedTuple):
    """What was last said of a row: label, value and comment may come one by one."""

    feedback_label: str | None
    feedback_value: float | None
    feedback_comment: str | None
    feedback_time: int


class Spool:
    """A temporary folder beside the file to come, where there must be room for it anyway."""

    def __init__(self, beside: Path) -> None:
        """Make the folder; raises OSError."""
        self._folder = TemporaryDirectory(prefix=f".{beside.name}.", dir=beside.absolute().parent)
        self._records = open(f"{self._folder.name}/records", "w+b", buffering=1 << 20)  # noqa: SIM115, PTH123 - until `__exit__`
        self._feedback = sqlite3.connect(f"{self._folder.name}/feedback", isolation_level=None)
        self._feedback.execute("PRAGMA journal_mode=OFF")
        self._feedback.execute("PRAGMA synchronous=OFF")
        self._feedback.execute(_TABLE)
        self._feedback.execute("BEGIN")
        self.records = 0
        self.judged = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove everything."""
        self._records.close()
        self._feedback.close()
        self._folder.cleanup()

    def keep(self, entry: Entry) -> None:
        """Put a prediction aside."""
        data = _encode(entry)
        self._records.write(_LENGTH.pack(len(data)) + data)
        self.records += 1

    def keep_feedback(self, entry: Entry) -> None:
        """Put feedback aside."""
        said = entry.attributes
        values = [said.get(f"prediction.feedback.{part}") for part in ("label", "value", "comment")]
        self._feedback.execute(
            "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)", (entry.job_id, entry.row or 0, entry.time_ns, *values)
        )
        self.judged += 1

    def read(self) -> Iterator[Entry]:
        """Yield the predictions in the order in which they were kept."""
        self._feedback.execute("CREATE INDEX found ON feedback (job, row, at)")
        self._records.seek(0)
        while head := self._records.read(_LENGTH.size):
            yield _decode(self._records.read(_LENGTH.unpack(head)[0]))

    def feedback(self, entry: Entry) -> LatestFeedback | None:
        """Return what was said of a prediction, the newest of each kind; None if nothing was."""
        if not self.judged:
            return None
        found: list[tuple[Any, ...]] = self._feedback.execute(
            "SELECT label, value, comment, at FROM feedback WHERE job = ? AND row = ? ORDER BY at",
            (entry.job_id, entry.row or 0),
        ).fetchall()
        if not found:
            return None
        newest = [next((each[at] for each in reversed(found) if each[at] is not None), None) for at in range(3)]
        return LatestFeedback(newest[0], newest[1], newest[2], found[-1][3])
