"""OTLP JSON-lines files as a source: what a Collector's file exporter writes, rotated and compressed ones too."""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from typing import IO, TYPE_CHECKING, cast

from predictor.reader.sources import zstd
from predictor.reader.sources.backwards import NEVER, Part, blocks
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.local import Line, Local, written_since
from predictor.reader.sources.otlp_record import BEGINNINGS, parses, parts
from predictor.reader.sources.piece import Piece, of_file, of_stream
from predictor.reader.sources.plain_file import is_pipe, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from predictor.reader.record import Entry
    from predictor.reader.time_range import TimeRange

# `logs.jsonl`, and what rotation and compression make of it: `logs.jsonl.1`, `logs.log.2.gz`, `logs.jsonl-20251009.zst`
_NAME = re.compile(r"(.+\.(?:jsonl|json|log))(?:[.-](\d+))?(\.gz|\.zst)?")
_COMPRESSED = (".gz", ".zst")
_MOST = 5  # sentences
_SURE = 64 << 20
_DATE = 10**6  # a rotated file's number is a date from here on
_Identity = tuple[int, int]


class Files(Local):
    """One file of OTLP JSON lines, or all of a folder's.

    A file is known by its inode: rotation renames it while it is read.
    """

    collected = True

    def __init__(self, path: Path) -> None:
        """Look whether there is anything; raises SourceError if not."""
        super().__init__(path)
        self._drained: set[_Identity] = set()
        """Pipes that were read: there is nothing left in them."""
        if not self._paths() and not self.damaged:
            wanted = (
                "an outbox, a file of OTLP JSON lines, "
                "a folder of such files (.json, .jsonl, .log, rotated, .gz, .zst), or a URL of Loki"
            )
            raise SourceError(str(path), "; ".join([f"nothing to read; wanted {wanted}", *self.passed_over[:_MOST]]))

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

    def pieces(self, since: int | None = None) -> Iterator[Piece]:
        """Yield the complete lines of all files in the order of their names, then of those that rotation made."""
        seen = set(self._drained)
        while new := [(path, identity) for path, identity in self._identified() if identity not in seen]:
            for path, identity in new:
                if not is_pipe(path) and not written_since(path, since):
                    self._pass_over(path, "nobody has written to it since the window began")
                    seen.add(identity)
                    continue
                try:
                    with open_file(path) as raw:
                        if _identity(raw) not in seen:
                            seen.add(_identity(raw))
                            yield from self._of(path, raw)
                except FileNotFoundError:  # renamed since: found under its new name in the next round
                    seen.discard(identity)
                except OSError as error:
                    if path == self._path:
                        raise
                    seen.add(identity)
                    self._spoil(path, error.strerror or str(error))
                if is_pipe(path):
                    self._drained.add(identity)

    def backwards(self, window: TimeRange) -> Iterator[Iterator[Part]]:
        """Yield the parts of each file, the one that was written last first."""
        found = [(path.stat().st_mtime_ns, path) for path in self._paths() if written_since(path, window.start)]
        for written, path in sorted(found, reverse=True):
            yield self._backwards(path, written, window)

    def _backwards(self, path: Path, written: int, window: TimeRange) -> Iterator[Part]:
        """Yield the parts of a file; of a large one the last `_SURE` bytes are read in any case.

        Several streams share it, and one that ships what an outage held back stands behind younger records of others.
        """
        yield Part([], written)
        if (raw := self._opened(path)) is None:
            return
        with raw:
            if path.suffix in _COMPRESSED or not raw.seekable():  # a pipe
                number = 0
                for piece in self._of(path, raw):
                    lines = piece.lines()
                    found = [(f"{path}:{number + at}", text) for at, text in enumerate(lines, 1)]
                    number += len(lines)
                    yield Part([entry for each in found for entry in self.entries(Line(*each), window)], NEVER)
                return
            done = 0
            for at, block in blocks(raw):
                done += sum(map(len, block))
                # The last one may be half written.
                if not block[-1].endswith(b"\n") and not parses(parts(block[-1])[-1]):
                    block.pop()
                part = self._part(path, (at, block), window)
                yield part if done >= _SURE else part._replace(before=NEVER)

    def follow(self, window: TimeRange) -> Iterator[Entry | None]:
        """Yield what is there and what is added, files that appear later included."""
        files: dict[_Identity, IO[bytes]] = {}
        try:
            while True:
                listed = {identity: path for path, identity in self._identified() if path.suffix not in _COMPRESSED}
                for identity, path in listed.items():
                    if identity not in files and (opened := self._opened(path)):
                        files[identity] = opened
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

    def _opened(self, path: Path) -> IO[bytes] | None:
        """Open a file; one of several that cannot be read is damage."""
        try:
            return open_file(path)
        except OSError as error:
            if path == self._path:
                raise
            self._spoil(path, error.strerror or str(error))
            return None

    def _paths(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path] if self._path.exists() else []
        found: dict[Path, tuple[object, ...]] = {}
        for path in self._path.iterdir():
            name = _NAME.fullmatch(path.name)
            if path.is_dir():
                self._pass_over(path, "a folder in the folder")
            elif name is None:
                self._pass_over(path, "its name does not end as one of OTLP JSON lines")
            elif path.is_symlink() and not path.exists():
                self._spoil(path, "it is a link to nothing")
            elif path.exists() and not path.is_file():  # a pipe would be waited for
                self._pass_over(path, "it is not a regular file")
            elif name[3] and path.with_suffix("").exists():
                # While a file is compressed both are there, and the new one is not whole.
                self._pass_over(path, f"{path.stem} is there too")
            elif name[1].endswith(".log") and not _begins_as_line(path):
                self._pass_over(path, "it holds no OTLP JSON lines")
            else:
                found[path] = _order(name[1], int(name[2] or 0)), path.name
        return sorted(found, key=found.__getitem__)

    def _identified(self) -> list[tuple[Path, _Identity]]:
        found = []
        for path in self._paths():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((path, (status.st_dev, status.st_ino)))
        return found

    def _of(self, path: Path, raw: IO[bytes]) -> Iterator[Piece]:
        """Yield the lines of one file; the last one of a plain file may be half written."""
        piece = Piece(str(path), begins=True, rest="try", collected=True)
        try:
            if path.suffix in _COMPRESSED:
                with _plain(path, raw) as file:
                    yield from of_stream(file, piece._replace(rest="take"))
            elif raw.seekable():
                yield from of_file(raw.fileno(), piece)
            else:  # a pipe
                yield from of_stream(raw, piece)
        except (EOFError, zlib.error, gzip.BadGzipFile, zstd.DamagedError) as error:
            self.damaged.append(f"{path}: {error}")


def _order(name: str, number: int) -> tuple[str, int, int]:
    """Return what sorts a file with what rotation made of it, oldest first: 3, 2, 1, none; or by its date."""
    return name, not number, number if number >= _DATE else -number


def _plain(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(raw))
    return zstd.reader(path, raw) if path.suffix == ".zst" else raw


def _begins_as_line(path: Path) -> bool:
    """Tell whether a file that may be any program's log begins as one of ours, or is empty."""
    try:
        with open_file(path) as raw, _plain(path, raw) as file:
            begin = file.read(len(codecs.BOM_UTF8) + len(BEGINNINGS[1])).removeprefix(codecs.BOM_UTF8)
    except (OSError, EOFError, zlib.error, zstd.DamagedError):  # which is told where it is read
        return True
    return not begin or begin.startswith(BEGINNINGS)


def _identity(file: IO[bytes]) -> _Identity:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines that are complete and stay before one that is not; a file that was cut starts again."""
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line
