"""What an append has read and not written yet, in a temporary file: by stream, in pieces of numbers that fit memory.

A piece is written to files of its own, so a run's memory does not grow with what has come since the last one.
"""

from __future__ import annotations

from collections import defaultdict
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from predictor.reader.record import Entry, ModelVersion
from predictor.reader.sequence_sets import NumberSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

PIECE = 1 << 15
"""Numbers of one piece: some 50 MB while it is written."""
_PENDING = 4096  # records that are held before they go to the file
_UNSETTLED_NS = 300 * 10**9
"""A number below one that was written so lately may still be on its way; longer ago it is lost."""


class Kept(NamedTuple):
    """What of a record a table needs."""

    sequence: int
    event: str
    time_ns: int
    trace_id: str
    attributes: dict[str, Any]
    model: tuple[str, str, str] | None
    redaction: dict[str, str]

    def entry(self, stream: str) -> Entry:
        """Return it as a record."""
        model = ModelVersion(*self.model) if self.model else None
        return Entry(
            stream=stream,
            sequence=self.sequence,
            event=self.event,
            time_ns=self.time_ns,
            observed_ns=0,
            severity="",
            body="",
            trace_id=self.trace_id,
            span_id="",
            sampled=False,
            attributes=self.attributes,
            model=model,
            resource={},
            redaction=self.redaction,
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Kept]).decode


class PieceSpool:
    """Takes the records of one run in any order."""

    def __init__(self, now_ns: int) -> None:
        """Take the time at which the run began."""
        self._file = TemporaryFile(buffering=1 << 20)  # noqa: SIM115 - until `__exit__`
        self._since = now_ns - _UNSETTLED_NS
        self._pending: defaultdict[tuple[str, int], list[Kept]] = defaultdict(list)
        self._waiting = 0
        self._places: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        self._seen: defaultdict[str, NumberSet] = defaultdict(NumberSet)
        self._late: defaultdict[str, list[int]] = defaultdict(list)
        self.lowest: dict[str, int] = {}
        """The least number that was seen of a stream."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._file.close()

    def see(self, entry: Entry) -> bool:
        """Take in that a record is there, and tell whether it is the first of its number."""
        stream, number = entry.stream, entry.sequence
        if not self._seen[stream].add(number):
            return False
        self.lowest[stream] = min(self.lowest.get(stream, number), number)
        written = max(entry.observed_ns, entry.time_ns)
        if written > self._since:
            self._late[stream].append(number)
        return True

    def keep(self, entry: Entry) -> None:
        """Put a record aside."""
        self._pending[entry.stream, (entry.sequence - 1) // PIECE].append(
            Kept(
                entry.sequence,
                entry.event,
                entry.time_ns,
                entry.trace_id,
                entry.attributes,
                tuple(entry.model) if entry.model else None,  # type: ignore[arg-type]
                entry.redaction,
            )
        )
        self._waiting += 1
        if self._waiting >= _PENDING:
            self._flush()

    def settled(self, stream: str) -> int:
        """Return the number up to which nothing of a stream can still come."""
        for number in sorted(self._late[stream]):
            if number - 1 not in self._seen[stream] and number > self.lowest[stream]:
                return number - 1
        return 2**63 - 1

    def pieces(self) -> Iterator[tuple[str, list[Kept]]]:
        """Yield each stream's records piece by piece, in the order of their numbers."""
        self._flush()
        for stream in sorted({stream for stream, _ in self._places}):
            for place in sorted(place for each, place in self._places if each == stream):
                yield stream, self._read(stream, place)

    def _read(self, stream: str, place: int) -> list[Kept]:
        found: list[Kept] = []
        for offset, size in self._places[stream, place]:
            self._file.seek(offset)
            found += _decode(self._file.read(size))
        return sorted(found, key=lambda kept: kept.sequence)

    def _flush(self) -> None:
        self._file.seek(0, 2)
        for key, some in self._pending.items():
            data = _encode(some)
            self._places[key].append((self._file.tell(), len(data)))
            self._file.write(data)
        self._pending.clear()
        self._waiting = 0
