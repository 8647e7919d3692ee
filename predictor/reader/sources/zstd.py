"""Reading of files that zstd has compressed, by pyarrow: Python has it from 3.14 on."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, cast

from predictor.core import extras
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


_BYTES = 1 << 16
"""Read at a time: as much before a damaged place may be lost."""


class DamagedError(Exception):
    """A compressed file ends in its middle, or is none."""


class _Frames(io.RawIOBase):
    """What pyarrow makes of a compressed file; its errors differ from those of the disk."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Take pyarrow's stream."""
        self._stream = stream

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what comes next."""
        try:
            found = self._stream.read(len(buffer))
        except (OSError, ValueError) as error:
            raise DamagedError(str(error)) from error
        buffer[: len(found)] = found
        return len(found)


def reader(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """Return the content of a file as it was; raises SourceError without pyarrow, DamagedError while it is read."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise SourceError(str(path), f"a .zst needs pyarrow: {extras.command('log')}") from error
    return cast("IO[bytes]", io.BufferedReader(_Frames(pa.input_stream(raw, compression="zstd")), _BYTES))
