"""Writers of an exported file: Parquet, CSV, JSON lines; in batches, never held as a whole."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from predictor.reader import time_range
from predictor.reader.spreadsheet import harmless, harmless_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from predictor.reader.export.columns import ExportColumn, Rows

_GROUP = 32_768  # rows of a group of Parquet, which are held: some MB
_QUOTE = '"'
_SPECIAL = re.compile('[",\r\n]')
_lines = msgspec.json.Encoder().encode_lines


class Form(Protocol):
    """The form of a file: what rows look like in it, in whatever process that is asked."""

    def render(self, rows: Rows) -> bytes:
        """Return rows as the writer of this form takes them.

        Columns without any value in them may be left out, all others are equally long.
        """

    def writer(self, path: Path) -> Writer:
        """Open a file of this form; raises OSError."""


class Writer(Protocol):
    """One file being written."""

    def write(self, rendered: bytes) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write what is left; the file is whole then."""


class _Lines:
    """A file of lines."""

    def __init__(self, path: Path, head: bytes = b"") -> None:
        """Open the file and write what it begins with; raises OSError."""
        self._file = path.open("wb", buffering=1 << 20)
        self._file.write(head)

    def write(self, rendered: bytes) -> None:
        """Add rows."""
        self._file.write(rendered)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class JsonLines:
    """One JSON object a line; every column is there, null where it is absent."""

    def __init__(self, columns: Sequence[ExportColumn]) -> None:
        """Take the columns."""
        self._columns = columns

    def render(self, rows: Rows) -> bytes:
        """Return a line for each row."""
        names = tuple(column.name for column in self._columns)
        shown = _shown(self._columns, rows)
        if row_type := _row_type(names):
            return _lines([*map(row_type, *shown)])
        return _lines([dict(zip(names, values, strict=True)) for values in zip(*shown, strict=True)])

    def writer(self, path: Path) -> Writer:
        """Open the file; raises OSError."""
        return _Lines(path)


class Csv:
    """RFC 4180 with a line of names; absent values are empty, truth is `true` or `false`, and text is no formula.

    Written by column: a row at a time costs twice as much.
    """

    def __init__(self, columns: Sequence[ExportColumn]) -> None:
        """Take the columns."""
        self._columns = columns

    def render(self, rows: Rows) -> bytes:
        """Return a line for each row."""
        shown = zip(self._columns, _shown(self._columns, rows), strict=True)
        return _csv(zip(*(_cells(column, values) for column, values in shown), strict=True))

    def writer(self, path: Path) -> Writer:
        """Open the file and write the names; raises OSError."""
        return _Lines(path, _csv([_quoted([harmless(column.name) for column in self._columns])]))


class Parquet:
    """Parquet by pyarrow, which is imported here and nowhere else."""

    def __init__(self, columns: Sequence[ExportColumn]) -> None:
        """Take the columns."""
        self._columns = columns

    def render(self, rows: Rows) -> bytes:
        """Return rows as a batch in Arrow's form between processes."""
        return bytes(memoryview(_batch(_schema(self._columns), rows).serialize()))

    def writer(self, path: Path) -> Writer:
        """Open the file; raises OSError, and ImportError without pyarrow."""
        return _ParquetFile(path, _schema(self._columns))


class _ParquetFile:
    """A file of Parquet."""

    def __init__(self, path: Path, schema: Any) -> None:  # noqa: ANN401 - pyarrow has no types
        """Open the file; raises OSError."""
        from pyarrow import parquet  # noqa: PLC0415

        self._schema = schema
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._rows = 0

    def write(self, rendered: bytes) -> None:
        """Add rows."""
        import pyarrow as pa  # noqa: PLC0415 - the extra `log`, large and needed for this only

        batch = pa.ipc.read_record_batch(pa.py_buffer(rendered), self._schema)
        self._batches.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa  # noqa: PLC0415

        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches))
            self._batches, self._rows = [], 0


