"""A folder of Parquet files, or a bucket, in the layout that Hive began and duckdb, polars, Spark and Trino read.

`<folder>/predictions/model=iris/day=2026-11-26/<stream>.<first>-<last>.parquet`, and the same under `feedback`.
A file's name says which numbers of which stream it covers, so the names alone tell what is there.
"""

from __future__ import annotations

import fcntl
import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from predictor.reader.export.writers import tables_of
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from predictor.reader.export.columns import ExportColumn, Rows

_NAME = re.compile(r"([0-9A-Za-z-]+)\.([0-9]{1,19})-([0-9]{1,19})\.parquet")
_ODD = re.compile(rb"[^A-Za-z0-9_. -]")
_ABOUT = b"predictor"  # the footer's key
_LOCK = "_lock"  # readers of such a layout pass over what begins so
_ANY = "__HIVE_DEFAULT_PARTITION__"


class NumberRange(NamedTuple):
    """Numbers of one stream, both ends included."""

    stream: str
    first: int
    last: int


class About(msgspec.Struct, frozen=True):
    """What the footer of a file says of its range."""

    files: list[str]
    """All files of the range: a run that was ended in between has left some."""
    newest: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    """When the youngest of its requests arrived, Unix nanoseconds."""
    closed: bool
    """Whether the stream ends in it."""
    labels: dict[str, list[str]]
    """The labels of each model, by `name@version digest`."""


def partition(kind: str, model: str | None, day: str) -> str:
    """Return the folder of some rows; a name is written as Hive writes it."""
    name = _ODD.sub(lambda found: b"%%%02X" % found[0][0], model.encode()).decode() if model else _ANY
    return f"{kind}/model={name}/day={day}"


class TableFolder:
    """The files of one table."""

    def __init__(self, where: str) -> None:
        """Take a path or a URL that pyarrow knows, such as s3://bucket/log; raises SourceError, OSError."""
        from pyarrow import ArrowInvalid, fs  # noqa: PLC0415 - the extra `log`

        self._fs = fs
        self.name = where if "://" not in where else f"{where.partition('://')[0]} URL"  # which may hold a password
        try:
            self._system, path = (
                fs.FileSystem.from_uri(where) if "://" in where else (fs.LocalFileSystem(), _absolute(where))
            )
        except (ArrowInvalid, ValueError) as error:
            raise SourceError(self.name, f"{error}; wanted a folder, or a URL such as s3://bucket/folder") from error
        if "://" in where:
            self.name = f"{where.partition('://')[0]}://{path}"
        self._root = path.rstrip("/")
        self.files = self._list()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs away from a folder; from a bucket whoever starts the runs must. Raises SourceError."""
        if not isinstance(self._system, self._fs.LocalFileSystem):
            yield
            return
        self._system.create_dir(self._root)
        with open(f"{self._root}/{_LOCK}", "ab") as file:  # noqa: PTH123
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SourceError(self.name, "another run adds to it") from error
            yield

    def ranges(self) -> dict[str, list[NumberRange]]:
        """Return which numbers are there, by stream and ascending."""
        found = {match for name in self.files if (match := _range(name))}
        by_stream: dict[str, list[NumberRange]] = {}
        for each in sorted(found):
            by_stream.setdefault(each.stream, []).append(each)
        return by_stream

    def about(self, part: NumberRange) -> About | None:
        """Return what the footer of one of the range's files says, None if it says nothing."""
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415

        name = next(name for name in sorted(self.files) if _range(name) == part)
        try:
            with self._system.open_input_file(f"{self._root}/{name}") as file:
                said = parquet.ParquetFile(file).metadata.metadata or {}
            return msgspec.json.decode(said[_ABOUT], type=About)
        except (ArrowInvalid, KeyError, msgspec.MsgspecError, RecursionError):
            return None

    def write(self, name: str, columns: Sequence[ExportColumn], blocks: Iterable[Rows], about: About) -> int:
        """Write one file, which appears as a whole, and return how many rows it has; raises OSError."""
        from pyarrow import parquet  # noqa: PLC0415

        schema, tables = tables_of(columns, blocks)
        schema = schema.with_metadata({_ABOUT: json.dumps(msgspec.structs.asdict(about), sort_keys=True).encode()})
        path, written = f"{self._root}/{name}", 0
        folder, _, last = path.rpartition("/")
        local = isinstance(self._system, self._fs.LocalFileSystem)
        if local:  # a bucket has no folders, and shows no file before it is closed
            self._system.create_dir(folder)
        part = f"{folder}/.{last}.partial" if local else path
        with (
            self._system.open_output_stream(part) as file,
            parquet.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for table in tables:
                writer.write_table(table)
                written += table.num_rows
        if local:
            self._system.move(part, path)
        self.files.add(name)
        return written

    def _list(self) -> set[str]:
        found = set()
        for kind in ("predictions", "feedback"):
            selector = self._fs.FileSelector(f"{self._root}/{kind}", recursive=True, allow_not_found=True)
            for info in self._system.get_file_info(selector):
                name = info.path.removeprefix(f"{self._root}/")
                if info.is_file and _range(name):
                    found.add(name)
        return found


def missing(about: About, files: set[str]) -> set[str]:
    """Return the files of a range that are not there."""
    return set(about.files) - files


def last_days(files: set[str], days: int) -> set[str]:
    """Return the files of the latest days."""
    by_day = {name: name.split("/")[2] for name in files}
    latest = sorted(set(by_day.values()))[-days:]
    return {name for name, day in by_day.items() if day in latest}


def _range(name: str) -> NumberRange | None:
    match = _NAME.fullmatch(name.rpartition("/")[2])
    return NumberRange(match[1], int(match[2]), int(match[3])) if match else None


def _absolute(where: str) -> str:
    from pathlib import Path  # noqa: PLC0415

    return str(Path(where).expanduser().absolute())
