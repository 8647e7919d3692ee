"""Reads the folder `rejected/` of each stream: refused items, and beside each the sink's answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from predictor.outbox.layout import LAYOUT, StreamFiles, open_regular, streams
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from predictor.outbox.layout import Signal

_ITEM, _REASON = ".json", ".reason.json"
_NUMBERED = re.compile(r"logs-(\d{1,19})").fullmatch


class RejectionReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside an item: the sink's answer, its words, where and when (Unix nanoseconds; 0 if unknown)."""

    status: int = 0
    words: str = ""
    endpoint: str = ""
    time_unix_ns: int = 0


class RejectedItem(NamedTuple):
    """A refused record or span, or a line that could not be parted."""

    stream: StreamFiles
    name: str
    """`logs-<number>`, `traces-…`, or `logs-<segment>-<offset>-<item>` where the number could not be read."""

    @property
    def signal(self) -> Signal:
        """Which endpoint it belongs to."""
        return "traces" if self.name.startswith("traces-") else "logs"

    @property
    def sequence(self) -> int | None:
        """The record's number, if its name has it."""
        found = _NUMBERED(self.name)
        return int(found[1]) if found else None

    @property
    def path(self) -> Path:
        """The file that holds it, a line of OTLP JSON."""
        return self.stream.rejected / f"{self.name}{_ITEM}"

    @property
    def beside(self) -> Path:
        """The file that holds its reason; it may be missing."""
        return self.stream.rejected / f"{self.name}{_REASON}"

    def reason(self) -> RejectionReason:
        """Return what is known of the refusal; without a file that can be read, the time at which it was kept."""
        try:
            with open_regular(self.beside) as file:
                return msgspec.json.decode(file.read(), type=RejectionReason)
        except (OSError, msgspec.MsgspecError):
            try:
                return RejectionReason(time_unix_ns=self.path.stat().st_mtime_ns)
            except OSError:
                return RejectionReason()


def chosen(outbox: Path, stream: str | None = None) -> list[StreamFiles]:
    """Return the streams of an outbox, or the named one; raises SourceError if there is none such."""
    if not (outbox / LAYOUT).is_dir():
        raise SourceError(str(outbox), "there is no outbox; wanted the folder that PREDICTOR_OUTBOX names")
    found = [files for files in streams(outbox) if stream in {None, files.stream_id}]
    if stream is not None and not found:
        raise SourceError(str(outbox), f"there is no stream {stream}")
    return found


def items(files: StreamFiles) -> Iterator[RejectedItem]:
    """Yield what is kept of one stream, in the order of its names' numbers; raises OSError."""
    yield from _kept(files, regular=True)


def irregular(files: StreamFiles) -> Iterator[RejectedItem]:
    """Yield what is named as an item and is no regular file: a FIFO would be read for ever; raises OSError."""
    yield from _kept(files, regular=False)


def _kept(files: StreamFiles, *, regular: bool) -> Iterator[RejectedItem]:
    try:
        names = [path.name for path in files.rejected.iterdir() if path.is_file() is regular]
    except FileNotFoundError:
        return
    kept = [name.removesuffix(_ITEM) for name in names if name.endswith(_ITEM) and not name.endswith(_REASON)]
    for name in sorted(kept, key=lambda name: [part.zfill(20) for part in name.split("-")]):
        yield RejectedItem(files, name)
