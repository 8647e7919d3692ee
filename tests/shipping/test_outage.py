"""From a real server through a real Collector to a sink that fails in every way: what the caller notices is nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from predictor.outbox import layout
from tests.support import collector
from tests.support.ledger import Load, check, records_of
from tests.support.scripted_sink import OK, Answer, Request, Sink, serve
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_GOES_ON = 200  # rows that are answered while the sink takes nothing
_PATIENCE = 120.0  # s; the machine may be busy
_MINUTE = timedelta(seconds=59.9)  # between two lines of one kind; the clock of a line is not that of the throttle
_STREAM_STATUS = "prediction.stream.status"


class Way:
    """A server, a Collector and a sink, one after the other, and a load on the server."""

    def __init__(self, server: Server, sink: Sink, load: Load, arrived: Path) -> None:
        """Take the parts; `arrived` is where `check` wants what the sink has accepted."""
        self.server, self.sink, self.load, self.arrived = server, sink, load, arrived

    async def ready(self) -> dict[str, Any]:
        """Return what /readyz says, the status included."""
        async with aiohttp.ClientSession() as session, session.get(self.server.url + "/readyz") as response:
            details: dict[str, Any] = await response.json()
            return details | {"status": response.status}

    async def says(self, fits: Callable[[str], bool]) -> dict[str, Any]:
        """Wait until what /readyz says of the shipping fits, and return all that it says."""
        async with asyncio.timeout(_PATIENCE):
            while not fits(str((details := await self.ready())["shipping_problem"])):  # noqa: ASYNC110 - see below
                await asyncio.sleep(0.05)  # another process's state can only be polled
        return details

    async def asked(self, times: int) -> None:
        """Wait until the sink was asked so many more times for logs."""
        wanted = len(self._logs(self.sink.requests)) + times
        await self.sink.until(lambda: len(self._logs(self.sink.requests)) >= wanted)

    async def shipped(self) -> None:
        """Wait until the sink has accepted every row that has been answered by now."""
        wanted = {key[0] for key in self.load.ledger.answers}
        seen: set[str] = set()
        done = 0

        def all_there() -> bool:
            nonlocal done
            for request in self.sink.accepted[done:]:
                seen.update(r.attributes.get("prediction.job_id", "") for r in self._records(request))
            done = len(self.sink.accepted)
            return wanted <= seen

        await self.sink.until(all_there)

    async def end(self) -> None:
        """End the load and the server; write down what the sink has."""
        await self.load.__aexit__(None, None, None)
        assert await asyncio.to_thread(self.server.terminate) == 0
        self.arrived.write_bytes(b"\n".join(request.body for request in self._logs(self.sink.accepted)))

    def _records(self, request: Request) -> Any:  # noqa: ANN401 - records as the ledger reads them
        return records_of(request.parsed) if request.path == "/v1/logs" else ()

    @staticmethod
    def _logs(requests: list[Request]) -> list[Request]:
        return [request for request in requests if request.path == "/v1/logs"]


@asynccontextmanager
async def way(folder: Path, script: Callable[[Request], Answer], **settings: str) -> AsyncIterator[Way]:
    """Start sink, Collector, server and load; the sink answers as the script says."""
    collector.binary()
    port = collector.free_port()
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(serve())
        sink.script = script
        agent = await asyncio.to_thread(collector.start, collector.to_sink(port, sink.url), folder, port)
        stack.push_async_callback(asyncio.to_thread, agent.stop)
        server = Server(
            folder / "outbox",
            OTEL_EXPORTER_OTLP_ENDPOINT=agent.url,
            PREDICTOR_FLUSH="60s",
            **settings,
        )
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.kill)
        load = await stack.enter_async_context(Load(server.url))
        yield Way(server, sink, load, folder / "arrived")


def kept(line: str) -> bool:
    """Tell whether a line of stderr says that logs cannot be shipped at the moment."""
    return "/v1/logs" in line and "are kept and tried again" in line


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(silent=True), "no answer"),
        (Answer(503), "503"),
        (Answer(429, headers={"Retry-After": "1"}), "429"),
        (Answer(401), "401"),
        (Answer(404), "404"),
        (Answer(500), "500"),
        (Answer(reset=True), "503"),
        (Answer(400, b"{}"), "400"),
    ],
    ids=["slow", "503", "429", "401", "404", "500", "reset", "400"],
)
async def test_predictions_go_on_and_arrive_later(tmp_path: Path, answer: Answer, said: str) -> None:
    """While the sink takes nothing, rows are answered and logged; when it does, all of them arrive and none is lost.

    The way in which it fails is said on stderr once, and by /readyz, which stays ready.
    """
    settings = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.4"} if answer.silent else {}  # s
    async with way(tmp_path, lambda _: answer, **settings) as here:
        await here.asked(2)
        await here.load.more(_GOES_ON)
        assert here.sink.accepted == []
        await asyncio.to_thread(here.server.wait_for, lambda line: kept(line) and said in line)
        details = await here.says(lambda problem: said in problem)
        assert (details["status"], details["shipped"], details["rejected"]) == (200, 0, 0)
        assert details["backlog_bytes"] > 0
        here.sink.script = lambda _: OK
        await here.shipped()
        await here.says(lambda problem: "/v1/logs" not in problem)
        await here.end()
        assert not here.load.ledger.refusals
        assert here.load.ledger.cut == 0
    found = check(here.load.ledger, here.arrived)
    assert list(found.streams.values()) == ["shutdown"]
    assert layout.streams(tmp_path / "outbox") == []
    for kind in ("bytes are kept", "bytes of this stream are kept"):  # each may be said once a minute
        lines = [json.loads(line) for line in here.server.stderr_lines if kept(line) and kind in line]
        times = [datetime.fromisoformat(line["time"]) for line in lines]
        assert all(later - earlier > _MINUTE for earlier, later in pairwise(times)), lines


async def test_a_sink_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """Where nobody listens at first, everything is once somebody does."""
    collector.binary()
    port, sink_port = collector.free_port(), collector.free_port()
    config = collector.to_sink(port, f"http://127.0.0.1:{sink_port}")
    agent = await asyncio.to_thread(collector.start, config, tmp_path, port)
    server = Server(tmp_path / "outbox", OTEL_EXPORTER_OTLP_ENDPOINT=agent.url, PREDICTOR_FLUSH="60s")
    try:
        await asyncio.to_thread(server.start)
        async with Load(server.url) as load:
            await load.more(_GOES_ON)
            await asyncio.to_thread(server.wait_for, lambda line: "are kept and tried again" in line)
            await load.more(_GOES_ON)
        async with serve(port=sink_port) as sink:
            assert await asyncio.to_thread(server.terminate) == 0
            bodies = [request.body for request in sink.accepted if request.path == "/v1/logs"]
    finally:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(agent.stop)
    (tmp_path / "arrived").write_bytes(b"\n".join(bodies))
    assert list(check(load.ledger, tmp_path / "arrived").streams.values()) == ["shutdown"]


async def test_a_record_that_the_sink_refuses(tmp_path: Path) -> None:
    """Of a refused record everybody can tell what became of it: kept beside the stream, said once, declared in it."""
    bad = Answer(400, b"{}")
    async with way(
        tmp_path, lambda request: bad if request.path == "/v1/logs" and 7 in request.sequences else OK
    ) as here:
        await here.load.more(_GOES_ON)
        await asyncio.to_thread(here.server.wait_for, lambda line: "kept in rejected/logs-7.json" in line)
        details = await here.ready()
        assert (details["status"], details["rejected"]) == (200, 1)
        await here.end()
    kept, why = sorted((tmp_path / "outbox").rglob("rejected/*"))
    assert (kept.name, why.name) == ("logs-7.json", "logs-7.reason.json")
    assert "400" in json.loads(why.read_text())["words"]
    (record,) = records_of(json.loads(kept.read_text()))
    assert (record.sequence, record.stream) == (7, details["stream"])
    key = record.attributes["prediction.job_id"], record.attributes["prediction.index"]
    answer = here.load.ledger.answers.pop(key)
    assert json.loads(record.attributes["prediction.output"]) == answer.output
    found = check(here.load.ledger, here.arrived, rejected=[(record.stream, 7)])
    assert list(found.streams.values()) == ["shutdown"]
    declared = [
        each.attributes["prediction.stream.rejected.count"]
        for line in here.arrived.read_text().splitlines()
        for each in records_of(json.loads(line))
        if each.attributes["event.name"] == _STREAM_STATUS
    ]
    assert declared[-1] == 1


_ROUNDS = 4


async def test_memory_stays_while_the_sink_is_down(tmp_path: Path) -> None:
    """Twenty thousand records that nobody takes are on disk, not in memory."""
    with_nobody = f"http://127.0.0.1:{collector.free_port()}"
    outbox = tmp_path / "outbox"
    server = await asyncio.to_thread(
        Server(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=with_nobody, PREDICTOR_FLUSH="0s").start
    )
    grown: list[int] = []
    written: list[int] = []
    try:
        async with Load(server.url, rows=200) as load:
            await load.more(50_000)  # what the same load needs for itself
            # Lines wait in memory for their fsync, longer on a busy machine, and a heap is not given back at once. What
            # keeps the records would grow by all their bytes each time.
            while len(grown) < _ROUNDS and not (grown and grown[-1] < written[-1] / 5):
                memory, disk = resident(server.pid), size(outbox)
                await load.more(20_000)
                grown.append(resident(server.pid) - memory)
                written.append(size(outbox) - disk)
    finally:
        await asyncio.to_thread(server.terminate)
    assert min(written) > 20_000 * 1000
    assert grown[-1] < written[-1] / 5, f"{grown} bytes of memory for {written} bytes of records"


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def size(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
