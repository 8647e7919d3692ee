"""Several processes on one machine: gunicorn's aiohttp worker serves the same runner over one outbox."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import layout
from tests.support import collector
from tests.support.gunicorn_server import AIOHTTPS, OURS, Gunicorn, folder_of, wait_until_begun
from tests.support.ledger import Load, check, records_of
from tests.support.server import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("gunicorn", reason="gunicorn is an extra: pip install '.[gunicorn]'")


def stream_of(worker: int, outbox: Path) -> str | None:
    """Return the stream in which a worker has logged a prediction, None as long as it has none."""
    if folder := folder_of(worker, outbox):
        logged = (path.read_text() for path in (folder / "logs").glob("*.jsonl"))
        return folder.name if any('"eventName":"prediction"' in lines for lines in logged) else None
    return None


def per_stream(sink: Path) -> Counter[str]:
    """Count the predictions of each stream in what a file exporter wrote."""
    return Counter(
        record.stream
        for line in sink.read_text().splitlines()
        for record in records_of(json.loads(line))
        if record.attributes["event.name"] == "prediction"
    )


async def test_a_worker_killed_under_load_loses_nothing(outbox: Path, tmp_path: Path) -> None:
    """Each worker has a stream of its own; of a killed one another worker closes and ships what it acknowledged."""
    collector.binary()
    port, sink = collector.free_port(), tmp_path / "logs"
    agent = collector.start(collector.to_files(port, sink, tmp_path / "traces"), tmp_path, port)
    try:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": agent.url, "PREDICTOR_FLUSH": "25s"}
        master = await asyncio.to_thread(Gunicorn(outbox, **settings).start)
        await asyncio.to_thread(master.wait_for_workers, 2)
        async with Load(master.url, clients=8, keep_alive=False) as load:
            await load.more(1000)
            victim = master.workers()[0]
            for _ in range(50):  # the kernel may have given every connection to the other one so far
                if killed := stream_of(victim, outbox):
                    break
                await load.more(100)
            os.kill(victim, signal.SIGKILL)
            await asyncio.to_thread(master.wait_for_workers, 3)
            # uvloop forgets signals that come before the loop runs, so a worker that still starts would miss its end.
            newcomer = master.workers()[2]
            await asyncio.to_thread(wait_until_begun, newcomer, outbox)
            await load.more(1000)
        assert await asyncio.to_thread(master.terminate) == 0
    finally:
        agent.stop()
    found = check(load.ledger, sink)
    assert Counter(found.streams.values()) == {"shutdown": 2, "crash": 1}
    assert killed
    assert found.streams[killed] == "crash"
    assert per_stream(sink)[killed]
    assert layout.streams(outbox) == []


def test_gunicorns_own_times_do_not_matter(outbox: Path) -> None:
    """The runner has limits of its own: `--keep-alive` closes no quiet connection, `--timeout` ends no quiet worker."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with Gunicorn(outbox, "--keep-alive", "1", "--timeout", "2") as master:
        master.wait_for_workers(2)
        with socket.create_connection(("127.0.0.1", master.port), 30) as connection:
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
            connection.settimeout(4.0)  # twice the longer one
            with pytest.raises(TimeoutError):  # the server says nothing and stays
                connection.recv(1)
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert len(master.workers()) == 2
        assert master.terminate() == 0


@pytest.mark.parametrize("worker", [AIOHTTPS, OURS])
@pytest.mark.parametrize("variable", ["OTEL_PROPAGATORS", "OTEL_TRACES_SAMPLER", "PREDICTOR_BATCH_ROWS"])
def test_a_bad_variable_is_named(outbox: Path, worker: str, variable: str) -> None:
    """A worker fails with the sentence of the variable that is bad, before the library that would fail at it."""
    command = (sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "-k", worker, "-w", "1", "predictor.app:runner")
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(outbox, **{variable: "nonsense"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert any(line.startswith(f"{variable} is 'nonsense', wanted ") for line in ended.stderr.splitlines())
    assert "/opentelemetry/" not in ended.stderr
