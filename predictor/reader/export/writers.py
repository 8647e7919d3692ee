"""Writers of an exported file: Parquet, CSV, JSON lines; in batches, never held as a whole."""

from __future__ import annotations

import csv
from typing import IO, TYPE_CHECKING, Any, Protocol

import msgspec

from predictor.reader import time_range
from predictor.reader.spreadsheet import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from predictor.reader.export.columns import ExportColumn, ExportRow

_BATCH = 8192  # rows that are held: some MB


class Writer(Protocol):
    """One file being written."""

    def write(self, row: ExportRow) -> None:
        """Add a row; absent values may be left out."""

    def close(self) -> None:
        """Write what is left; the file is whole then."""


class JsonLines:
    """One JSON object a line; every column is there, null where it is absent."""

    def __init__(self, path: Path, columns: Sequence[ExportColumn]) -> None:
        """Open the file; raises OSError."""
        self._file = path.open("wb", buffering=1 << 20)
        self._columns = columns

    def write(self, row: ExportRow) -> None:
        """Add a row."""
        shown = {column.name: _shown(column, row.get(column.name)) for column in self._columns}
        self._file.write(msgspec.json.encode(shown) + b"\n")

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class Csv:
    """RFC 4180 with a line of names; absent values are empty, truth is `true` or `false`, and text is no formula."""

    def __init__(self, path: Path, columns: Sequence[ExportColumn]) -> None:
        """Open the file and write the names; raises OSError."""
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="", buffering=1 << 20)
        self._csv = csv.writer(self._file)
        self._columns = columns
        self._csv.writerow([harmless(column.name) for column in columns])

    def write(self, row: ExportRow) -> None:
        """Add a row."""
        shown = [_shown(column, row.get(column.name)) for column in self._columns]
        self._csv.writerow([_cell(value) for value in shown])

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class Parquet:
    """Parquet by pyarrow, which is imported here and nowhere else."""

    def __init__(self, path: Path, columns: Sequence[ExportColumn]) -> None:
        """Open the file; raises OSError, and ImportError without pyarrow."""
        import pyarrow as pa  # noqa: PLC0415 - the extra `log`, large and needed for this only
        from pyarrow import parquet  # noqa: PLC0415

        types = {
            "time": pa.timestamp("ns", tz="UTC"),
            "string": pa.string(),
            "int": pa.int64(),
            "double": pa.float64(),
            "bool": pa.bool_(),
        }
        self._batch: Callable[..., Any] = pa.RecordBatch.from_pydict
        self._schema = pa.schema([(column.name, types[column.type]) for column in columns])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._names = [column.name for column in columns]
        self._rows: list[ExportRow] = []

    def write(self, row: ExportRow) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            values = {name: [row.get(name) for row in self._rows] for name in self._names}
            self._writer.write_batch(self._batch(values, schema=self._schema))
            self._rows.clear()


WRITERS: dict[str, Callable[[Path, Sequence[ExportColumn]], Writer]] = {
    ".parquet": Parquet,
    ".csv": Csv,
    ".jsonl": JsonLines,
}
"""By the ending of the file's name."""


def _shown(column: ExportColumn, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    return time_range.shown(value, digits=9) if column.type == "time" and value is not None else value


def _cell(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if isinstance(value, bool):
        return str(value).lower()
    return harmless(value) if isinstance(value, str) else value
