"""A disk that is full when the server starts: it starts unready, ships what makes room, and names the folder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import layout
from predictor.outbox.ownership import create
from predictor.server import owned_streams
from tests.outbox.test_disk_full import SmallDisk, disk, logs, refuses
from tests.support import scripted_sink
from tests.support.ledger import Load, check
from tests.support.server import Server, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.outbox.ownership import Owned

__all__ = ["disk"]  # a fixture


def fill(path: Path) -> None:
    """Leave no byte of a file system free."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(path).f_bavail == 0


async def test_the_backlog_makes_room(disk: SmallDisk, tmp_path: Path) -> None:
    """A server that is killed when its disk is full starts again, unready, and is ready once it has shipped enough."""
    outbox, fills = disk.path / "outbox", disk.path / "fills"
    async with scripted_sink.serve() as taker:
        taker.script = lambda _: scripted_sink.Answer(503)
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": taker.url, "OTEL_TRACES_EXPORTER": "none", "PREDICTOR_FLUSH": "60s"}
        server = await asyncio.to_thread(Server(outbox, **settings).start)
        async with Load(server.url) as load:
            await load.refused("outbox-full", 1)
        await asyncio.to_thread(server.kill)
        (dead,) = (outbox / "v1").iterdir()
        (dead / "reserve").unlink()  # as if another process had taken its place
        await asyncio.to_thread(fill, fills)

        server = await asyncio.to_thread(Server(outbox, **settings).start)
        try:
            words = f"PREDICTOR_OUTBOX is {str(outbox)!r} and has no room: No space left on device"
            await asyncio.to_thread(server.wait_for, lambda line: words in line)
            await refuses(server.url, "disk")
            taker.script = lambda _: scripted_sink.OK
            again = Load(server.url)
            again.ledger = load.ledger
            async with again:
                await again.more(50)
        finally:
            assert await asyncio.to_thread(server.terminate) == 0
        arrived = tmp_path / "arrived"
        arrived.write_bytes(b"\n".join(request.body.strip() for request in taker.accepted) + b"\n")
    assert set(check(load.ledger, arrived).streams.values()) == {"crash", "shutdown"}
    assert layout.streams(outbox) == []


class Full:
    """A disk that has no room for a stream until a test makes some."""

    def __init__(self) -> None:
        """Begin full."""
        self.room = False
        self.tried = 0

    def create(self, root: Path, stream_id: str, head: bytes) -> Owned:
        """Make a stream if there is room."""
        self.tried += 1
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(root, stream_id, head)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Full:
    """Put a full disk under the next server."""
    disk = Full()
    monkeypatch.setattr(owned_streams, "create", disk.create)
    return disk


async def test_losses_from_the_start_are_declared(outbox: Path, full: Full) -> None:
    """Under policy `lose` what is asked before there is room is answered, and declared when there is some."""
    async with serve(outbox, PREDICTOR_OUTBOX_FULL="lose") as here, Load(here.url) as load:
        await load.more(20, logged=False)
        full.room = True
        await load.more(20)
    found = check(load.ledger, *logs(outbox))
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == load.ledger.logged[False] > 0


async def test_it_is_tried_until_the_end(outbox: Path, full: Full) -> None:
    """A server under which there is never room tries again each second, refuses, and ends as it should."""
    async with serve(outbox) as here:
        await refuses(here.url, "disk")
        await until(lambda: full.tried > 1)
    assert not (outbox / "v1").exists()


def test_another_fault_is_named(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the disk that is no lack of room stops the start with the folder's name, whatever call has it."""

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {fd}")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error") as raised:
        create(outbox, "stream", b"")
    assert raised.value.filename == str(outbox)
