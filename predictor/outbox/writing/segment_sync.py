"""Work of the sync thread: fsyncs segments, checks that their files are there, writes a second copy."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from predictor.outbox.writing.segment_file import DiskCalls, SegmentFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_COPY_BYTES = 1 << 20


def sync_all(
    disk: DiskCalls, retired: Sequence[SegmentFile], current: SegmentFile | None, folder: Path | None
) -> list[SegmentFile]:
    """Sync all segments, and the `folder` that names them; return those that were removed, see `removed_of`.

    The other retired ones are closed. Raises OSError, and all retired are closed then. In this order: what is there
    after its sync was on disk under its name.
    """
    segments = [*retired, current] if current else list(retired)
    removed: list[SegmentFile] = []
    try:
        for segment in segments:
            segment.sync()
        removed = removed_of(segments)
        if folder and not removed:
            disk.sync_directory(folder)
    except OSError:
        removed = []
        raise
    finally:
        for segment in retired:
            if segment not in removed:
                segment.close()
    return removed


def removed_of(segments: Sequence[SegmentFile]) -> list[SegmentFile]:
    """Return the segments that are no longer named by their paths; they are still open and can be read."""
    return [segment for segment in segments if _is_removed(segment)]


def copy(
    disk: DiskCalls, path: Path, removed: Sequence[SegmentFile], lines: Sequence[bytes]
) -> tuple[SegmentFile, list[SegmentFile]]:
    """Return a new segment, synced, with what `removed` hold and `lines`, and which of `removed` cannot be read.

    Raises OSError and leaves nothing then.
    """
    segment = SegmentFile(disk, path)
    unreadable: list[SegmentFile] = []

    def readable() -> Iterator[bytes]:
        for each in removed:
            try:
                yield from each.content()
            except OSError:
                unreadable.append(each)

    try:
        batch: list[bytes] = []
        size = 0
        for line in chain(readable(), lines):
            batch.append(line)
            size += len(line)
            if size >= _COPY_BYTES:
                segment.append(b"".join(batch))
                batch, size = [], 0
        segment.append(b"".join(batch))
        segment.sync()
        disk.sync_directory(path.parent)
    except OSError:
        segment.close()
        path.unlink(missing_ok=True)
        raise
    return segment, unreadable


def _is_removed(segment: SegmentFile) -> bool:
    try:
        return not segment.linked()
    except OSError:  # nobody knows, for the folder cannot be read
        return False
