"""A disk that is full or fails, under both policies: a refusal or a declared loss, never silence, never a crash."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from predictor.outbox import layout
from predictor.outbox.writing.segment_file import DiskCalls
from tests.support import collector, scripted_sink
from tests.support.ledger import Load, check
from tests.support.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SMALL, _LARGE = "3m", "64m"


class SmallDisk:
    """A file system of a few megabytes of its own, which can be made larger."""

    def __init__(self, path: Path) -> None:
        """Mount it; skips the test where that is not allowed."""
        self.path = path
        path.mkdir()
        if not self._mount(f"size={_SMALL}"):
            pytest.skip("mounting a small tmpfs is not permitted here: it takes root and CAP_SYS_ADMIN")

    def make_room(self) -> None:
        """Give it more bytes."""
        assert self._mount(f"remount,size={_LARGE}")

    def end(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", self.path], check=True)

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "small", str(self.path)]
        with contextlib.suppress(FileNotFoundError):
            return subprocess.run(command, check=False, capture_output=True).returncode == 0
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Mount a small file system for one test."""
    small = SmallDisk(tmp_path / "disk")
    yield small
    small.end()


def logs(outbox: Path) -> list[Path]:
    """Return the segments of all streams under an outbox."""
    return sorted((outbox / "v1").glob("*/logs/*.jsonl"))


def size(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def ask(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, Mapping[str, str], Any]:
    """Ask once; return status, headers and parsed body."""
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session, session.request(method, url + path, data=body, headers=headers) as r:
        return r.status, r.headers, await r.json(content_type=None)


async def refuses(url: str, reason: str) -> None:
    """Assert that a full outbox answers as it should: not ready, and 503 before a body is even looked at."""
    status, _, details = await ask(url, "GET", "/readyz")
    assert (status, details["reason"]) == (503, f"the outbox refuses: {reason}")
    assert (await ask(url, "GET", "/livez"))[0] == 200
    status, headers, problem = await ask(url, "POST", "/predict", b"this is no JSON")
    assert (status, problem["type"]) == (503, "urn:predictor:problem:outbox-full")
    assert int(headers["Retry-After"]) >= 1


def complaints(server: Server) -> Counter[str]:
    """Count the server's errors and warnings by logger and level; each kind may come once a minute."""
    lines = [json.loads(line) for line in server.stderr_lines if line.startswith("{")]
    return Counter(f"{line['logger']} {line['level']}" for line in lines if line["level"] in {"error", "warning"})


async def test_a_full_disk_refuses_and_recovers(disk: SmallDisk) -> None:
    """Policy `refuse`: 503 while the disk is full, predictions again when it is not, nothing acknowledged missing."""
    outbox = disk.path / "outbox"
    server = await asyncio.to_thread(Server(outbox).start)
    async with Load(server.url) as load:
        await load.refused("outbox-full", 20)
        await refuses(server.url, "disk")
        disk.make_room()
        await load.more(100)
        assert (await ask(server.url, "GET", "/readyz"))[0] == 200
    assert await asyncio.to_thread(server.terminate) == 0
    found = check(load.ledger, *logs(outbox))
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == 0
    assert set(load.ledger.refusals) == {"outbox-full"}
    assert load.ledger.cut == load.ledger.logged[False] == 0
    assert set(complaints(server).values()) == {1}, server.stderr_lines


async def test_a_full_disk_that_is_shipped_has_room_again(disk: SmallDisk, tmp_path: Path) -> None:
    """When the sink takes what has filled the disk, predictions are taken again, though no segment was complete."""
    outbox = disk.path / "outbox"
    async with scripted_sink.serve() as taker:
        taker.script = lambda _: scripted_sink.Answer(503)
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": taker.url, "OTEL_TRACES_EXPORTER": "none", "PREDICTOR_FLUSH": "60s"}
        server = await asyncio.to_thread(Server(outbox, **settings).start)
        try:
            async with Load(server.url) as load:
                await load.refused("outbox-full", 1)
                taker.script = lambda _: scripted_sink.OK
                await load.more(50)
            assert await asyncio.to_thread(server.terminate) == 0
        finally:
            await asyncio.to_thread(server.kill)
        arrived = tmp_path / "arrived"
        arrived.write_bytes(b"\n".join(request.body.strip() for request in taker.accepted) + b"\n")
    assert list(check(load.ledger, arrived).streams.values()) == ["shutdown"]
    assert layout.streams(outbox) == []


async def test_a_full_disk_loses_and_says_so(disk: SmallDisk) -> None:
    """Policy `lose`: every answer goes out, the unlogged ones say so, and the stream declares just as many as lost."""
    outbox = disk.path / "outbox"
    server = await asyncio.to_thread(Server(outbox, PREDICTOR_OUTBOX_FULL="lose").start)
    async with Load(server.url) as load:
        await load.more(200, logged=False)
        assert (await ask(server.url, "GET", "/readyz"))[0] == 200
        disk.make_room()
        await load.more(100)
    assert await asyncio.to_thread(server.terminate) == 0
    found = check(load.ledger, *logs(outbox))
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == load.ledger.logged[False]
    assert not load.ledger.refusals
    assert load.ledger.cut == 0
    assert set(complaints(server).values()) == {1}, server.stderr_lines


@pytest.mark.parametrize("policy", ["refuse", "lose"])
async def test_the_bound_of_the_outbox(outbox: Path, tmp_path: Path, policy: str) -> None:
    """PREDICTOR_OUTBOX_BYTES is kept while the sink is gone, and what the policy says ends when the sink is back."""
    collector.binary()
    port, sink = collector.free_port(), tmp_path / "arrived"
    settings = {"PREDICTOR_OUTBOX_BYTES": "1MiB", "PREDICTOR_OUTBOX_FULL": policy, "PREDICTOR_FLUSH": "60s"}
    endpoint = f"http://127.0.0.1:{port}"
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "none"}
    server = await asyncio.to_thread(Server(outbox, **settings, **more).start)
    agent = None
    try:
        async with Load(server.url) as load:
            if policy == "refuse":
                await load.refused("outbox-full", 20)
                await refuses(server.url, "bytes")
            else:
                await load.more(200, logged=False)
                assert (await ask(server.url, "GET", "/readyz"))[0] == 200
            assert size(outbox) <= 1 << 20
            config = collector.to_files(port, sink, tmp_path / "traces")
            agent = await asyncio.to_thread(collector.start, config, tmp_path, port)
            await load.more(100)
        assert await asyncio.to_thread(server.terminate) == 0
    finally:
        await asyncio.to_thread(server.kill)
        if agent:
            await asyncio.to_thread(agent.stop)
    found = check(load.ledger, sink)
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == load.ledger.logged[False]
    assert load.ledger.cut == 0
    assert set(load.ledger.refusals) <= {"outbox-full"}
    assert layout.streams(outbox) == []


