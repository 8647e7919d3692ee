"""The outbox as a source: a server may be writing to it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.outbox import ended, layout, segment_names
from predictor.outbox.liveness import owned
from predictor.reader.sources.backwards import Part, blocks
from predictor.reader.sources.local import Line, Local, written_since
from predictor.reader.sources.piece import Piece, of_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.reader.record import Entry
    from predictor.reader.time_range import TimeRange

_BYTES = 4 << 20  # read at a time by who follows
GONE = sys.maxsize
"""`kept_from` of a stream that was taken away as a whole while it was read."""
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

    def pieces(self, since: int | None = None) -> Iterator[Piece]:
        """Yield the lines of all streams, oldest stream first."""
        for stream in self._streams():
            files = stream.signal("logs")
            self._kept[stream.stream_id] = files.cursor().sequence + 1
            segment, offset = _after(files, since).segment, 0
            while True:  # until nothing more has come
                before = segment, offset
                for number in [number for number in files.numbers() if number >= segment]:
                    offset = offset if number == segment else 0
                    segment = number
                    for piece in self._of_segment(files.segment(number), Piece(str(stream.path), offset=offset)):
                        yield piece
                        offset = piece.offset + piece.size
                if (segment, offset) == before:
                    break

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
                    self._spoil(path, "it is not the folder of a stream")
                elif path.stem != ended.STEM:
                    self._pass_over(path, "it is not the folder of a stream")
                continue
            files = layout.StreamFiles(path).signal("logs")
            try:
                irregular = files.irregular()
                for name in segment_names.others(files.folder):
                    self._pass_over(files.folder / name, "it is not named as a segment")
            except OSError as error:
                self._spoil(files.folder, error.strerror or str(error))
                continue
            if files.folder.is_symlink() and not files.folder.exists():
                self._spoil(files.folder, "it is a link to nothing")
            for segment in irregular:
                self._spoil(segment, "it is not a regular file")
            found.append(layout.StreamFiles(path))
        return found

    def _of_segment(self, path: Path, piece: Piece) -> Iterator[Piece]:
        """Yield the lines of a segment; one that cannot be read is damage; what is shipped meanwhile is gone."""
        try:
            with layout.open_regular(path) as file:
                yield from of_file(file.fileno(), piece)
        except FileNotFoundError:
            return
        except OSError as error:
            self._spoil(path, error.strerror or str(error))

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


def _after(files: layout.SignalFiles, since: int | None) -> layout.Cursor:
    """Return where the segments begin that can hold later records."""
    numbers = files.numbers()
    return layout.Cursor(
        next((number for number in numbers if written_since(files.segment(number), since)), max(numbers, default=1))
    )
