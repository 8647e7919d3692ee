"""The backlog of one stream: what was read and is not settled, and the cursor up to which the sink has everything."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from predictor import otlp
from predictor.outbox.layout import Cursor, LineSlice, file_size
from predictor.shipping.probes import probes
from predictor.shipping.refusals import RefusalProof

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from predictor.outbox.layout import Signal, StreamFiles

Durable = Callable[[], tuple[int, int]]
"""Returns the place, segment and offset, before which a power cut takes nothing back."""
_YOUNG = 8  # a walk's cursor is stored at the latest when so many parts of its age have passed since the last time
BODY = 512 << 10  # B, of one request; 24 requests/s carry the 12 MB/s of 6,000 records/s
READ = 4 * BODY  # B, at once: a request of many rows is a line as long as a body, and each read opens the file anew


@dataclass(slots=True)
class Piece:
    """A line, or after a refusal a part of one that is a line itself."""

    text: bytes
    segment: int
    begin: int  # offset of its line
    end: int  # offset where the cursor may stand once this piece and all before it are settled
    first: int = 0  # index of its first item in the line
    strikes: int = 0  # times it was answered 500 alone
    condemned: bool = False  # part of a line that was answered 500 again and again

    @property
    def place(self) -> Cursor:
        """Where its line begins."""
        return Cursor(self.segment, self.begin)


def body(signal: Signal, pieces: Sequence[Piece]) -> bytes:
    """Return one request body; a line alone stays as it is, for merging would cut a damaged one."""
    if len(pieces) == 1:
        return pieces[0].text
    return otlp.merge(signal, [piece.text for piece in pieces])


class ReadLines(NamedTuple):
    """What one read found, and whether more was there already."""

    found: LineSlice
    behind: bool


class Backlog:
    """One signal of one stream on its way to the sink.

    `read`, `probes` and `store` take their time at the disk and run in a thread; the rest runs in the event loop.
    """

    def __init__(self, signal: Signal, files: StreamFiles, clock: Callable[[], float]) -> None:
        """Go on where the stored cursor stands."""
        self.files = files
        self.durable: Durable | None = None
        """How far may be read while somebody writes; None where all that is there may."""
        self.pending: deque[Piece] = deque()
        self.behind = False
        self.refusals = RefusalProof()
        self._signal: Signal = signal
        self._files = files.signal(signal)
        self._clock = clock
        self._stored = self.cursor = self._files.cursor()
        self._began = clock()
        self._tried = self._began, self.cursor.segment  # when and in which segment a cursor was last to be stored
        self._storing = threading.Lock()  # a cancelled task leaves its thread at work

    def read(self, limit: int = READ) -> ReadLines:
        """Read the complete lines after those that are pending; raises OSError."""
        if self._stored != Cursor() and not os.path.lexists(self._files.folder / "cursor"):
            self._stored = Cursor()  # somebody removed it: it is stored again
        position = self._position()
        found, held = self._read(position.segment, position.offset, limit)
        # A torn tail alone is nothing to hurry for, nor what is not to be read yet.
        behind = bool(found.lines) and not held and self._files.backlog(Cursor(found.segment, found.offset)) > 0
        return ReadLines(found, behind)

    def take(self, batch: ReadLines) -> None:
        """Add what was read to what is pending."""
        (lines, segment, at), self.behind = batch
        at -= sum(map(len, lines))
        if not self.pending and segment != self.cursor.segment:
            self.cursor = Cursor(segment, at, self.cursor.sequence)
        for text in lines:
            self.pending.append(Piece(text, segment, at, at + len(text)))
            at += len(text)

    def head(self, most: int, limit: int) -> list[Piece]:
        """Return the next pieces: at most `most`, at most `limit` bytes together, at least one."""
        pieces: list[Piece] = []
        size = 0
        for piece in islice(self.pending, most):
            size += len(piece.text)
            odd = not otlp.framed(self._signal, piece.text)
            if pieces and (odd or size > limit):
                break
            pieces.append(piece)
            if odd:  # alone: a body that a damaged line closes early can be accepted with what follows unread
                break
        return pieces

    def settle(self, number: int) -> None:
        """Count the first `number` pieces as accepted or refused."""
        for _ in range(number):
            piece = self.pending.popleft()
            if piece.end != piece.begin:
                sequence = self._sequence(piece)
                self.cursor = Cursor(piece.segment, piece.end, max(self.cursor.sequence, sequence))

    def halve(self, *, condemned: bool = False) -> bool:
        """Put two halves in the place of the first piece; False if it is a single item or cannot be read."""
        piece = self.pending[0]
        try:
            halves = otlp.split(self._signal, piece.text)
        except ValueError:
            return False
        if halves is None:
            return False
        left, right = halves
        self.pending.popleft()
        middle = piece.first + otlp.count(self._signal, left)
        # Only the right half of the line's last part lets the cursor go on.
        place = piece.segment, piece.begin
        self.pending.appendleft(Piece(right, *place, piece.end, middle, condemned=condemned))
        self.pending.appendleft(Piece(left, *place, piece.begin, piece.first, condemned=condemned))
        return True

    def probes(self, event: str) -> Iterator[bytes | None]:
        """Yield items of an event that may prove the first one's refusal, for ever (see `probes.py`)."""
        first = self.pending[0]
        return probes(self._signal, event, self._read_from, first.place, first.first)

    def name(self, piece: Piece) -> str:
        """Return what a refused piece is called: its signal and stream number, or its place in the files."""
        if sequence := self._sequence(piece):
            return f"{self._signal}-{sequence}"
        return f"{self._signal}-{piece.segment:08d}-{piece.begin}-{piece.first}"

    def drained(self) -> bool:
        """Tell whether every complete line was settled; reads a byte, or a line if there is one."""
        position = self._position()
        return not self.pending and not self._files.read(position.segment, position.offset, 1).lines

    def reached(self) -> int:
        """Return the highest stream number that was read; what is pending is sent though its file goes."""
        return max(self.cursor.sequence, self._sequence(self.pending[-1]) if self.pending else 0)

    def size(self) -> int:
        """Return how many bytes are not settled; on a disk that does not answer, those that were read."""
        try:
            return self._files.backlog(self.cursor)
        except OSError:
            return sum(len(piece.text) for piece in self.pending)

    def due(self, interval: float) -> bool:
        """Tell whether the cursor moved and was last stored `interval` seconds ago, or in another segment.

        At first it is stored sooner, so that processes that die young get on: of what one has sent the next sends
        again an eighth at most, and one request.
        """
        at, tried = self._tried
        now = self._clock()
        old = now - at >= min(interval, (now - self._began) / _YOUNG) or self.cursor.segment != tried
        return self.cursor != self._stored and old

    def store(self) -> None:
        """Store the cursor, then remove the segments before it; raises OSError.

        In this order: without the last number whoever closes the stream after a crash would give a number twice.
        Only on a full disk they go first, since nothing else would ever make room for the cursor; reading passes over
        a segment that is gone.
        """
        with self._storing:
            cursor = self.cursor
            self._tried = self._clock(), cursor.segment
            try:
                self._files.store_cursor(cursor)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                self._remove_before(cursor)
                self._files.store_cursor(cursor)
            self._stored = cursor
            self._remove_before(cursor)

    def end(self) -> Cursor:
        """Return where the stream ends for now; raises OSError."""
        numbers = self._files.numbers()
        return Cursor(numbers[-1], file_size(self._files.segment(numbers[-1]))) if numbers else self.cursor

    def _read_from(self, place: Cursor) -> LineSlice:
        return self._read(place.segment, place.offset, BODY)[0]

    def _remove_before(self, cursor: Cursor) -> None:
        for number in self._files.numbers():
            if number < cursor.segment:
                self._files.segment(number).unlink(missing_ok=True)

    def _read(self, segment: int, offset: int, limit: int) -> tuple[LineSlice, bool]:
        """Return complete lines as `SignalFiles.read` does, of what is durable only, and whether that is all for now.

        What a power cut may still take back must not be sent: its numbers would be given to others.
        """
        durable = self.durable() if self.durable else None  # before the reading: it only grows
        found = self._files.read(segment, offset, limit)
        if durable is None or (found.segment, found.offset) < durable:
            return found, False
        if found.segment > durable[0]:
            return LineSlice([], segment, offset), True
        lines, end = found.lines, found.offset
        while lines and end > durable[1]:
            end -= len(lines.pop())
        return LineSlice(lines, found.segment, end), True

    def _position(self) -> Cursor:
        if not self.pending:
            return self.cursor
        return Cursor(self.pending[-1].segment, self.pending[-1].end)

    def _sequence(self, piece: Piece) -> int:
        """Return the stream number of the last record, 0 for spans or if the line is damaged."""
        try:
            return otlp.last_sequence(piece.text) if self._signal == "logs" else 0
        except ValueError:
            return 0
