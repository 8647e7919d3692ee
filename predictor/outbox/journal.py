"""The segments that one process writes, one after the other, and their way to the disk.

fsync runs in a thread, one at a time, and whoever comes while it runs shares the next one.
After a failed fsync the kernel may have forgotten what it could not write, and a second fsync would say that all is
well. So the files are closed for good, and what was written since the last good sync, kept in memory until then,
is written once more to a new segment.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from predictor import threads
from predictor.console import Throttle
from predictor.outbox.disk import Disk, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from predictor.outbox.segments import SignalFiles

SYNC_BYTES = 32 << 20  # synced at once: a fast writer would pass the bound before the next second
_COPY_BYTES = 1 << 20
log = logging.getLogger("predictor.outbox")


class Journal:
    """Appends whole lines to numbered segments; all but the fsyncs happens in the event loop's thread."""

    def __init__(
        self, files: SignalFiles, disk: Disk, *, fsync: bool, segment_bytes: int, clock: Callable[[], float]
    ) -> None:
        """Open nothing yet: the first `append` or `roll` does; the thread that syncs is started here (OSError)."""
        self.segment: Segment | None = None
        self.opened = 0.0  # when, by `clock`
        self.unsynced_bytes = 0
        self.appended = 0  # lines, of which `durable` are on disk
        self.durable = 0
        self.suspect = False  # an fsync has failed and its lines are not yet written once more: nothing is taken
        self._files, self._disk, self._fsync, self._clock = files, disk, fsync, clock
        self._segment_bytes = segment_bytes
        self._throttle = Throttle(clock=clock)
        self._number = max(files.numbers(), default=0)
        self._retired: list[Segment] = []  # complete, not yet synced
        self._new_name = False  # the directory does not yet durably name the current segment
        self._unsynced: list[bytes] = []
        self._syncing: asyncio.Task[OSError | None] | None = None
        self._thread = threads.pool(1, "outbox-sync") if fsync else None

    @property
    def dirty(self) -> bool:
        """Whether a sync would have something to do."""
        return self._fsync and (self.suspect or bool(self._retired) or self.durable < self.appended)

    def append(self, line: bytes) -> None:
        """Write `line` whole or not at all, to a new segment where the current one is complete; raises OSError."""
        segment = self.segment
        if segment is None or segment.torn or segment.size >= self._segment_bytes:
            segment = self.roll()
        segment.append(line)
        if self._fsync:
            self._unsynced.append(line)
            self.unsynced_bytes += len(line)
            self.appended += 1
            if self.unsynced_bytes > SYNC_BYTES:
                self.begin_sync()

    def roll(self) -> Segment:
        """Begin a new segment; raises OSError."""
        if self.suspect:
            raise OSError(errno.EIO, "fsync failed, what it left unsure is being written once more")
        self._number += 1
        segment = Segment(self._disk, self._files.segment(self._number))
        self._retire()
        self.segment, self.opened, self._new_name = segment, self._clock(), True
        return segment

    async def sync(self) -> OSError | None:
        """Join the sync that runs or start one; return why its lines are not on disk, None if they are.

        A sync covers what was appended before it began: compare `durable`.
        """
        return await asyncio.shield(self.begin_sync())  # a caller that goes away harms nobody

    def begin_sync(self) -> asyncio.Task[OSError | None]:
        """Return the sync that runs, or start one; who does not wait hears of a failure from the next one."""
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())
        return self._syncing

    async def aclose(self) -> None:
        """Sync what is new and close; raises OSError if that is not known to be on disk."""
        failure: OSError | None = None
        while self.dirty and failure is None:
            failure = await self.sync()
        self._retire()
        self._close_retired()
        if self._thread:
            self._thread.shutdown(wait=False)
        if failure is not None:
            raise failure

    async def _sync(self) -> OSError | None:
        try:
            if self.suspect:
                return await self._write_once_more()
            mark, count, size = self.appended, len(self._unsynced), self.unsynced_bytes
            retired, self._retired = self._retired, []
            folder = self._files.folder if self._new_name else None
            self._new_name = False
            try:
                await asyncio.get_running_loop().run_in_executor(
                    self._thread, _sync_all, self._disk, retired, self.segment, folder
                )
            except OSError as error:
                self.suspect = True
                self._say_unsure(error)
                self._retire()
                return await self._write_once_more()
            self._forget(mark, count, size)
            return None
        finally:
            self._syncing = None

    async def _write_once_more(self) -> OSError | None:
        """Bring the unsynced lines to a new segment; `suspect` keeps others from writing meanwhile."""
        self._close_retired()
        self._number += 1
        path = self._files.segment(self._number)
        try:
            segment = await asyncio.get_running_loop().run_in_executor(
                self._thread, _copy, self._disk, path, self._unsynced
            )
        except OSError as error:
            return error
        self.segment, self.opened = segment, self._clock()
        self._forget(self.appended, len(self._unsynced), self.unsynced_bytes)
        self.suspect = False
        return None

    def _say_unsure(self, error: OSError) -> None:
        if self._throttle.due():
            log.error("fsync of %s: %s; what it left unsure is written once more", self._files.folder, error.strerror)

    def _forget(self, mark: int, count: int, size: int) -> None:
        self.durable = mark
        del self._unsynced[:count]
        self.unsynced_bytes -= size

    def _retire(self) -> None:
        if self.segment is not None:
            self._retired.append(self.segment)
            self.segment = None
        if not self._fsync:
            self._close_retired()

    def _close_retired(self) -> None:
        for segment in self._retired:
            segment.close()
        self._retired.clear()


def _sync_all(disk: Disk, retired: Sequence[Segment], current: Segment | None, folder: Path | None) -> None:
    """Sync all segments, and the directory if one is new; the retired ones are closed, whatever happens."""
    try:
        for segment in retired:
            segment.sync()
        if current is not None:
            current.sync()
        if folder is not None:
            disk.sync_directory(folder)
    finally:
        for segment in retired:
            segment.close()


def _copy(disk: Disk, path: Path, lines: Sequence[bytes]) -> Segment:
    """Return a new segment that holds `lines` and is synced; raises OSError and leaves nothing then."""
    segment = Segment(disk, path)
    try:
        batch: list[bytes] = []
        size = 0
        for line in lines:
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
    return segment
