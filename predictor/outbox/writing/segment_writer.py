"""Writes the segments of one process, one after the other, and syncs them.

fsync runs in a thread, one at a time, and whoever comes while it runs shares the next one.
After a failed fsync the kernel may have forgotten what it could not write, and a second fsync would say that all is
well. So the files are closed for good, and what was written since the last good sync, kept in memory until then,
is written once more to a new segment. A file that was removed while it was open is read back and written once more too.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, NamedTuple, TypeVar, TypeVarTuple

from predictor import otlp
from predictor.core import thread_pools
from predictor.core.operator_log import Throttle
from predictor.outbox.writing import segment_sync, watermark
from predictor.outbox.writing.segment_contents import Contents
from predictor.outbox.writing.segment_file import DiskCalls, SegmentFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.outbox.layout import SignalFiles

SYNC_BYTES = 32 << 20  # synced at once: a fast writer would pass the bound before the next second
_PACE = 1.0  # s between two syncs, for whoever does not ask for them
log = logging.getLogger("predictor.outbox")
_Given = TypeVarTuple("_Given")
_Result = TypeVar("_Result")


class Place(NamedTuple):
    """A place in the segments."""

    segment: int
    offset: int


class SegmentWriter:
    """Appends whole lines to numbered segments; all but the fsyncs happens in the event loop's thread."""

    def __init__(
        self,
        files: SignalFiles,
        disk: DiskCalls,
        *,
        fsync: bool,
        segment_bytes: int,
        clock: Callable[[], float],
        marks: bool = False,
    ) -> None:
        """Open nothing yet: the first `append` or `roll` does; the thread that syncs is started here (OSError).

        `marks`: where nothing is synced, a sync stores the highest number instead (`watermark.py`).
        """
        self.segment: SegmentFile | None = None
        self.opened = 0.0  # when, by `clock`
        self.unsynced_bytes = 0
        self.appended = 0  # lines, of which `durable` are on disk
        self.durable = 0
        self.durable_end = Place(0, 0)  # what lies before it is on disk, or its numbers are
        self.suspect = False  # a file failed or is gone and its lines are not yet written once more: nothing is taken
        self.problem: str | None = None  # why the last sync did not do what it should
        self._files, self._disk, self._fsync, self._clock = files, disk, fsync, clock
        self._marks = marks and not fsync
        self._counts = fsync or marks
        self._segment_bytes = segment_bytes
        self._throttle = Throttle(clock=clock)
        self._number = max(files.numbers(), default=0)
        self._newest = b""  # the last line
        self._retired: list[SegmentFile] = []  # complete, not yet synced
        self._removed: list[SegmentFile] = []  # open, and no longer named by their paths
        self.contents = Contents()
        self._new_name = False  # the directory does not yet durably name the current segment
        self._unsynced: list[bytes] = []
        self._syncing: asyncio.Task[OSError | None] | None = None
        self._thread = thread_pools.pool(1, "outbox-sync")
        self._pace: asyncio.TimerHandle | None = None
        self.paced = False  # syncs by itself
        self.rested = False  # no sync began within the last second: the next line starts one
        self._again = False  # a sync was wanted while one ran that may not cover it

    @property
    def dirty(self) -> bool:
        """Whether a sync would have something to do."""
        return self.suspect or (self._counts and (bool(self._retired) or self.durable < self.appended))

    @property
    def complete(self) -> frozenset[int]:
        """The segments that are complete and of which nothing is in memory any more."""
        first = otlp.first_sequence(self._unsynced[0]) if self._unsynced else None
        return self.contents.before(first)

    @property
    def unsynced(self) -> Sequence[bytes]:
        """The lines that are not known to be on disk."""
        return self._unsynced

    def append(self, line: bytes) -> None:
        """Write `line` whole or not at all, to a new segment where the current one is complete; raises OSError."""
        segment = self.segment
        if segment is None or segment.torn or segment.size >= self._segment_bytes:
            segment = self.roll()
        segment.append(line)
        self._newest = line
        if self._counts:
            self.appended += 1
            if self._fsync:
                self._unsynced.append(line)
                self.unsynced_bytes += len(line)
            if self.rested or self.unsynced_bytes > SYNC_BYTES:
                self.begin_sync()

    def roll(self) -> SegmentFile:
        """Begin a new segment; raises OSError."""
        if self.suspect:
            raise OSError(errno.EIO, "a file failed or is gone, what it left unsure is being written once more")
        self._number += 1
        segment = SegmentFile(self._disk, self._files.segment(self._number))
        self._retire()
        self.segment, self.opened, self._new_name = segment, self._clock(), True
        return segment

    def keep_pace(self) -> None:
        """From now on sync unasked: at once if that was not done within a second, else when the second is over."""
        self.paced = self._counts
        self._at_pace()

    async def sync(self) -> OSError | None:
        """Join the sync that runs or start one; return why its lines are not on disk, None if they are.

        A sync covers what was appended before it began: compare `durable`. Where nothing is new it only looks whether
        the file is still there.
        """
        return await asyncio.shield(self.begin_sync())  # a caller that goes away harms nobody

    def begin_sync(self) -> asyncio.Task[OSError | None]:
        """Return the sync that runs, or start one; who does not wait hears of a failure from the next one."""
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())
        elif self.paced:
            self._again = True
        return self._syncing

    async def aclose(self) -> None:
        """Sync what is new and close; raises OSError if that is not known to be on disk."""
        self.paced = self.rested = False
        failure = await self.sync()
        while self._fsync and self.dirty and failure is None:
            failure = await self.sync()
        if self._pace is not None:
            self._pace.cancel()
        self._retire()
        self._close(self._retired)
        self._close(self._removed)
        self._thread.shutdown(wait=False)
        if failure is not None:
            raise failure

    def _at_pace(self) -> None:
        self._pace = None
        if self.paced and self.dirty and not self.suspect:
            self.begin_sync()
        else:
            self.rested = self.paced

    async def _sync(self) -> OSError | None:
        loop = asyncio.get_running_loop()
        began, dirty = loop.time(), self.dirty
        self.rested = self.rested and not dirty
        try:
            return await self._sync_or_mend(syncs=self._fsync and dirty)
        finally:
            self._syncing = None
            if not self._fsync:
                self._close(self._retired)
            again, self._again = self._again and self.paced, False
            if again and self.dirty and not self.suspect:
                self.begin_sync()
            elif self.paced and dirty:
                if self._pace is not None:
                    self._pace.cancel()
                self._pace = loop.call_at(began + _PACE, self._at_pace)

    async def _sync_or_mend(self, *, syncs: bool) -> OSError | None:
        if self.suspect:
            return await self._write_once_more()
        mark, count, size, newest = self.appended, len(self._unsynced), self.unsynced_bytes, self._newest
        end = Place(_number(self.segment), self.segment.size) if self.segment else self.durable_end
        retired: list[SegmentFile] = []
        if syncs:
            retired, self._retired = self._retired, []
            folder = self._files.folder if self._new_name else None
            self._new_name = False
        try:
            if syncs:
                removed = await self._in_thread(segment_sync.sync_all, self._disk, retired, self.segment, folder)
            else:
                removed = await self._in_thread(segment_sync.removed_of, [self.segment] if self.segment else [])
        except OSError as error:
            self.suspect = True
            self._say(f"fsync of {self._files.folder}: {error.strerror}; what it left unsure is written once more")
            self._retire()
            return await self._write_once_more()
        if removed:
            return await self._found_removed(removed)
        self.problem = None
        if self._marks and self.durable < mark:
            await self._store_highest(mark, end, newest)
        elif syncs:
            self._forget(mark, count, size, end)
        return None

    async def _store_highest(self, mark: int, end: Place, newest: bytes) -> None:
        """Store the highest number; a failure is said and holds back who sends, not who writes."""
        number = otlp.last_sequence(newest)
        try:
            await self._in_thread(watermark.store, self._files, number)
        except OSError as error:
            what = "takes no note of its highest number, so nothing newer is shipped"
            self._say(f"{self._files.folder} {what}: {error.strerror}")
        else:
            self.durable, self.durable_end = mark, end

    async def _found_removed(self, removed: list[SegmentFile]) -> OSError | None:
        """Write what removed files hold once more, and what is not synced."""
        self.suspect = True
        self._say(f"{self._files.folder}: the file was removed under the server; what it holds is written once more")
        self._retire()  # if it is the current one; that may have been retired meanwhile
        self._removed = removed
        self._retired = [segment for segment in self._retired if segment not in removed]
        return await self._write_once_more()

    async def _write_once_more(self) -> OSError | None:
        """Bring removed files and unsynced lines to a new segment; `suspect` keeps others from writing meanwhile."""
        self._close(self._retired)
        self._number += 1
        path = self._files.segment(self._number)
        try:
            segment, unreadable = await self._in_thread(
                segment_sync.copy, self._disk, path, self._removed, self._unsynced
            )
        except OSError as error:
            self.problem = f"{self._files.folder} cannot be written: {error.strerror}"
            return error
        in_memory = otlp.first_sequence(self._unsynced[0]) if self._unsynced else 0
        kept = (in_memory or otlp.last_sequence(self._newest) + 1) - 1
        self.contents.rewritten(_numbers(self._removed), _numbers(unreadable), kept)
        self._close(self._removed)
        self.segment, self.opened, self._new_name = segment, self._clock(), False
        self._forget(self.appended, len(self._unsynced), self.unsynced_bytes, Place(self._number, segment.size))
        self.suspect, self.problem = False, None
        return None

    def _say(self, problem: str) -> None:
        self.problem = problem
        if self._throttle.due(problem):
            log.error("%s", problem)

    def _forget(self, mark: int, count: int, size: int, end: Place) -> None:
        self.durable, self.durable_end = mark, end
        del self._unsynced[:count]
        self.unsynced_bytes -= size

    def _retire(self) -> None:
        if self.segment is not None:
            self.contents.complete(_number(self.segment), otlp.last_sequence(self._newest))
            self._retired.append(self.segment)
            self.segment = None
        if not self._fsync and self._syncing is None:  # else the thread may be looking at it
            self._close(self._retired)

    async def _in_thread(self, work: Callable[[*_Given], _Result], *given: *_Given) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

    @staticmethod
    def _close(segments: list[SegmentFile]) -> None:
        for segment in segments:
            segment.close()
        segments.clear()


def _number(segment: SegmentFile) -> int:
    return int(segment.path.stem)


def _numbers(segments: Sequence[SegmentFile]) -> set[int]:
    return {_number(segment) for segment in segments}
