"""The outbox as a source, and what it has in common with files."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from predictor.outbox import ended, layout
from predictor.outbox.liveness import owned
from predictor.reader.record import STREAM
from predictor.reader.sources.backwards import NEVER, Part, blocks
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.later import add_later
from predictor.reader.sources.otlp_record import entries
from predictor.reader.time_range import TimeRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from predictor.reader.record import Entry, LaterSchema

_ALWAYS = TimeRange()
_BYTES = 4 << 20  # read at a time
GONE = sys.maxsize
"""`kept_from` of a stream that was taken away as a whole while it was read."""
# A value that JSON writes in one way only, so that lines without it need no parsing.
_PLAIN = re.compile(r"[A-Za-z0-9._-]+").fullmatch


class Line(NamedTuple):
    """One line and where it stands."""

    place: str
    text: bytes


class Local:
    """What the local sources share: from lines to records, and what to do with a line that cannot be read."""

    oldest: int | None = None
    """Everything that is there is looked at if nobody says from when on."""

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

    def read(self, window: TimeRange, exactly: Mapping[str, str] | None = None) -> Iterator[Entry]:
        """Yield the records of a window; see `Source.read`."""
        wanted = [value.encode() for value in (exactly or {}).values() if _PLAIN(value)]
        done = 0
        try:
            size = self.size() or 1
            for line in self.lines(window.start):
                done += len(line.text)
                self.fraction = min(done / size, 1.0)
                if all(value in line.text for value in wanted):
                    yield from self.entries(line, window)
        except OSError as error:
            raise SourceError(str(error.filename or self._path), error.strerror or str(error)) from error

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

    def _add_later(self, record: LaterSchema) -> None:
        add_later(self, record)

    def _spoil(self, path: Path, what: str) -> None:
        """Take in, once, that a place which may hold records cannot be read."""
        sentence = f"{path}: {what}"
        if sentence not in self.damaged:
            self.damaged.append(sentence)

    def _pass_over(self, path: Path, why: str) -> None:
        sentence = f"{path} was not read: {why}"
        if sentence not in self.passed_over:
            self.passed_over.append(sentence)

    def lines(self, since: int | None = None) -> Iterator[Line]:
        """Yield all complete lines, perhaps without files that nobody wrote to `since`; raises OSError."""
        raise NotImplementedError

    def size(self) -> int:
        """Return about how many bytes there are to read."""
        raise NotImplementedError

    def entries(self, line: Line, window: TimeRange) -> list[Entry]:
        """Return a line's records; what of them cannot be read is damage."""
        spoiled: list[str] = []
        try:
            found = entries(line.text, spoiled.append, self._add_later)
        except ValueError as error:
            found = []
            spoiled.append(str(error))
        self.damaged += [f"{line.place}: {what}" for what in spoiled]
        return found if window == _ALWAYS else [entry for entry in found if window.holds(entry.time_ns)]


_MINUTE_NS = 60 * 10**9


