"""Logbook: this process's stream with its outboxes and shippers, from its opening to its end.

Once a second it looks whether its files are there, mends, declares; every half minute it takes over what dead
processes left; every minute it says how it stands, if there is news; every ten minutes if there is none. None of these
steps keeps the others from being done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from predictor import __version__, otlp
from predictor.core.ids import uuid7
from predictor.core.operator_log import Throttle
from predictor.outbox import Outbox, OutboxError
from predictor.outbox.ownership import planned
from predictor.outbox.quota import Usage
from predictor.outbox.recovery.undeclared import leave
from predictor.outbox.retention import prune
from predictor.outbox.segment_age import Watch
from predictor.outbox.writing.last_resort import rescue
from predictor.recording.prediction_log import RefusalCounter
from predictor.recording.stream import LogStream
from predictor.recording.stream_events import EVENTS, Status
from predictor.server.owned_streams import OwnedStreams
from predictor.server.previous_streams import PreviousStreams
from predictor.shipping.rejected import Rejected
from predictor.shipping.shipper import Shipper
from predictor.shipping.status import Counters
from predictor.tracing.span_writer import SpanWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Any

    from opentelemetry.sdk.resources import Resource

    from predictor.config.otel_env import Endpoint
    from predictor.config.settings import Settings
    from predictor.outbox.layout import Signal
    from predictor.recording.checkpoints import Signer

_logger = logging.getLogger("predictor.server.log_service")
_SPANS_PART, _LEAST_SPANS, _MOST_SPANS = 16, 4 << 20, 64 << 20
"""Traces are a sample: they keep a sixteenth of what records may, 4 to 64 MiB, then drop their oldest."""
_SEGMENT_BYTES = 64 << 20
_TICK, _ADOPT_TICKS, _STATUS_TICKS = 1.0, 30, 60


class LogService:
    """Owns everything that is written and shipped; `open` and `close` it on the event loop."""

    def __init__(self, settings: Settings, resource: Resource, signer: Signer | None = None) -> None:
        """Make what needs no disk yet."""
        self._settings = settings
        self._root = settings.outbox
        self._retains = settings.export.logs is None
        self._resource = otlp.resource_json(resource)
        self.stream = LogStream(uuid7(), self._resource, __version__, refuses=settings.refuses, signer=signer)
        self.refusals = RefusalCounter()
        # Without an endpoint nothing is refused for room: the ring makes it.
        self.usage = Usage(self._root, 1 << 62 if self._retains else settings.outbox_bytes)
        self.counters: dict[Signal, Counters] = {"logs": Counters(), "traces": Counters()}
        self.spans: SpanWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._declared = (0, 0)
        self._watch = Watch(settings.keep_age)
        self._previous = PreviousStreams(self._root)
        self._troubles: dict[str, str] = {}  # which step of the upkeep fails, and why
        self._throttle = Throttle()
        self.unwritten = 0
        """After the end: acknowledged records that are neither in the outbox nor at the sink."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the outbox at the moment, for a person; None if nothing is."""
        return self.outbox.problem or next(iter(self._troubles.values()), None)

    async def open(self) -> None:
        """Take over what is there, begin the stream and start shipping; raises OSError.

        Where the disk has no room for the stream nothing is taken yet, and what is there is shipped, which makes some.
        """
        settings = self._settings
        rejected = Rejected(added=self.usage.add)
        endpoints: dict[Signal, Endpoint | None] = {"logs": settings.export.logs, "traces": settings.export.traces}
        self._shippers = {
            signal: Shipper(signal, endpoint, counters=self.counters[signal], reject=rejected.keep)
            for signal, endpoint in endpoints.items()
            if endpoint
        }
        self._owned_streams = OwnedStreams(self._root, self._shippers.values(), rejected.forget, keeps=self._retains)
        await self._owned_streams.adopt()  # first: it frees the reserves of the dead
        full = await self._owned_streams.create(self.stream)
        self._there = full is None
        files = self._files = planned(self._root, self.stream.stream_id)
        limit = settings.keep_bytes if self._retains else settings.outbox_bytes
        self._spans_limit = min(max(limit // _SPANS_PART, _LEAST_SPANS), _MOST_SPANS)
        self.outbox = Outbox(
            files.signal("logs"),
            self.usage,
            fsync=settings.outbox_fsync,
            segment_bytes=min(_SEGMENT_BYTES, limit // 16),
            segment_age=settings.keep_age / 8 if self._retains else None,
            reserve=files.reserve,
            full=full,
            marks="logs" in self._shippers,
        )
        if "logs" in self._shippers:
            self._shippers["logs"].hold_back(files, self.outbox.durable)
        await asyncio.to_thread(self.usage.scan)  # the reserve is there by now and counts
        self.outbox.keep_pace()
        self.stream.hash_later(asyncio.get_running_loop().call_soon)
        self.stream.open(self.outbox, await self._previous.encoded())
        await self._owned_streams.bound_spans(self._spans_limit)
        if settings.export.traces:
            self._traces = Outbox(
                files.signal("traces"),
                self.usage,
                fsync="never",
                drop_oldest=True,
                own_limit=self._spans_limit,
                full=full,
            )
            self.spans = SpanWriter(self._traces, self._resource, __version__)
        works = [shipper.run for shipper in self._shippers.values()]
        self._tasks = [asyncio.create_task(_for_ever(work)) for work in (*works, self._keep_up)]

    async def end_stream(self) -> None:
        """Close the stream: nothing is written any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.outbox.begin_last_words()
        for name, step in (("files", self._restore), ("losses", self._declare)):  # as each second before
            await self._guarded(name, step)
        try:
            if self._settled() != self._declared:  # there is no next minute to declare it in
                # What is closed must close also on a disk that does not answer, or has no room for more than that.
                with contextlib.suppress(OSError, OutboxError):
                    await self._say_status()
            self.stream.close()
        except OutboxError as error:
            _logger.warning("the stream is closed at the next start: %s", error)
            self._owned_streams.leave_open()
        if self.spans:
            self.spans.flush()
        for outbox in (self.outbox, *((self._traces,) if self.spans else ())):
            try:
                await outbox.aclose()
            except OutboxError as error:
                _logger.warning("%s", error)
        await self._leave_undeclared()
        self._rescue()

    async def close(self) -> None:
        """Ship until the deadline and say what is left for the next start; `end_stream` comes before."""
        left = sum(await asyncio.gather(*(each.drain(self._settings.flush) for each in self._shippers.values())))
        if left:
            _logger.warning("%d bytes are not shipped; the next start on %s ships them", left, self._root)
        await self._owned_streams.end(keep=self._retains)
        for shipper in self._shippers.values():
            await shipper.close()

    async def _leave_undeclared(self) -> None:
        """Leave what the stream could not declare beside it, for the next start; the reserve is free by now."""
        left = self.stream.undeclared
        if not left.lost:
            return
        try:
            await asyncio.to_thread(leave, self._files, left)
        except OSError as error:
            lost = sum(last - first + 1 for first, last, _ in left.lost)
            _logger.error(  # noqa: TRY400 - not worth a traceback
                "%d lost records are declared nowhere: %s: %s", lost, self._files.undeclared, error.strerror
            )

    @property
    def limit_bytes(self) -> int:
        """How many bytes the outbox may have; without an endpoint: may keep."""
        return self._settings.keep_bytes if self._retains else self.usage.limit

    def backlog_bytes(self) -> int:
        """Return how many bytes of logs the sink has not taken yet."""
        shipper = self._shippers.get("logs")
        return shipper.backlog_bytes() if shipper else 0

    def backlog_age(self) -> float:
        """Return how many seconds ago the oldest unshipped record was written; 0 if all is shipped (blocking)."""
        return 0.0 if self._retains else self._owned_streams.oldest_unshipped()

    async def _keep_up(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK)
            ticks += 1
            for name, step in self._steps(ticks):
                await self._guarded(name, step)

    def _steps(self, ticks: int) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
        """Yield what is to be done in a second, in this order, each with its name."""
        yield "files", self._restore
        if self._there:
            yield "outbox", self.outbox.maintain
        if self._there and self.spans:
            yield "spans", self._traces.maintain
        yield "losses", self._declare
        yield "ended", lambda: self._previous.forget(self.stream, self.outbox)
        if ticks % _STATUS_TICKS == 0 or self.stream.checkpoint_due:
            yield "status", self._say_status
        if ticks % _ADOPT_TICKS == 0:
            yield "adoption", self._adopt
        yield "room", self._let_old_go if self._retains else self._let_shipped_go

    async def _guarded(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        """Take one step; what the disk has against it is said, and keeps nobody from the next."""
        try:
            await step()
        except OutboxError:
            pass  # the outbox has said so; tried again with the next tick
        except OSError as error:
            self._troubles[name] = f"{error.filename or self._root}: {error.strerror or error}"
            if self._throttle.due(name):
                _logger.warning("%s; tried again every second", self._troubles[name])
            return
        self._troubles.pop(name, None)

    async def _restore(self) -> None:
        """Make the stream's folder, where the disk was full at the start, or what somebody removed of it."""
        self._there = await self._owned_streams.create(self.stream) is None
        if self._there:
            await self._owned_streams.restore(self.stream)

    async def _declare(self) -> None:
        """Declare what was lost: what could not be written, and what went with files that somebody removed."""
        for numbers in await self.outbox.lost(self._reached):
            self.stream.gone(*numbers)
            _logger.error("records %d to %d went with a file that was removed before they were shipped", *numbers)
        self.stream.declare_lost_sparingly(full=self.outbox.full is not None)

    def _reached(self) -> int:
        """Return up to which number this stream's records are at the sink or on their way, or were let go."""
        shipper = self._shippers.get("logs")
        return shipper.reached(self._files) if shipper else self._files.signal("logs").cursor().sequence

    async def _adopt(self) -> None:
        await self._owned_streams.adopt()
        await self._owned_streams.bound_spans(self._spans_limit)

    async def _let_shipped_go(self) -> None:
        self._owned_streams.accept_refusals()
        await self._owned_streams.remove_shipped()

    async def _let_old_go(self) -> None:
        await asyncio.to_thread(self._prune)
        self._owned_streams.forget_removed()

    async def _say_status(self) -> None:
        age = await asyncio.to_thread(self.backlog_age)
        settled = self._settled()
        self.stream.status(Status(self.backlog_bytes(), age, *settled))
        self._declared = settled

    def _settled(self) -> tuple[int, int]:
        """Return how many records the sink has rejected and how many refusals have no record."""
        return self.counters["logs"].refused, self.refusals.unrecorded

    def _rescue(self) -> None:
        """Write what the outbox could not take to the folder for temporary files, or say what is lost."""
        lines = [line for line in self.outbox.unsynced if not otlp.last_event(line).startswith(EVENTS)]
        if not lines:
            return
        self.unwritten = sum(otlp.tally("logs", line) for line in lines)
        numbers = f"{otlp.first_sequence(lines[0])} to {otlp.last_sequence(lines[-1])}"
        about = f"{self.unwritten} acknowledged records of stream {self.stream.stream_id} ({numbers})"
        try:
            what = f"could not be written to the outbox; they are in {rescue(lines, self.stream.stream_id)}"
        except OSError as error:
            what = f"are lost: neither the outbox nor another folder takes them: {error}"
        _logger.error("%s %s", about, what)

    def _prune(self) -> None:
        keep_bytes, keep_age = self._settings.keep_bytes, self._settings.keep_age
        elapsed = self._watch.look()
        prune(self._owned_streams.streams, self._root, keep_bytes=keep_bytes, keep_age=keep_age, elapsed=elapsed)


async def _for_ever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Begin `work` again if it fails: the log must go on, and the fault must be seen."""
    while True:
        try:
            await work()
        except Exception:
            _logger.exception("%s failed and begins again", work.__qualname__)
        await asyncio.sleep(_TICK)
