"""What outbox and files have in common: from pieces to records, and what to do with what cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from predictor.reader import workers
from predictor.reader.record import STREAM
from predictor.reader.sources.backwards import NEVER, Part
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.later import add_later
from predictor.reader.sources.piece import PieceRead, of_line
from predictor.reader.time_range import TimeRange
from predictor.reader.workers import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from predictor.reader.record import Entry, LaterSchema
    from predictor.reader.sources.piece import Piece

_T = TypeVar("_T")
_ALWAYS = TimeRange()
# A value that JSON writes in one way only, so that lines without it need no parsing.
_PLAIN = re.compile(r"[A-Za-z0-9._-]+").fullmatch


class Line(NamedTuple):
    """One line and where it stands."""

    place: str
    text: bytes


class _Made(NamedTuple, Generic[_T]):
    """What was made of a piece, and what is to be told of it."""

    result: _T
    place: str
    collected: bool
    begins: bool
    read: PieceRead


@dataclass(frozen=True)
class _Making(Generic[_T]):
    """Reads a piece and makes something of its records; in whatever process."""

    function: Callable[[Iterable[Entry]], _T]
    window: TimeRange
    wanted: Sequence[bytes]

    def __call__(self, piece: Piece) -> _Made[_T]:
        with undisturbed():
            read = PieceRead()
            result = self.function(read.entries(piece, self.window, self.wanted))
        return _Made(result, piece.place, piece.collected, piece.begins, read)


class Local:
    """A source of files."""

    oldest: int | None = None
    """Everything that is there is looked at if nobody says from when on."""
    collected = False
    """Whether its lines are a Collector's."""

    def __init__(self, path: Path) -> None:
        """Take the file or folder."""
        self._path = path
        self.damaged: list[str] = []
        self.passed_over: list[str] = []
        self.later: dict[str, LaterSchema] = {}
        self.fraction = 0.0

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def pieces(self, since: int | None = None) -> Iterator[Piece]:
        """Yield all complete lines, perhaps without files that nobody wrote to `since`; raises OSError."""
        raise NotImplementedError

    def size(self) -> int:
        """Return about how many bytes there are to read."""
        raise NotImplementedError

    def read(self, window: TimeRange, exactly: Mapping[str, str] | None = None) -> Iterator[Entry]:
        """Yield the records of a window; see `Source.read`."""
        wanted = [value.encode() for value in (exactly or {}).values() if _PLAIN(value)]
        for found in self._made(map(_Making(list, window, wanted), self._opened_pieces(window))):
            yield from found

    def mapped(self, function: Callable[[Iterable[Entry]], _T], window: TimeRange) -> Iterator[_T]:
        """Yield what a function makes of the records of a window, piece by piece; see `Source.mapped`."""
        try:
            large = self.size() > 4 * workers.ALONE
        except OSError as error:
            raise self._unreadable(error) from error
        making = _Making(function, window, ())
        yield from self._made(workers.in_order(making, self._opened_pieces(window), alone=0 if large else None))

    def _opened_pieces(self, window: TimeRange) -> Iterator[Piece]:
        try:
            yield from self.pieces(window.start)
        except OSError as error:
            raise self._unreadable(error) from error

    def _made(self, every: Iterable[_Made[_T]]) -> Iterator[_T]:
        """Yield the results, and take in what the pieces report; raises SourceError."""
        done = line = 0
        try:
            size = self.size() or 1
            for made in every:
                done += made.read.size
                self.fraction = min(done / size, 1.0)
                line = 0 if made.begins else line
                for at, what in made.read.spoiled:
                    place = f"{made.place}:{line + at + 1}" if made.collected else made.place
                    self.damaged.append(f"{place}: {what}")
                line += made.read.lines
                for each in made.read.later:
                    add_later(self, each)
                yield made.result
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(str(error.filename or self._path), error.strerror or str(error))

    def of(self, streams: AbstractSet[str], window: TimeRange) -> Iterator[Entry]:
        """Yield the records of these streams in a window; raises SourceError."""
        one = {STREAM: next(iter(streams))} if len(streams) == 1 else None
        return (entry for entry in self.read(window, one) if entry.stream in streams)

    def recent(self, window: TimeRange) -> Iterator[TimeRange]:
        """Yield the window as it is: the newest are found no faster than all."""
        yield window

    def backwards(self, window: TimeRange) -> Iterator[Iterator[Part]]:
        """Yield the parts of each file or stream from its end; see `Source.backwards`."""
        raise NotImplementedError

    def _part(self, path: Path, block: tuple[int, list[bytes]], window: TimeRange) -> Part:
        """Return the records of a window in a block of lines, and when the first of them was written."""
        at, lines = block
        found: list[Entry] = []
        for text in lines:
            found += self.entries(Line(f"{path} at byte {at}", text), _ALWAYS)
            at += len(text)
        held = found if window == _ALWAYS else [entry for entry in found if window.holds(entry.time_ns)]
        return Part(held, min((entry.observed_ns or entry.time_ns for entry in found), default=NEVER))

    def entries(self, line: Line, window: TimeRange) -> list[Entry]:
        """Return a line's records; what of them cannot be read is damage."""
        spoiled: list[str] = []
        found = of_line(line.text, spoiled.append, lambda each: add_later(self, each), collected=self.collected)
        self.damaged += [f"{line.place}: {what}" for what in spoiled]
        return found if window == _ALWAYS else [entry for entry in found if window.holds(entry.time_ns)]

    def _spoil(self, path: Path, what: str) -> None:
        """Take in, once, that a place which may hold records cannot be read."""
        sentence = f"{path}: {what}"
        if sentence not in self.damaged:
            self.damaged.append(sentence)

    def _pass_over(self, path: Path, why: str) -> None:
        sentence = f"{path} was not read: {why}"
        if sentence not in self.passed_over:
            self.passed_over.append(sentence)


def written_since(path: Path, since: int | None) -> bool:
    """Tell whether a file can hold records of requests that arrived later; one that is gone cannot."""
    try:
        return since is None or path.stat().st_mtime_ns >= since
    except FileNotFoundError:
        return False
