"""Everything that is attacked, started in order and taken down in reverse: disk, sink, gate, servers, load."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos import sinks
from chaos.disk import SmallDisk
from chaos.gate import TIMEOUT, Gate
from chaos.servers import Gunicorn, Post
from chaos.switch import Switch
from predictor.outbox import ended
from tests.support.collector import free_port
from tests.support.ledger import records_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from chaos.sinks import Sink
    from tests.support.ledger import Answer as Told
    from tests.support.ledger import Key, Ledger, Load, Record

_BOUND = "96MiB"  # half of the small disk: who is full by the bound can still be full by the disk
_LAST_FLUSH = "180s"  # for what is left in the end, with a backoff of up to 30 s in it
_LAST_WAIT = 240.0  # s, more than that
_GUNICORN = ("-k", "aiohttp.GunicornUVLoopWebWorker", "-w", "2", "--graceful-timeout", "40", "predictor.app:runner")


@dataclass
class Machine:
    """What stands while the faults come."""

    folder: Path
    disk: SmallDisk
    outbox: Path
    switch: Switch
    sink: Sink
    gate: Gate
    server: Post
    gunicorn: Gunicorn
    loads: list[Load]

    @property
    def posts(self) -> tuple[Post, Gunicorn]:
        """Both places where a server listens."""
        return self.server, self.gunicorn

    @property
    def answers(self) -> dict[Key, Told]:
        """What all callers were told; a job id is nobody's twice."""
        both = [load.ledger.answers for load in self.loads]
        assert not both[0].keys() & both[1].keys(), "one job id for two callers"
        return both[0] | both[1]

    @property
    def ledgers(self) -> list[Ledger]:
        """What the callers of each server keep."""
        return [load.ledger for load in self.loads]

    def troubled(self) -> int:
        """Return how many requests were refused for a full outbox, and rows answered as not logged."""
        return sum(load.ledger.refusals["outbox-full"] + load.ledger.logged[False] for load in self.loads)

    async def finish(self) -> list[int]:
        """End both servers, ship with a last one what they have left, and return the exit statuses."""
        statuses = [await post.terminate() for post in self.posts]
        self.server.configure(PREDICTOR_FLUSH=_LAST_FLUSH)
        await self.server.start()
        return [*statuses, await self.server.terminate(_LAST_WAIT)]

    def kept(self) -> Iterator[Record]:
        """Yield the records that the servers keep as refused."""
        for path in self.outbox.glob("v1/*/rejected/logs-*.json"):
            if not path.name.endswith(".reason.json"):
                yield from records_of(json.loads(path.read_bytes()))

    def left(self) -> list[str]:
        """Return the files of the outbox that should not be there when all is shipped."""
        files = [path for path in (self.outbox / "v1").rglob("*") if path.is_file() and path.name != ended.NAME]
        return [str(path.relative_to(self.outbox)) for path in files if path.parent.name != "rejected"]


@asynccontextmanager
async def build(folder: Path, seed: int, *, loki: bool, rest: float) -> AsyncIterator[Machine]:
    """Start everything and yield it under load; nothing of it is left running."""
    async with AsyncExitStack() as stack:
        disk = SmallDisk(folder / "disk")
        stack.callback(disk.end)
        outbox = disk.path / "outbox"
        sink = await stack.enter_async_context(sinks.run(folder, loki=loki))
        gate = await stack.enter_async_context(Gate(sink.url).open())
        switch = folder / "switch"
        ports = free_port(), free_port()
        server = Post("server", ports[0], ("predictor",), r"listens on (http://[^\s\"]+)", outbox, switch)
        gunicorn = Gunicorn(
            "gunicorn",
            ports[1],
            ("gunicorn", "-b", f"127.0.0.1:{ports[1]}", *_GUNICORN),
            r"Listening at: (http://\S+)",
            outbox,
            switch,
        )
        rescued = folder / "rescued"  # not on the disk that fails
        rescued.mkdir()
        common = {
            "TMPDIR": str(rescued),
            "PREDICTOR_OUTBOX_BYTES": _BOUND,
            "PREDICTOR_THREADS": "1",
            "PREDICTOR_FLUSH": "5s",  # what is left then is for the next start
            "OTEL_EXPORTER_OTLP_ENDPOINT": gate.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(TIMEOUT),
            "OTEL_RESOURCE_ATTRIBUTES": f"k8s.namespace.name={sinks.NAMESPACE}",
        }
        server.configure(PREDICTOR_OUTBOX_FULL="refuse", PREDICTOR_OUTBOX_FSYNC="second", **common)
        gunicorn.configure(PREDICTOR_OUTBOX_FULL="lose", PREDICTOR_OUTBOX_FSYNC="batch", **common)
        switched = Switch(switch)
        loads = []
        for number, post in enumerate((server, gunicorn)):
            stack.push_async_callback(post.end)
            await post.start()
            loads.append(post.load(seed + number, rest))
        yield Machine(folder, disk, outbox, switched, sink, gate, server, gunicorn, loads)
