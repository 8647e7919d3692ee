"""Logbook: this process's stream with its outboxes and shippers, from its opening to its end.

Once a second it syncs, mends, declares; every half minute it takes over what dead processes left; every minute it
says how it stands.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from predictor import __version__, otlp
from predictor.bound import Usage
from predictor.endpoint import endpoint
from predictor.ids import uuid7
from predictor.outbox import Outbox, OutboxError
from predictor.ownership import Owned, adopt, create
from predictor.prediction_log import Refusals
from predictor.rejected import Rejected
from predictor.ring import prune
from predictor.shipper import Shipper
from predictor.shipping_report import Counters
from predictor.spans import SpanLog
from predictor.stream import LogStream, Status, closing_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from opentelemetry.sdk.resources import Resource

    from predictor.otlp_settings import Target
    from predictor.segments import Signal
    from predictor.settings import Settings

_logger = logging.getLogger("predictor.logbook")
_TRACES_BYTES = 64 << 20
"""Traces are a sample: they keep this much while the Collector is away, then drop their oldest."""
_SEGMENT_BYTES = 64 << 20
_TICK, _ADOPT_TICKS, _STATUS_TICKS = 1.0, 30, 60


class Logbook:
    """Owns everything that is written and shipped; `open` and `close` it on the event loop."""

    def __init__(self, settings: Settings, resource: Resource) -> None:
        """Make what needs no disk yet."""
        self._settings = settings
        self._root = settings.outbox
        self._rings = settings.export.logs is None
        self._resource = otlp.resource_json(resource)
        self.stream = LogStream(uuid7(), self._resource, __version__, refuses=settings.refuses)
        self.refusals = Refusals()
        # Without an endpoint nothing is refused for room: the ring makes it.
        self.usage = Usage(self._root, 1 << 62 if self._rings else settings.outbox_bytes)
        self.counters: dict[Signal, Counters] = {"logs": Counters(), "traces": Counters()}
        self._rejected = Rejected()
        self._shippers: dict[Signal, Shipper] = {}
        self._adopted: list[Owned] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._status = Status()
        self.spans: SpanLog | None = None

    async def open(self) -> None:
        """Take over what is there, begin the stream and start shipping; raises OSError."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        targets: dict[Signal, Target | None] = {
            "logs": self._settings.export.logs,
            "traces": self._settings.export.traces,
        }
        for signal, target in targets.items():
            if target:
                reject = self._rejected.keep
                self._shippers[signal] = Shipper(
                    signal, endpoint(target), counters=self.counters[signal], reject=reject
                )
        await self._adopt()  # first: it frees the reserves of the dead
        self._own = await asyncio.to_thread(create, self._root, self.stream.stream_id, self.stream.event_head)
        files = self._own.files
        limit = self._settings.keep_bytes if self._rings else self._settings.outbox_bytes
        self.outbox = Outbox(
            files.signal("logs"),
            self.usage,
            fsync=self._settings.outbox_fsync,
            segment_bytes=min(_SEGMENT_BYTES, limit // 16),
            segment_age=self._settings.keep_age / 8 if self._rings else None,
            reserve=files.reserve,
        )
        await asyncio.to_thread(self.usage.scan)
        self.stream.open(self.outbox)
        if self._settings.export.traces:
            self._traces = Outbox(
                files.signal("traces"), self.usage, fsync="never", drop_oldest=True, own_limit=_TRACES_BYTES
            )
            self.spans = SpanLog(self._traces, self._resource, __version__)
        for shipper in self._shippers.values():
            shipper.add(files)
            self._start(shipper.run)
        self._start(self._keep_up)

    async def close(self) -> None:
        """Close the stream, ship until the deadline and say what is left for the next start."""
        await self._stop_tasks()
        try:
            self.stream.close()
        except OutboxError as error:
            _logger.warning("the stream is closed at the next start: %s", error)
        if self.spans:
            self.spans.flush()
        for outbox in (self.outbox, *((self._traces,) if self.spans else ())):
            try:
                await outbox.aclose()
            except OutboxError as error:
                _logger.warning("%s", error)
        left = sum(await asyncio.gather(*(s.drain(self._settings.flush) for s in self._shippers.values())))
        if left:
            _logger.warning("%d bytes are not shipped; the next start on %s ships them", left, self._root)
        for owned in (*self._adopted, self._own):
            await self._let_go(owned)
        for shipper in self._shippers.values():
            await shipper.close()

    def backlog_bytes(self) -> int:
        """Return how many bytes of logs the sink has not taken yet."""
        shipper = self._shippers.get("logs")
        return shipper.backlog_bytes() if shipper else 0

    def backlog_age(self) -> float:
        """Return how many seconds ago the oldest unshipped record was written; 0 if all is shipped (blocking)."""
        if "logs" not in self._shippers:
            return 0.0
        oldest = [otlp.first_observed(line) for owned in (*self._adopted, self._own) if (line := _first_line(owned))]
        return max(0.0, time.time() - min(oldest, default=0) / 1e9) if oldest else 0.0

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.create_task(_for_ever(work)))

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_up(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK)
            ticks += 1
            await self.outbox.maintain()
            if self.spans:
                await self._traces.maintain()
            try:
                self.stream.declare_lost()
                if ticks % _STATUS_TICKS == 0:
                    await self._say_status()
            except OutboxError:
                pass  # the outbox has said so; tried again with the next tick
            if ticks % _ADOPT_TICKS == 0:
                await self._adopt()
            if self._rings:
                await asyncio.to_thread(self._prune)
            await self._remove_shipped()

    async def _say_status(self) -> None:
        age = await asyncio.to_thread(self.backlog_age)
        rejected, unrecorded = self.counters["logs"].refused, self.refusals.unrecorded
        self.stream.status(Status(self.backlog_bytes(), age, rejected, unrecorded))

    async def _adopt(self) -> None:
        known = {owned.files for owned in self._adopted}
        for owned in await asyncio.to_thread(adopt, self._root, closing_line):
            if owned.files in known:
                continue
            self._adopted.append(owned)
            for shipper in self._shippers.values():
                shipper.add(owned.files)
            _logger.info("took over stream %s of a process that ended", owned.files.stream_id)

    async def _remove_shipped(self) -> None:
        if self._rings:
            return
        for owned in [owned for owned in self._adopted if self._drained(owned)]:
            self._adopted.remove(owned)
            await self._let_go(owned)

    def _drained(self, owned: Owned) -> bool:
        return all(shipper.drained(owned.files) for shipper in self._shippers.values())

    async def _let_go(self, owned: Owned) -> None:
        """Remove a stream that is wholly shipped, leave any other for the next process."""
        try:
            if self._rings or not self._drained(owned):
                owned.release()
                return
            for shipper in self._shippers.values():
                shipper.remove(owned.files)
            self._rejected.forget(owned.files)
            await asyncio.to_thread(owned.remove)
        except OSError as error:
            _logger.warning("cannot remove the shipped stream %s: %s", owned.files.path, error.strerror)

    def _prune(self) -> None:
        keep_bytes, keep_age = self._settings.keep_bytes, self._settings.keep_age
        prune((*self._adopted, self._own), self._root, keep_bytes=keep_bytes, keep_age=keep_age, now=time.time())
        self._adopted = [owned for owned in self._adopted if owned.lock is not None]


async def _for_ever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Begin `work` again if it fails: the log must go on, and the fault must be seen."""
    while True:
        try:
            await work()
        except Exception:
            _logger.exception("%s failed and begins again", work.__qualname__)
        await asyncio.sleep(_TICK)


def _first_line(owned: Owned) -> bytes | None:
    logs = owned.files.signal("logs")
    return next(logs.lines(logs.cursor()), None)