class OutboxSource(Local):
    """The folder that PREDICTOR_OUTBOX names; a server may be writing to it and taking away what it has shipped."""

    def __init__(self, path: Path) -> None:
        """Take the outbox."""
        super().__init__(path)
        self._kept: dict[str, int] = {}

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def lines(self, since: int | None = None) -> Iterator[Line]:
        """Yield the lines of all streams, oldest stream first."""
        for stream in self._streams():
            files = stream.signal("logs")
            self._kept[stream.stream_id] = files.cursor().sequence + 1
            place = _after(files, since)
            while (batch := self._read(files, place.segment, place.offset, 1 << 20)).lines:
                for text in batch.lines:
                    yield Line(str(stream.path), text)
                place = layout.Cursor(batch.segment, batch.offset)

    def backwards(self, window: TimeRange) -> Iterator[Iterator[Part]]:
        """Yield the parts of each stream, the youngest stream first: its lines are in the order of their writing."""
        for stream in reversed(self._streams()):
            yield self._backwards(stream, window)

    def _backwards(self, stream: layout.StreamFiles, window: TimeRange) -> Iterator[Part]:
        files = stream.signal("logs")
        for number in reversed(files.numbers()):
            try:
                with layout.open_regular(files.segment(number)) as file:
                    yield Part([], os.fstat(file.fileno()).st_mtime_ns)
                    for at, lines in blocks(file):
                        if not lines[-1].endswith(b"\n"):  # half written
                            lines.pop()
                        yield self._part(files.segment(number), (at, lines), window)
            except FileNotFoundError:  # shipped meanwhile
                continue
            except OSError as error:
                self._spoil(files.segment(number), error.strerror or str(error))
                continue
            if not written_since(files.segment(number), window.start):
                return

    def size(self) -> int:
        """Return the bytes of all segments."""
        every = (stream.signal("logs") for stream in self._streams())
        return sum(files.backlog(layout.Cursor()) for files in every)

    def kept_from(self, stream: str) -> int:
        """Return the number after the last that the sink has, or that made room for later ones."""
        files = layout.StreamFiles(self._path / layout.LAYOUT / stream)
        if not files.path.is_dir():  # shipped to its end while it was read: nothing of it need be here
            return GONE if stream in self._kept else 1
        return max(self._kept.get(stream, 1), files.signal("logs").cursor().sequence + 1)

    def writes(self, stream: str) -> bool | None:
        """Tell whether a process has the stream, as its lock says; None of one whose folder is gone."""
        files = layout.StreamFiles(self._path / layout.LAYOUT / stream)
        return owned(files) if files.path.is_dir() else None

    def holds_older(self, when: int) -> bool:
        """Tell whether there is a segment that was finished a minute before a time: the oldest go first."""
        for stream in layout.streams(self._path):
            files = stream.signal("logs")
            for number in files.numbers():
                with contextlib.suppress(FileNotFoundError):
                    if files.segment(number).stat().st_mtime_ns < when - _MINUTE_NS:
                        return True
        return False

    def follow(self, window: TimeRange) -> Iterator[Entry | None]:
        """Yield what is there and what comes, streams that begin later included."""
        places: dict[str, tuple[int, int]] = {}
        while True:
            for stream in self._streams():
                files = stream.signal("logs")
                if stream.stream_id not in places:
                    places[stream.stream_id] = _after(files, window.start).segment, 0
                while (batch := self._read(files, *places[stream.stream_id], _BYTES)).lines:
                    places[stream.stream_id] = batch.segment, batch.offset
                    for text in batch.lines:
                        yield from self.entries(Line(str(stream.path), text), window)
            yield None

    def _streams(self) -> list[layout.StreamFiles]:
        """Return the streams that can be read, oldest first; what is in their places and cannot be is damage."""
        found = []
        for path in _listed(self._path / layout.LAYOUT):
            if not path.is_dir():
                if not path.is_file():
                    self._spoil(path, "it is no folder of a stream")
                elif path.stem != ended.STEM:
                    self._pass_over(path, "it is no folder of a stream")
                continue
            files = layout.StreamFiles(path).signal("logs")
            try:
                irregular = files.irregular()
            except OSError as error:
                self._spoil(files.folder, error.strerror or str(error))
                continue
            if files.folder.is_symlink() and not files.folder.exists():
                self._spoil(files.folder, "it is a link to nothing")
            for segment in irregular:
                self._spoil(segment, "it is no regular file")
            found.append(layout.StreamFiles(path))
        return found

    def _read(self, files: layout.SignalFiles, segment: int, offset: int, limit: int) -> layout.LineSlice:
        """Return the next lines; a segment that cannot be read is damage, and the next one is read."""
        while True:
            try:
                return files.read(segment, offset, limit)
            except OSError as error:
                path = Path(error.filename)
                self._spoil(path, error.strerror or str(error))
                segment, offset = int(path.stem) + 1, 0


def _listed(folder: Path) -> list[Path]:
    """Return what lies in a folder, in the order of the names; a hidden one is a stream that is still being made."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def written_since(path: Path, since: int | None) -> bool:
    """Tell whether a file can hold records of requests that arrived later; one that is gone cannot."""
    try:
        return since is None or path.stat().st_mtime_ns >= since
    except FileNotFoundError:
        return False


def _after(files: layout.SignalFiles, since: int | None) -> layout.Cursor:
    """Return where the segments begin that can hold later records."""
    numbers = files.numbers()
    return layout.Cursor(
        next((number for number in numbers if written_since(files.segment(number), since)), max(numbers, default=1))
    )
