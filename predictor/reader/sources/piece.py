"""Pieces of a log: lines that lie one after another, small enough to be held, and what is read of them.

A piece can be read in any process: it is a stretch of an open file, or the bytes themselves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

from predictor.reader.sources.otlp_record import entries, parses, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from predictor.reader.record import Entry, LaterSchema
    from predictor.reader.time_range import TimeRange

BYTES = 1 << 20
"""Of one piece, about; it has a whole line at least."""
_BLOCK = 1 << 16
Rest = Literal["drop", "try", "take"]
"""What to do with a last line without its newline: it may be half written, it counts if it parses, it counts."""


class Piece(NamedTuple):
    """Some lines of one place."""

    place: str
    """What messages call it."""
    file: int = -1
    """A descriptor, open until the next piece is asked for, if `data` is empty."""
    offset: int = 0
    size: int = 0
    data: bytes = b""
    begins: bool = False
    """Whether it is the first of its place."""
    rest: Rest = "drop"
    collected: bool = False
    """Whether it is of a Collector's file: messages name lines by their numbers, and one may begin inside another."""

    def lines(self) -> list[bytes]:
        """Return the lines; raises OSError."""
        *lines, last = (self.data or os.pread(self.file, self.size, self.offset)).split(b"\n")
        if last and (self.rest == "take" or (self.rest == "try" and parses(parts(last)[-1]))):
            lines.append(last)
        return lines


@dataclass
class PieceRead:
    """Reads a piece, and what is to be told of it."""

    lines: int = 0
    size: int = 0
    """In bytes."""
    spoiled: list[tuple[int, str]] = field(default_factory=list)
    """What cannot be read: the line from 0 on, and a sentence."""
    later: list[LaterSchema] = field(default_factory=list)

    def entries(self, piece: Piece, window: TimeRange, wanted: Sequence[bytes] = ()) -> Iterator[Entry]:
        """Yield the records that lie in a window, of lines that have all the texts in `wanted`.

        Line by line: what is handled at once stays in the processor's cache. What the disk does not give is damage, and
        what lies behind it may be read.
        """
        try:
            lines = piece.lines()
        except OSError as error:
            self.spoiled.append((0, error.strerror or str(error)))
            self.size = piece.size
            return
        self.lines, self.size = len(lines), piece.size or len(piece.data)
        bounded = window.start is not None or window.end is not None
        wrong: list[str] = []
        for at, text in enumerate(lines):
            if wanted and not all(value in text for value in wanted):
                continue
            found = of_line(text, wrong.append, self.later.append, collected=piece.collected)
            if wrong:
                self.spoiled += [(at, what) for what in wrong]
                wrong.clear()
            yield from (entry for entry in found if window.holds(entry.time_ns)) if bounded else found


def of_line(
    text: bytes, spoiled: Callable[[str], object], later: Callable[[LaterSchema], object], *, collected: bool
) -> list[Entry]:
    """Return a line's records; a Collector that is killed while it writes leaves half a line, and the next goes on.

    What does not parse of the halves is no damage: it was never acknowledged, so it comes once more.
    """
    if not text or text.isspace():  # an editor's
        return []
    if not collected:
        return _entries(text, spoiled, later)
    *halves, last = parts(text)
    found: list[Entry] = []
    for half in halves:
        found += _entries(half, lambda _: None, later)
    return [*found, *_entries(last, spoiled, later)] if found else _entries(last, spoiled, later)


def _entries(text: bytes, spoiled: Callable[[str], object], later: Callable[[LaterSchema], object]) -> list[Entry]:
    try:
        return entries(text, spoiled, later)
    except ValueError as error:
        spoiled(str(error))
        return []


def of_file(file: int, piece: Piece) -> Iterator[Piece]:
    """Yield the lines of an open file from `piece.offset` on, as they are by and by; raises OSError.

    Of a file that grows the new lines come too; a last line without its newline is left, unless it may count.
    """
    begin, first = piece.offset, piece.begins
    while (size := os.fstat(file).st_size) > begin:
        end = _after_newline(file, begin + BYTES - 1, size) if begin + BYTES < size else 0
        end = end or _after_last_newline(file, begin, size)
        if end == begin:
            break
        yield piece._replace(file=file, offset=begin, size=end - begin, begins=first, rest="drop")
        begin, first = end, False
    if piece.rest != "drop" and size > begin:
        yield piece._replace(file=file, offset=begin, size=size - begin, begins=first)


def of_stream(stream: IO[bytes], piece: Piece) -> Iterator[Piece]:
    """Yield the lines of what can only be read from its beginning to its end.

    Raises whatever reading raises, once it has yielded the complete lines before.
    """
    held, first = bytearray(), piece.begins
    trouble: Exception | None = None
    while True:
        try:
            some = stream.read1(BYTES)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - raised again below
            trouble, some = error, b""
        held += some
        if len(held) >= BYTES or not some:
            end = held.rfind(b"\n") + 1
            if end:
                yield piece._replace(data=bytes(held[:end]), begins=first, rest="drop")
                first = False
                del held[:end]
        if trouble:
            raise trouble
        if not some:
            if held:
                yield piece._replace(data=bytes(held), begins=first)
            return


def _after_newline(file: int, at: int, size: int) -> int:
    """Return where the first line after a place begins, 0 if none is complete."""
    while at < size:
        block = os.pread(file, _BLOCK, at)
        if not block:
            return 0
        if found := block.find(b"\n") + 1:
            return at + found
        at += len(block)
    return 0


def _after_last_newline(file: int, begin: int, end: int) -> int:
    """Return where the last complete line ends, `begin` if there is none."""
    while end > begin:
        at = max(begin, end - _BLOCK)
        if found := os.pread(file, end - at, at).rfind(b"\n") + 1:
            return at + found
        end = at
    return begin
