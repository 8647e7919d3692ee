"""No threads to be had: what is there goes on, what fails is one batch, and a start that fails says why."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from predictor.core import cpu_quota, thread_pools
from predictor.core.worker_threads import WorkerThreads
from predictor.server import health
from tests.support.gated_model import pipeline
from tests.support.scripted_sink import serve as serve_sink
from tests.support.server import ROOT, ROW, Server, environment, predictions, records, serve
from tests.support.thread_limit import group, no_more_threads

if TYPE_CHECKING:
    from tests.support.gated_model import Gate

_MEMBERS = "cgroup.procs"
BODY = json.dumps({"data": [ROW]})


def post(server: Server) -> tuple[int, Any]:
    """Ask for one prediction; return status and parsed body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


class NoThread:
    """Stands for a system without threads: each start of one fails until `end`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin at once."""
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(threading.Thread, "start", self._refuse)

    def end(self) -> None:
        """Let threads start again."""
        self._monkeypatch.undo()

    def _refuse(self, *_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> NoThread:
    """Begin without threads."""
    return NoThread(monkeypatch)


def test_pool_has_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread of a pool runs before it is first used: as many tasks as it has threads need none to be started."""
    made = thread_pools.pool(3, "test")
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("test")}
    assert len(names) == 3
    NoThread(monkeypatch)
    together = threading.Barrier(3)
    assert sorted(future.result(20) for future in [made.submit(together.wait, 20) for _ in range(3)]) == [0, 1, 2]
    made.shutdown()


def test_pool_without_threads(no_thread: NoThread) -> None:
    """A pool that gets no threads is an OSError with the limits in its sentence, and leaves none behind."""
    with pytest.raises(OSError, match=r"no thread can be started.*ulimit -u.*pids\.max"):
        thread_pools.pool(2, "test")
    no_thread.end()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test")]


async def test_threads_are_there_before_the_first_request(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has all threads that it will need, and as many for models as cores that it may use."""
    monkeypatch.setattr(cpu_quota, "usable", lambda: 3)
    others = set(threading.enumerate())  # of tests before this one
    async with serve(outbox) as here:
        names = [thread.name.rpartition("_")[0] for thread in threading.enumerate() if thread not in others]
        assert names.count("inference") == 3
        assert "outbox-sync" in names
        limited = NoThread(monkeypatch)
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        await asyncio.to_thread(lambda: None)
        limited.end()


async def test_a_batch_that_no_thread_takes(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that cannot be given to a thread fails with its records; the next one runs, and the server ends."""

    def refuse(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    async with serve(outbox, PREDICTOR_THREADS="1") as here:
        with monkeypatch.context() as patched:
            patched.setattr(WorkerThreads, "submit", refuse)
            for headers in ({}, {"X-Request-Id": "other way"}):
                answer = await here.post("/predict", json={"data": [ROW]}, headers=headers)
                assert (answer.status, answer.json["type"]) == (500, "urn:predictor:problem:internal-error")
        assert (await here.get("/readyz")).status == 200
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
    told = [each.get("error.type") for each in predictions(outbox)]
    assert told == ["internal-error", "internal-error", None]


def test_resolver_has_its_threads() -> None:
    """On uvloop a host name starts no thread later: where libuv gets none it aborts the process."""

    def tasks() -> set[str]:
        return {each.name for each in Path("/proc/self/task").iterdir()}

    async def started() -> int:
        blocking = await thread_pools.prepare()
        before = tasks()
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        after = tasks()
        blocking.shutdown(wait=False)
        return len(after - before)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(started()) == 0


def test_server_whose_threads_are_all(outbox: Path) -> None:
    """A server that gets no more threads after its start predicts, logs, ships by a host's name, and ends in order."""

    async def story() -> None:
        async with serve_sink() as sink:
            endpoint = sink.url.replace("127.0.0.1", "localhost")
            settings = {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
            server = await asyncio.to_thread(Server(outbox, **settings).start)
            try:
                with no_more_threads(server.pid):
                    for _ in range(3):
                        status, answer = await asyncio.to_thread(post, server)
                        assert status == 200, answer
                    await sink.until(lambda: len(sink.sequences) >= 4)
                    assert await asyncio.to_thread(server.terminate) == 0
            finally:
                server.process.kill()
        assert not [line for line in server.stderr_lines if "can't start" in line]

    asyncio.run(story())


@pytest.mark.parametrize("most", [1, 3, 8])
def test_start_without_threads(outbox: Path, most: int) -> None:
    """A server that gets too few threads at its start says so in one sentence and leaves no open stream behind."""
    enter = "import os, sys; open(sys.argv.pop(1), 'w').write(str(os.getpid())); "
    with group(most) as made:
        ended = subprocess.run(
            [sys.executable, "-c", enter + "from predictor.__main__ import main; sys.exit(main())", made / _MEMBERS],
            cwd=ROOT,
            env=environment(outbox),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("predictor: no thread can be started")
    if outbox.exists():
        assert [each["eventName"] for each in records(outbox)][-1:] in ([], ["prediction.stream.closed"])


async def test_readiness_sees_that_nothing_moves(outbox: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """A server whose batches do not end is not ready, whatever it answers; it is ready again when one has ended."""
    monkeypatch.setattr(health, "_LEAST", 0.0)
    async with serve(outbox, PREDICTOR_THREADS="1", PREDICTOR_DEADLINE="50ms") as here:
        pipeline(here, gate)
        assert (await here.post("/predict", json={"data": [ROW]})).status == 504
        async with asyncio.timeout(20):
            while (ready := await here.get("/readyz")).status == 200:  # noqa: ASYNC110 - as a probe asks
                await asyncio.sleep(0.01)
        assert ready.json["reason"].startswith("nothing moves: requests wait, and no batch has ended for ")
        assert (await here.get("/livez")).status == 200
        gate.open()
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        assert (await here.get("/readyz")).status == 200


@pytest.mark.parametrize(
    ("deadline", "seconds", "ready"), [(10, 20, True), (10, 20.1, False), (0.1, 5, True), (0.1, 5.1, False)]
)
def test_how_long_nothing_moves(deadline: float, seconds: float, *, ready: bool) -> None:
    """Two deadlines without a batch that ends, and five seconds at least: a model that is slow is no alarm."""
    stalling = SimpleNamespace(pipeline=SimpleNamespace(stalled=lambda: seconds))
    catalog: Any = SimpleNamespace(default=stalling, versions=lambda: [stalling])
    made = health.Health(None, catalog, refuses=True, deadline=deadline)
    assert (made.unready() is None) is ready
