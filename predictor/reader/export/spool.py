"""Temporary files of an export: its values and all feedback, kept on disk until the table's columns are known.

Which columns there are, and what feedback says, is known only when all was read; memory must not grow meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from predictor.reader.export.columns import FEEDBACK, JOIN_KEY
from predictor.reader.export.part import MODEL
from predictor.reader.sources.piece import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from predictor.reader.export.columns import Block, Rows
    from predictor.reader.record import Entry

_LENGTH = struct.Struct("<I")
_TABLE = "CREATE TABLE feedback (job TEXT, row INTEGER, at INTEGER, label TEXT, value REAL, comment TEXT)"
_FIND = "SELECT label, value, comment, at FROM feedback WHERE (job, row) IN (VALUES (?, ?), (?, 0)) ORDER BY at DESC"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[Any]]).decode
_parted = msgspec.msgpack.Decoder(tuple[list[int], msgspec.Raw]).decode
_PIECE = 1 << 18  # bytes: a thousand rows
_FILTER = 1 << 24  # bits, 2 MB: what is not in it needs no look into the database
_NAMES = [column.name for column in FEEDBACK]


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
        self._filter = bytearray(_FILTER // 8)
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

    def keep(self, block: Block) -> None:
        """Put the values of some rows aside."""
        self.keep_encoded(_encode(block), ())

    def keep_encoded(self, data: bytes, models: Sequence[int]) -> None:
        """Put a block aside that is encoded already, and the places among all of the models that it names."""
        data = _encode([models, msgspec.Raw(data)])
        self._records.write(_LENGTH.pack(len(data)) + data)

    def keep_feedback(self, entry: Entry) -> None:
        """Put feedback aside."""
        said = entry.attributes
        key = entry.job_id or entry.join_key, entry.row or 0  # a key has a space, a job id none
        values = [said.get(f"prediction.feedback.{part}") for part in ("label", "value", "comment")]
        self._feedback.execute("INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)", (*key, entry.time_ns, *values))
        bit = hash(key) % _FILTER
        self._filter[bit // 8] |= 1 << bit % 8
        self.judged += 1

    def read(self) -> Iterator[Block]:
        """Yield the values in the order in which they were kept."""
        self._feedback.execute("CREATE INDEX IF NOT EXISTS found ON feedback (job, row, at)")
        self._records.seek(0)
        while head := self._records.read(_LENGTH.size):
            yield block_in(self._records.read(_LENGTH.unpack(head)[0]))

    def pieces(self) -> Iterator[Piece]:
        """Yield the same as pieces, of which `blocks_in` makes blocks in whatever process."""
        self._records.flush()
        file = self._records.fileno()
        end, at, begin = os.fstat(file).st_size, 0, 0
        while at < end:
            at += _LENGTH.size + _LENGTH.unpack(os.pread(file, _LENGTH.size, at))[0]
            if at - begin >= _PIECE or at == end:
                yield Piece(self._folder.name, file=file, offset=begin, size=at - begin)
                begin = at

    def feedback(self, block: Block) -> Rows:
        """Return what was last said of each row, by column: label, value and comment may come one by one."""
        if not self.judged:
            return {}
        jobs = block.get("prediction.job_id", [])
        rows = block.get("prediction.index") or [0] * len(jobs)
        keys = block.get(JOIN_KEY) or [None] * len(jobs)
        found = [self._said(job, row or 0, key) for job, row, key in zip(jobs, rows, keys, strict=True)]
        return {name: [each[at] for each in found] for at, name in enumerate(_NAMES)}

    def _said(self, job: str | None, row: int, key: str | None) -> tuple[Any, ...]:
        if not self._may_have(job, row) and (key is None or not self._may_have(key, 0)):
            return _NOTHING
        found: list[tuple[Any, ...]] = self._feedback.execute(
            _FIND,
            (job, row, key),
        ).fetchall()
        if not found:
            return _NOTHING
        newest = [next((each[at] for each in found if each[at] is not None), None) for at in range(3)]
        return *newest, found[0][3]

    def _may_have(self, whose: str | None, row: int) -> bool:
        bit = hash((whose, row)) % _FILTER
        return bool(self._filter[bit // 8] & 1 << bit % 8)


def block_in(data: bytes) -> Block:
    """Return what was put aside."""
    models, encoded = _parted(data)
    block = _decode(encoded)
    if models:
        block[MODEL] = [models[place] for place in block[MODEL]]
    return block


def blocks_in(piece: Piece) -> Iterator[Block]:
    """Yield what a piece holds."""
    data, at = os.pread(piece.file, piece.size, piece.offset), 0
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        yield block_in(data[at : at + size])
        at += size


_NOTHING = (None,) * len(_NAMES)
