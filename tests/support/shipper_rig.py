"""A shipper towards a scripted sink over real HTTP, with a clock that only its sleeps move."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from predictor.config.otel_env import Endpoint
from predictor.outbox import layout
from predictor.shipping.rejected import Rejected
from predictor.shipping.shipper import Shipper
from predictor.shipping.status import Counters
from tests.support.scripted_sink import OK, Answer, Request, Sink, sequences
from tests.support.stream_files import line, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from predictor.outbox.layout import Signal, StreamFiles


class Rig:
    """A sink, a shipper towards it, and a clock that only its sleeps move."""

    def __init__(self, sink: Sink, root: Path) -> None:
        """Begin with an empty outbox in `root`."""
        self.sink = sink
        self.root = root
        self.now = 1000.0
        self.slept: list[float] = []
        self._slept = asyncio.Condition()
        self.rejected = Rejected()
        self.counters = Counters()
        self.shipper = self.new()

    def new(self, signal: Signal = "logs", **changes: object) -> Shipper:
        """Make a shipper, as another process would after a crash."""
        endpoint = Endpoint(self.sink.url + f"/v1/{signal}?key=secret", {"X-Token": "secret"}, 5.0)
        parts = {"reject": self.rejected.keep, "clock": lambda: self.now, "sleep": self.sleep, "random": lambda: 1.0}
        self.shipper = Shipper(signal, endpoint, counters=self.counters, **parts | changes)  # type: ignore[arg-type]
        return self.shipper

    async def sleep(self, seconds: float) -> None:
        """Move the clock and let the others run."""
        self.slept.append(seconds)
        self.now += seconds
        async with self._slept:
            self._slept.notify_all()
        await asyncio.sleep(0)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until `fact` holds; it is looked at whenever the shipper goes to sleep."""
        async with asyncio.timeout(20), self._slept:
            await self._slept.wait_for(fact)

    async def ship(self, *streams: StreamFiles, seconds: float = 30) -> int:
        """Add these streams and ship until nothing is left."""
        for files in streams:
            self.shipper.add(files)
        try:
            return await self.shipper.drain(seconds)
        finally:
            await self.shipper.close()

    def stream(self, lines: Iterable[Iterable[int]], name: str = "0192-a", body: str = "setosa 0.971") -> StreamFiles:
        """Write a stream of one segment with lines of these stream numbers."""
        return make(self.root, b"".join(line(list(numbers), body) for numbers in lines), stream=name)


def ones(last: int) -> list[list[int]]:
    """Return lines of one record each, 1 to `last`."""
    return [[number] for number in range(1, last + 1)]


def poison(*numbers: int, status: int = 400) -> Callable[[Request], Answer]:
    """Return a script that answers `status` to whatever holds one of these records."""
    bad = Answer(status, b'{"message":"no"}')
    return lambda request: bad if set(numbers) & set(request.sequences) else OK


def kept(files: StreamFiles) -> dict[str, list[int]]:
    """Return the stream numbers of what is in `rejected/`, by file name."""
    paths = sorted(path for path in files.rejected.glob("*.json") if not path.name.endswith(".reason.json"))
    return {path.name: sequences(json.loads(path.read_bytes())) for path in paths}


def end(files: StreamFiles, signal: Signal = "logs") -> tuple[int, int]:
    """Return the end of a stream's last segment as a cursor would name it."""
    last = files.signal(signal).numbers()[-1]
    return last, layout.file_size(files.signal(signal).segment(last))


def stored(files: StreamFiles, signal: Signal = "logs") -> tuple[int, int]:
    """Return where the stored cursor stands."""
    cursor = files.signal(signal).cursor()
    return cursor.segment, cursor.offset
