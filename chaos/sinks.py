"""Where the records end up: a real Collector that writes files, or one that hands them to a real Loki."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from predictor.reader.sources.source import Access, source
from tests.support import collector, external_programs, loki_client
from tests.support.ledger import records_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from predictor.reader.sources.source import Source
    from tests.support.ledger import Record

NAMESPACE = "chaos"
"""The Kubernetes namespace that the servers say they run in, which tells their records from others'."""


class Part(Protocol):
    """A program that can be killed and started again."""

    def start(self) -> object:
        """Start it."""

    def kill(self) -> None:
        """End it at once (SIGKILL)."""

    @property
    def pid(self) -> int:
        """Its process."""


class Sink(Protocol):
    """A Collector and what stands behind it."""

    title: str
    url: str
    collector: Part
    loki: Part | None

    def records(self) -> Iterator[Record]:
        """Yield what has arrived."""

    def source(self) -> Source:
        """Return the same for the readers of the log."""


class FileCollector:
    """A Collector whose file exporter is the sink; each of its lives has a file of its own.

    A Collector that is killed may leave half a line, which it has not acknowledged: with the next life's first line
    behind it both would be lost.
    """

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        self._folder = folder
        self._port = collector.free_port()
        self._lives = 0
        self._running = collector.Collector("", folder, self._port)
        self.title = "files of the Collector's file exporter (there is no Loki here: LOKI=/path/to/loki)"
        self.url = self._running.url
        self.collector: Part = self
        self.loki: Part | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        self._lives += 1
        logs, traces = (self._folder / f"{signal}-{self._lives:04}.jsonl" for signal in ("logs", "traces"))
        self._running.config = collector.to_files(self._port, logs, traces)
        self._running.start()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._running.kill()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._running.process
        return self._running.process.pid

    def records(self) -> Iterator[Record]:
        """Yield what is in the files, but for a last line that was cut off."""
        for path in sorted(self._folder.glob("logs-*.jsonl")):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    if line.endswith("\n"):
                        yield from records_of(json.loads(line))

    def source(self) -> Source:
        """Return the files."""
        return source(str(self._folder))


class _Program:
    """One program of the stack."""

    def __init__(self, program: object) -> None:
        self._program: Any = program

    def start(self) -> None:
        self._program.start()
        self._program.wait_ready()

    def kill(self) -> None:
        self._program.kill()

    @property
    def pid(self) -> int:
        return int(self._program.process.pid)


class LokiSink:
    """Loki and the Collector as the overlay minikube configures them."""

    def __init__(self, folder: Path, tempo: str) -> None:
        """Start nothing yet; `tempo` is the URL that takes spans."""
        from tests.stack.stack import Stack  # noqa: PLC0415 - needs kustomize and what the tests of manifests need

        self._stack = Stack("minikube", folder, tempo)
        self.title = "Loki, by log queries; it keeps equal lines of a stream once, and so shows no copies"
        self.url = self._stack.endpoint
        self.collector: Part = _Program(self._stack.collector)
        self.loki: Part | None = _Program(self._stack.loki)

    def records(self) -> Iterator[Record]:
        """Yield what log queries return."""
        return loki_client.records(self._stack.stored(NAMESPACE))

    def source(self) -> Source:
        """Return Loki, as far as it has these servers' records."""
        from tests.stack.stack import of  # noqa: PLC0415 - as above

        return source(self._stack.log.url, Access(selector=of(NAMESPACE)))


def has_loki() -> bool:
    """Tell whether Loki can be the sink here: as a program, since a container cannot be stopped by its process."""
    return external_programs.loki_program() is not None and (external_programs.CACHE / "bin" / "kustomize").exists()


@asynccontextmanager
async def run(folder: Path, *, loki: bool) -> AsyncIterator[Sink]:
    """Run the sink and the Collector toward it, and kill them at the end."""
    if not loki:
        sink = FileCollector(folder)
        try:
            await asyncio.to_thread(sink.start)
            yield sink
        finally:
            sink.kill()
        return
    from tests.stack.spans import Receiver  # noqa: PLC0415 - as above

    with Receiver() as spans:
        whole = LokiSink(folder, spans.endpoint)
        assert whole.loki
        try:
            await asyncio.to_thread(whole.loki.start)
            await asyncio.to_thread(whole.collector.start)
            yield whole
        finally:
            whole.collector.kill()
            whole.loki.kill()