def _schema(columns: Sequence[ExportColumn]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return the schema of pyarrow."""
    import pyarrow as pa  # noqa: PLC0415

    types = {
        "time": pa.timestamp("ns", tz="UTC"),
        "string": pa.string(),
        "int": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
    }
    types |= {f"{one}s": pa.list_(types[one]) for one in ("string", "int", "double", "bool")}
    types["uints"] = pa.list_(pa.uint64())
    return pa.schema([(column.name, types[column.type]) for column in columns])


def _batch(schema: Any, rows: Rows) -> Any:  # noqa: ANN401
    """Return rows as a batch of pyarrow; a column that is left out has no value."""
    import pyarrow as pa  # noqa: PLC0415

    size = len(next(iter(rows.values())))
    return pa.RecordBatch.from_pydict({name: rows.get(name) or [None] * size for name in schema.names}, schema=schema)


def tables_of(columns: Sequence[ExportColumn], blocks: Iterable[Rows]) -> tuple[Any, Iterator[Any]]:
    """Return a schema of pyarrow, and blocks of rows as its tables, each a group of Parquet.

    Times are to the microsecond: Spark and BigQuery read no finer ones.
    """
    import pyarrow as pa  # noqa: PLC0415

    fine = _schema(columns)
    at = fine.get_field_index("time")
    schema = fine.set(at, pa.field("time", pa.timestamp("us", tz="UTC")))

    def tables() -> Iterator[Any]:
        batches: list[Any] = []
        for rows in blocks:
            batches.append(_batch(schema, rows | {"time": [time_ns // 1000 for time_ns in rows["time"]]}))
            if sum(batch.num_rows for batch in batches) >= _GROUP:
                yield pa.Table.from_batches(batches)
                batches = []
        if batches:
            yield pa.Table.from_batches(batches)

    return schema, tables()


FORMS: dict[str, Callable[[Sequence[ExportColumn]], Form]] = {
    ".parquet": Parquet,
    ".csv": Csv,
    ".jsonl": JsonLines,
}
"""By the ending of the file's name."""


def _shown(columns: Sequence[ExportColumn], rows: Rows) -> Iterator[list[Any]]:
    """Yield the values of each column, times as texts."""
    size = len(next(iter(rows.values())))
    for column in columns:
        values = rows.get(column.name) or [None] * size
        if column.type == "time":
            yield [None if value is None else time_range.shown(value, digits=9) for value in values]
        else:
            yield values


def _cells(column: ExportColumn, values: list[Any]) -> list[str]:
    """Return the values of a column as they stand in CSV."""
    if column.type == "double":
        return _doubles(values)
    if column.type == "int":
        return ["" if value is None else str(value) for value in values]
    if column.type == "bool":
        return ["" if value is None else str(value).lower() for value in values]
    if column.type == "time":
        return ["" if value is None else value for value in values]
    if column.type.endswith("s"):  # a list: it begins with a bracket, which no spreadsheet takes for a formula
        return _quoted(["" if value is None else msgspec.json.encode(value).decode() for value in values])
    return _quoted([value or "" for value in harmless_column(values)])


@lru_cache(16)
def _row_type(names: tuple[str, ...]) -> type[msgspec.Struct] | None:
    """Return a type with these names in JSON, of which a row is made in a third of a dict's time.

    None for names that are equal, or hold what JSON escapes.
    """
    fields = [f"column_{place}" for place in range(len(names))]
    try:
        return msgspec.defstruct("Row", fields, rename=dict(zip(fields, names, strict=True)), gc=False)
    except ValueError:
        return None


def _doubles(values: list[Any]) -> list[str]:
    """Return numbers with the fewest digits that give them again, all at once: Python's own text takes four times."""
    texts = msgspec.json.encode(values)[1:-1].decode().split(",")
    if "null" not in texts:
        return texts
    pairs = zip(values, texts, strict=True)
    return [text if text != "null" else "" if value is None else repr(value) for value, text in pairs]


def _quoted(texts: list[str]) -> list[str]:
    """Return texts with quotes around those that need them."""
    if not _SPECIAL.search("".join(texts)):
        return texts
    return [f'"{text.replace(_QUOTE, _QUOTE * 2)}"' if _SPECIAL.search(text) else text for text in texts]


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    return "".join([f"{row}\r\n" for row in map(",".join, rows)]).encode()