class Fault:
    """Lets a system call of the outbox fail with EIO while it is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        """Put itself before the call."""
        self.on = False
        self.failed = 0
        self._call = getattr(DiskCalls, call)
        monkeypatch.setattr(DiskCalls, call, staticmethod(self))

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 - of any system call
        """Fail or do it."""
        if self.on:
            self.failed += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._call(*arguments)


@pytest.mark.parametrize(
    ("call", "fsync"), [("write", "second"), ("write", "batch"), ("fsync", "batch")], ids=lambda word: word
)
async def test_a_failing_disk_refuses_and_recovers(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, call: str, fsync: str
) -> None:
    """EIO at the writing or the sync: 503, and when it is over predictions again, with all that was acknowledged."""
    fault = Fault(monkeypatch, call)
    async with serve(outbox, PREDICTOR_OUTBOX_FSYNC=fsync) as here, Load(here.url) as load:
        await load.more(50)
        fault.on = True
        await load.refused("outbox-full", 20)
        await refuses(here.url, "disk")
        fault.on = False
        await load.more(50)
    assert fault.failed
    found = check(load.ledger, *logs(outbox))
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == 0


@pytest.mark.parametrize(("call", "fsync"), [("write", "second"), ("fsync", "batch")], ids=lambda word: word)
async def test_a_failing_disk_loses_and_says_so(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, call: str, fsync: str
) -> None:
    """EIO under policy `lose`: requests are answered, and what could not be written is declared as lost.

    Only those whose record was written and waits for the sync that fails are refused: nobody knows if it is there.
    """
    fault = Fault(monkeypatch, call)
    settings = {"PREDICTOR_OUTBOX_FULL": "lose", "PREDICTOR_OUTBOX_FSYNC": fsync}
    async with serve(outbox, **settings) as here, Load(here.url) as load:
        await load.more(50)
        fault.on = True
        await load.more(50, logged=False)
        fault.on = False
        await load.more(50)
    assert load.ledger.refusals["outbox-full"] <= (load.clients if fsync == "batch" else 0)
    found = check(load.ledger, *logs(outbox))
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == load.ledger.logged[False] > 0
