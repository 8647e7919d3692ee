"""OTLP JSON-lines files as a source: what a Collector's file exporter writes, rotated and gzipped ones too."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from typing import IO, TYPE_CHECKING

from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.outbox import Line, Local, written_since

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from predictor.reader.record import Entry
    from predictor.reader.time_range import TimeRange

_BEGINNINGS = b'{"resourceLogs":', b'{"resourceSpans":'
_ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_Identity = tuple[int, int]


class Files(Local):
    """One file of OTLP JSON lines, or all of a folder's.

    A file is known by its inode: rotation renames it while it is read.
    """

    def __init__(self, path: Path) -> None:
        """Look whether there is anything; raises SourceError if not."""
        super().__init__(path)
        if not self._paths():
            wanted = (
                "an outbox, a file of OTLP JSON lines, a folder of such files (.json, .jsonl, .gz), or a URL of Loki"
            )
            raise SourceError(str(path), f"nothing to read; wanted {wanted}")

    def kept_from(self, stream: str) -> int:
        """Return 1: what rotation has removed looks like what was never there, so choose the window accordingly."""
        del stream
        return 1

    def writes(self, stream: str) -> None:
        """Return None: of a process only its records are here."""
        del stream

    def size(self) -> int:
        """Return the bytes of the files, as they are if compressed."""
        return sum(path.stat().st_size for path in self._paths() if path.exists())

    def lines(self, since: int | None = None) -> Iterator[Line]:
        """Yield the complete lines of all files in the order of their names, then of those that rotation made."""
        seen: set[_Identity] = set()
        while new := [(path, identity) for path, identity in self._identified() if identity not in seen]:
            for path, identity in new:
                if not written_since(path, since):
                    seen.add(identity)
                    continue
                try:
                    with path.open("rb") as raw:
                        if _identity(raw) not in seen:
                            seen.add(_identity(raw))
                            yield from self._of(path, raw)
                except FileNotFoundError:  # renamed since: found under its new name in the next round
                    seen.discard(identity)

    def follow(self, window: TimeRange) -> Iterator[Entry | None]:
        """Yield what is there and what is added, files that appear later included."""
        files: dict[_Identity, IO[bytes]] = {}
        try:
            while True:
                listed = {identity: path for path, identity in self._identified() if path.suffix != ".gz"}
                for identity, path in listed.items():
                    if identity not in files:
                        files[identity] = path.open("rb")
                for identity, file in list(files.items()):
                    for line in _whole_lines(file):
                        yield from self.entries(Line(file.name, line), window)
                    if identity not in listed:  # removed, or rotated out of a single file's name: read to its end now
                        files.pop(identity).close()
                yield None
        except OSError as error:
            raise SourceError(str(error.filename or self._path), error.strerror or str(error)) from error
        finally:
            for file in files.values():
                file.close()

    def entries(self, line: Line, window: TimeRange) -> Iterator[Entry]:
        """Yield a line's records; a Collector that is killed while it writes leaves half a line, and the next goes on.

        What does not parse of the halves is no damage: it was never acknowledged, so it comes once more.
        """
        *halves, last = _parts(line.text)
        for half in halves:
            known = len(self.damaged)
            yield from super().entries(Line(line.place, half), window)
            del self.damaged[known:]
        yield from super().entries(Line(line.place, last), window)

    def _paths(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path] if self._path.exists() else []
        found = sorted(path for path in self._path.iterdir() if path.name.endswith(_ENDINGS))
        # While gzip works on a file both are there, and the new one is not whole.
        return [path for path in found if path.suffix != ".gz" or path.with_suffix("") not in found]

    def _identified(self) -> list[tuple[Path, _Identity]]:
        found = []
        for path in self._paths():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((path, (status.st_dev, status.st_ino)))
        return found

    def _of(self, path: Path, raw: IO[bytes]) -> Iterator[Line]:
        try:
            with gzip.open(raw) if path.suffix == ".gz" else raw as file:
                for number, text in enumerate(file, 1):
                    if text.endswith(b"\n") or path.suffix == ".gz":  # the last of a plain one may be half written
                        yield Line(f"{path}:{number}", text)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damaged.append(f"{path}: {error}")


def _parts(line: bytes) -> list[bytes]:
    """Part a line where an object begins inside it: in a string of JSON there are no bare quotes."""
    if all(line.find(beginning, 1) < 0 for beginning in _BEGINNINGS):
        return [line]
    return [part for part in re.split(rb'(?=\{"resource(?:Logs|Spans)":)', line) if part]


def _identity(file: IO[bytes]) -> _Identity:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines that are complete and stay before one that is not; a file that was cut is read anew."""
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line
