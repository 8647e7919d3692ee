"""Bounds of the outbox in bytes: of all records over streams and processes, and of the spans beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from predictor.outbox.layout import file_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from predictor.outbox.layout import Signal, SignalFiles

_SPANS: Signal = "traces"  # so begin the names of their folders, and of those that the sink refused


class Usage:
    """The bytes under the outbox `root`: what the last scan saw and what this process has added since.

    Spans do not count, they have a bound of their own: a sample must not cost a record.
    `add` and `room` belong to the event loop's thread, `scan` may run in another.
    """

    def __init__(self, root: Path, limit: int) -> None:
        """Know nothing yet: `used` is 0 until the first scan."""
        self.limit = limit
        self._root = root
        self._added = 0
        self._offset = 0  # a scan's total less what had been added when it began; one store, so no lock is needed

    @property
    def used(self) -> int:
        """The bytes in use; what was written while a scan ran may count twice until the next one."""
        return self._offset + self._added

    def add(self, size: int) -> None:
        """Count `size` bytes as written, or as removed if negative."""
        self._added += size

    def room(self, size: int) -> bool:
        """Tell whether `size` more bytes stay within the bound."""
        return self._offset + self._added + size <= self.limit

    def scan(self) -> int:
        """Count again what is there and return it (blocking); raises OSError if a directory cannot be read."""
        added = self._added
        total = _tree_size(self._root)
        self._offset = total - added
        return total


class OwnBound:
    """Keeps one signal's segments within `limit` bytes by unlinking the oldest, never the newest."""

    def __init__(self, files: SignalFiles, limit: int) -> None:
        """Begin with nothing written."""
        self.segment_bytes = limit // 4  # what goes at once is a quarter of what is kept
        self._files = files
        self._limit = limit
        self._used = 0

    def add(self, size: int) -> None:
        """Count `size` bytes as written, and make room if that is too much."""
        self._used += size
        if self._used > self._limit:  # the shipper may have removed some too
            self._used = bound_spans([self._files], self._limit)


def bound_spans(kept: Sequence[SignalFiles], limit: int) -> int:
    """Unlink the oldest segments until all have `limit` bytes together, and return how many are left (blocking).

    `kept` comes oldest first; the last one's newest segment stays, for it is being written. Raises OSError.
    """
    paths = [files.segment(number) for files in kept for number in files.numbers()]
    sizes = [file_size(path) for path in paths]
    left = sum(sizes)
    for path, size in zip(paths[:-1], sizes, strict=False):
        if left <= limit:
            break
        path.unlink(missing_ok=True)
        left -= size
    return left


def _tree_size(folder: str | Path) -> int:
    """Return the bytes of all files under `folder` but spans; what vanishes meanwhile counts nothing."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(_SPANS):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        total += _tree_size(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        pass
    return total
