"""Ownership: the streams that this process ships or keeps, its own and those of processes that ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.core.operator_log import Throttle
from predictor.outbox import ended
from predictor.outbox.ownership import Owned, adopt, create
from predictor.outbox.quota import bound_spans
from predictor.outbox.recovery.repair import close_shipped
from predictor.outbox.writing.segment_file import FULL
from predictor.recording.stream_events import closing_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from predictor.outbox.layout import StreamFiles
    from predictor.recording.stream import LogStream
    from predictor.shipping.shipper import Shipper

_logger = logging.getLogger("predictor.server.owned_streams")
_WORD_HOLDS = 60.0  # s


class OwnedStreams:
    """Every stream here is locked by this process, and known to each shipper."""

    def __init__(
        self, root: Path, shippers: Collection[Shipper], forget: Callable[[StreamFiles], None], *, keeps: bool = False
    ) -> None:
        """Take the outbox folder and the shippers; `forget` is called with a stream whose directory is removed.

        `keeps`: nothing is shipped, so what has ended stays here.
        """
        self._root = root
        self._shippers = shippers
        self._forget = forget
        self._keeps = keeps
        self._throttle = Throttle()
        self.streams: list[Owned] = []
        self._began = time.monotonic()
        self._since: dict[StreamFiles, float] = {}  # when each was taken

    async def create(self, stream: LogStream) -> OSError | None:
        """Make the directory of this process's stream, if there is none yet.

        Return why there is no room for it, None if it is there; raises OSError for another reason.
        """
        if any(not owned.adopted for owned in self.streams):
            return None
        try:
            self._take(await asyncio.to_thread(create, self._root, stream.stream_id, stream.event_head))
        except OSError as error:
            if error.errno not in FULL:
                raise
            if self._throttle.due():
                _logger.error(  # noqa: TRY400 - not worth a traceback
                    "PREDICTOR_OUTBOX is %r and has no room: %s; nothing is accepted until then, which is tried every "
                    "second, and what is there is shipped",
                    str(self._root),
                    error.strerror,
                )
            return error
        return None

    async def adopt(self) -> None:
        """Take over the streams whose processes have ended."""
        for owned in self.streams:
            if not owned.secured:
                await self._secure(owned)
        known = {owned.files for owned in self.streams}
        taken = [o for o in await asyncio.to_thread(adopt, self._root, closing_line) if o.files not in known]
        for owned in taken:
            await self._enter_ended(owned)
            self._take(owned)
        # One line for all: without an endpoint every stream that is still kept is taken over at every start.
        if len(taken) == 1:
            _logger.info("took over stream %s of a process that ended", taken[0].files.stream_id)
        elif taken:
            newest = max(owned.files.stream_id for owned in taken)  # a UUIDv7 begins with its time
            _logger.info("took over %d streams of processes that ended, the newest is %s", len(taken), newest)

    async def bound_spans(self, limit: int) -> None:
        """Let the oldest spans of all these streams go until they have `limit` bytes together."""
        kept = [owned.files.signal("traces") for owned in sorted(self.streams, key=lambda owned: not owned.adopted)]
        with contextlib.suppress(OSError):  # tried again soon
            await asyncio.to_thread(bound_spans, kept, limit)

    async def remove_shipped(self) -> None:
        """Remove adopted streams of which the sink has everything."""
        for owned in [owned for owned in self.streams if owned.adopted and self._drained(owned)]:
            if not (owned.incomplete and await self._close_shipped(owned)):
                await self._remove(owned)

    async def _close_shipped(self, owned: Owned) -> bool:
        """Close a stream that could not be closed when it was adopted: what was shipped of it gives its place."""
        for shipper in self._shippers:
            shipper.remove(owned.files)
        try:
            await asyncio.to_thread(close_shipped, owned.files, closing_line)
        except (OSError, ValueError):
            return False  # it was said at the adoption, the next of which tries again
        owned.incomplete = False
        for shipper in self._shippers:
            shipper.add(owned.files)
        return True

    def accept_refusals(self) -> None:
        """Believe the refusals that wait in the streams where an operator says so, by the file `accept-rejections`.

        Where none waits the word is removed unheard, but not in a stream's first minute here: it may have come before
        the refusal.
        """
        for owned in self.streams:
            word = owned.files.accept_rejections
            try:
                if not word.exists():
                    continue
                waited = [shipper.accept_refusals(owned.files) for shipper in self._shippers]
                if not any(waited) and time.monotonic() - self._since[owned.files] < _WORD_HOLDS:
                    continue
                word.unlink(missing_ok=True)
            except OSError as error:
                if self._throttle.due("accept"):
                    _logger.warning("%s: %s", word, error.strerror)
                continue
            if any(waited):
                _logger.info("the refusals of stream %s are believed, as %s says", owned.files.stream_id, word)
            else:
                _logger.info("no refusal of stream %s waits; %s is removed", owned.files.stream_id, word)

    def leave_open(self) -> None:
        """Leave this process's own stream to the next one, which closes it: its closing record cannot be written."""
        for owned in self.streams:
            owned.incomplete |= not owned.adopted

    async def end(self, *, keep: bool) -> None:
        """Remove what is wholly shipped, unless all is to be kept, and leave the rest for the next process."""
        for owned in list(self.streams):
            if keep or not self._drained(owned):
                await self._enter_ended(owned)
                owned.release()
            else:
                await self._remove(owned)

    async def _enter_ended(self, owned: Owned) -> None:
        """Enter a closed stream that stays here among those that the next one names; what fails is tried again.

        One that is shipped is entered before it goes, when the sink has all of it: a reader of the sink must not be
        told of what is still on its way.
        """
        if owned.incomplete or not self._keeps:
            return
        try:
            await asyncio.to_thread(ended.enter, owned.files, kept=True)
        except OSError as error:
            if self._throttle.due("ended"):
                _logger.warning("%s: %s", owned.files.path.parent / ended.NAME, error.strerror)

    def forget_removed(self) -> None:
        """Forget streams that the ring has removed."""
        self.streams = [owned for owned in self.streams if owned.lock is not None]

    def oldest_unshipped(self) -> float:
        """Return how many seconds ago the oldest unshipped record was written, 0 if there is none (blocking)."""
        now = time.time()
        lived = time.monotonic() - self._began
        ages = []
        for owned in self.streams:
            if when := _oldest_unshipped(owned):
                age = max(0.0, now - when / 1e9)
                # The wall clock may have been set: nothing of this process's own is older than itself.
                ages.append(age if owned.adopted else min(age, lived))
        return max(ages, default=0.0)

    async def restore(self, stream: LogStream) -> None:
        """Make again what was removed of the folder of this process's stream; raises OSError."""
        for owned in self.streams:
            if not owned.adopted and await asyncio.to_thread(owned.restore, stream.event_head):
                _logger.error("%s, or a part of it, was removed and is made again", owned.files.path)

    def _take(self, owned: Owned) -> None:
        self.streams.append(owned)
        self._since[owned.files] = time.monotonic()
        if owned.secured:
            self._ship(owned)

    def _ship(self, owned: Owned) -> None:
        for shipper in self._shippers:
            shipper.add(owned.files)

    async def _secure(self, owned: Owned) -> None:
        """Try again to sync a stream of a process that ended, so that it may be shipped."""
        try:
            await asyncio.to_thread(owned.secure)
        except OSError:
            return  # it was said at its adoption
        self._ship(owned)

    def _drained(self, owned: Owned) -> bool:
        if not owned.secured:
            return False
        try:
            return all(shipper.drained(owned.files) for shipper in self._shippers)
        except OSError:  # the shipper says so; one stream that cannot be read must not keep the others
            return False

    async def _remove(self, owned: Owned) -> None:
        self.streams.remove(owned)
        for shipper in self._shippers:
            shipper.remove(owned.files)
        self._forget(owned.files)
        self._since.pop(owned.files, None)
        try:
            await asyncio.to_thread(owned.remove)
        except OSError as error:
            _logger.warning("cannot remove the shipped stream %s: %s", owned.files.path, error.strerror)


def _oldest_unshipped(owned: Owned) -> int:
    """Return when the first unshipped record that can be read was written, Unix nanoseconds; 0 if there is none."""
    logs = owned.files.signal("logs")
    with contextlib.suppress(OSError):
        for line in logs.lines(logs.cursor()):
            with contextlib.suppress(ValueError):  # damaged by a power cut
                if when := otlp.first_observed(line):
                    return when
    return 0
