"""The outbox for its writer: takes lines, refuses with a reason, recovers from errors of the disk.

What was reported as written stays written (`writing/segment_writer.py`), and a line that is refused leaves nothing
behind. The files are described in `layout.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Literal

from predictor.core.operator_log import Throttle
from predictor.outbox.quota import OwnBound
from predictor.outbox.writing.segment_file import FULL, DiskCalls, Reserve
from predictor.outbox.writing.segment_writer import SegmentWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from predictor.outbox.layout import SignalFiles
    from predictor.outbox.quota import Usage
    from predictor.outbox.writing.segment_contents import NumberRange
    from predictor.outbox.writing.segment_writer import Place

Fsync = Literal["second", "batch", "never"]
OutboxReason = Literal["bytes", "disk", "sync"]
SEGMENT_BYTES = 64 << 20
UNSYNCED_BYTES = 128 << 20  # held in memory until synced; ten seconds of 6,000 records of 2 KB
_LAST_WORDS = 16 << 10  # of what urgent lines may have beyond the bound this is kept for the end
_HYSTERESIS = 64  # the bound counts as left again when this part of it is free, lest every second line is refused
log = logging.getLogger(__name__)


class OutboxError(Exception):
    """A line was not taken, or is not known to be on disk; `reason` names the limit that was met."""

    def __init__(self, reason: OutboxReason, message: str) -> None:
        """`bytes`: the bound; `disk`: an OSError, in `message`; `sync`: fsync is too far behind."""
        super().__init__(message)
        self.reason = reason


class Outbox:
    """The segments of one signal of one stream; used from one event loop's thread."""

    def __init__(
        self,
        files: SignalFiles,
        usage: Usage,
        *,
        fsync: Fsync,
        segment_bytes: int = SEGMENT_BYTES,
        segment_age: float | None = None,
        reserve: Path | None = None,
        drop_oldest: bool = False,
        own_limit: int | None = None,
        full: OSError | None = None,
        marks: bool = False,
        clock: Callable[[], float] = time.monotonic,
        disk: DiskCalls | None = None,
    ) -> None:
        """Open the first segment; if the disk refuses, the outbox begins as full and `maintain` mends it.

        `segment_age`: seconds after which `maintain` begins a new segment, for a ring that goes by age.
        `drop_oldest`: rather than refuse for bytes, unlink own segments while they pass `own_limit`.
        `full`: why nothing can be opened yet; `maintain` does it.
        `marks`: with fsync `never` store the highest number before `durable` passes it, since others send the lines.
        """
        disk = disk or DiskCalls()
        self._own = OwnBound(files, own_limit) if drop_oldest and own_limit is not None else None
        segment_bytes = min(segment_bytes, self._own.segment_bytes) if self._own else segment_bytes
        self._writer = SegmentWriter(
            files, disk, fsync=fsync != "never", segment_bytes=segment_bytes, clock=clock, marks=marks
        )
        self._reserve = Reserve(disk, reserve)
        self._files, self._usage, self._fsync = files, usage, fsync
        self._segment_age, self._clock = segment_age, clock
        self._throttle = Throttle(clock=clock)
        self._usual, self._closed = 0, False  # bytes of the last line
        # What urgent lines may still have beyond the bound, of their own: what others do there is not known in time.
        self._spare, self._kept_back = self._reserve.size, _LAST_WORDS
        self._failure: OutboxError | None = None
        if full:
            self._failure = self._failed(full)
            return
        self._attempt(self._writer.roll)
        self._attempt(self._reserve.renew)

    @property
    def full(self) -> OutboxReason | None:
        """What a line of usual size would be refused for now, None if it would be taken."""
        if self._failure is not None:
            return self._failure.reason
        if self._writer.suspect:
            return "disk"
        return "bytes" if self._own is None and not self._usage.room(self._usual) else None

    @property
    def problem(self) -> str | None:
        """What is wrong with the files at the moment, for a person; None if nothing is."""
        if self._failure is not None and self._failure.reason != "bytes":
            return str(self._failure)
        return self._writer.problem

    @property
    def unsynced(self) -> Sequence[bytes]:
        """The lines that were taken and are not known to be on disk."""
        return self._writer.unsynced

    def durable(self) -> Place:
        """Return the place before which a power cut takes nothing that may be sent."""
        return self._writer.durable_end

    def keep_pace(self) -> None:
        """From now on, in mode `second`, sync unasked: a lone line at once, many once a second."""
        if self._fsync != "batch":
            self._writer.keep_pace()

    async def lost(self, reached: Callable[[], int]) -> list[NumberRange]:
        """Return, once, which numbers went with segments that were removed before they were read.

        `reached` returns the highest number that has been read, or is no longer wanted. Raises OSError.
        """
        writer = self._writer
        known = writer.complete
        there = await asyncio.to_thread(self._files.numbers) if known else ()
        if writer.suspect:
            return []  # it is being written once more
        return writer.contents.lost(known.difference(there), reached())  # now: who has read a segment removes it

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Write `line` whole, or raise OutboxError and leave nothing behind.

        An `urgent` line (a stream event) may use the reserve, and is tried although others are refused: beyond the
        bound as many bytes of them are taken as the reserve has, until there is room again.
        """
        size = len(line)
        if self._failure is not None or (self._own is None and not self._usage.room(size)):
            self._admit(size, urgent=urgent)
        try:
            self._writer.append(line)
        except OSError as error:
            self._rescue(line, error, urgent=urgent)
        self._usual = size
        if self._writer.unsynced_bytes > UNSYNCED_BYTES and self._failure is None:
            self._failure = OutboxError("sync", "the disk is too slow, fsync is too far behind")
        if self._own is None:
            self._usage.add(size)
        else:
            self._own.add(size)

    def begin_last_words(self) -> None:
        """Let urgent lines have all that they may: after them nothing more is said."""
        self._kept_back = 0

    async def synced(self) -> None:
        """Return when all that was appended so far is on disk, in mode `batch`; calls share their fsyncs.

        Raises OutboxError if it could not be brought there, not even by writing it once more.
        """
        if self._fsync != "batch":
            return
        mark = self._writer.appended
        while self._writer.durable < mark:
            if (error := await self._writer.sync()) is not None:
                raise self._fail(error) from error

    async def maintain(self) -> None:
        """Sync what is new, count the bytes again, mend what has failed; to be called once a second."""
        try:
            if self._own is None:
                await asyncio.to_thread(self._usage.scan)
        except OSError as error:
            self._say("the outbox's size is not known now: %s", error)
        segment = self._writer.segment
        if segment and segment.size and self._segment_age and self._clock() - self._writer.opened >= self._segment_age:
            self._attempt(self._writer.roll)
        writer = self._writer
        # One that keeps its pace has synced, and looked, within the last second unless it rests.
        due = not writer.paced or writer.rested or writer.suspect
        if due and not self._closed and (unsynced := await writer.sync()) is not None:
            self._fail(unsynced)
        self._mend()

    async def aclose(self) -> None:
        """Sync what is new and close; raises OutboxError if it is not known to be on disk."""
        if self._closed:
            return
        self._failure, self._closed = OutboxError("disk", "the outbox is closed"), True
        try:
            await self._writer.aclose()
        except OSError as error:
            raise self._fail(error) from error
        finally:
            self._reserve.free()

    def close(self) -> None:
        """As `aclose`, blocking, for when no event loop runs."""
        asyncio.run(self.aclose())

    def _admit(self, size: int, *, urgent: bool) -> None:
        """Raise OutboxError unless the line is urgent and may be tried, if need be in the spare bytes."""
        if self._failure is None:
            self._failure = OutboxError("bytes", f"the outbox holds {self._usage.used} of {self._usage.limit} bytes")
        beyond = 0 if self._own is not None or self._usage.room(size) else size
        if not urgent or self._closed or (beyond and beyond > self._spare - self._kept_back):
            raise OutboxError(self._failure.reason, str(self._failure))
        self._spare -= beyond

    def _rescue(self, line: bytes, error: OSError, *, urgent: bool) -> None:
        """Append an urgent line after all, in the place of the reserve, or raise OutboxError."""
        failure = self._fail(error)  # also where the reserve helps: the room it makes is not for ordinary lines
        if not (urgent and error.errno in FULL and self._reserve.free()):
            raise failure from error
        try:
            self._writer.append(line)
        except OSError as again:
            raise self._fail(again) from again

    def _mend(self) -> None:
        if self._closed or self._writer.suspect:
            return
        if self._usage.room(self._usage.limit // _HYSTERESIS):
            self._spare = self._reserve.size
        match self.full:
            case None if self._reserve.missing:
                self._attempt(self._reserve.renew)
            case "bytes" if self._usage.room(self._usage.limit // _HYSTERESIS):
                self._failure = None
            case "sync" if self._writer.unsynced_bytes <= UNSYNCED_BYTES // 2:
                self._failure = None
            case "disk" if self._attempt(self._open_and_renew):
                self._failure = None
                if self._throttle.due("mended"):
                    log.info("%s is written again", self._files.folder)

    def _open_and_renew(self) -> None:
        if self._writer.segment is None or self._writer.segment.torn:
            self._writer.roll()
        try:
            self._reserve.renew()  # the probe for space
        except OSError as error:
            if error.errno in FULL and self._writer.segment and self._writer.segment.size:
                self._writer.roll()  # what is complete is removed once it is shipped
            raise

    def _attempt(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: OSError) -> OutboxError:
        self._failure = self._failed(error)
        self._say("%s; nothing is accepted until that is mended, which is tried every second", self._failure)
        return self._failure

    def _failed(self, error: OSError) -> OutboxError:
        return OutboxError("disk", f"{self._files.folder} cannot be written: {error.strerror or error}")

    def _say(self, message: str, what: object) -> None:
        if self._throttle.due(message):
            log.error(message, what)
