"""Reads a table of rows with the original's predictions: Parquet, CSV or JSON lines, in parts."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from predictor.core import extras

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".parquet", ".csv", ".jsonl")
PART = 256
"""Rows that are handled at once."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Record = dict[str, Any]
"""The values of a row by column; of CSV they are texts."""


def parts(path: Path) -> Iterator[list[Record]]:
    """Yield the rows in their order; raises OSError, and ValueError for what is no such table."""
    if path.suffix not in SUFFIXES:
        msg = f"{path} is not a table of rows; wanted a name that ends in {', '.join(SUFFIXES)}"
        raise ValueError(msg)
    rows = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}[path.suffix](path)
    while part := list(islice(rows, PART)):
        yield part


def _parquet(path: Path) -> Iterator[Record]:
    if find_spec("pyarrow") is None:
        msg = f"{path} needs pyarrow: {extras.command('log')}, or give .csv or .jsonl"
        raise ValueError(msg)
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(PART):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        msg = f"{path} cannot be read: {' '.join(str(error).split())}"
        raise ValueError(msg) from error


def _csv(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                if None in row or None in row.values():
                    msg = f"{path}, line {reader.line_num}: it has not as many values as the first line has names"
                    raise ValueError(msg)
                yield row
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise ValueError(msg) from error


def _json_lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                msg = f"{path}, line {number}: {error}; wanted an object with a value for each column"
                raise ValueError(msg) from error
