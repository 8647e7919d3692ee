"""A process that ends politely on a disk that fails: its stream is closed by the next one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from predictor.outbox import layout
from predictor.outbox.writing.segment_file import DiskCalls
from tests.support import scripted_sink
from tests.support.ledger import Load, check
from tests.support.server import serve

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_closed_by_the_next_start(outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is shipped to its last record stays until its closing record, which could not be written, is too.

    `make chaos` found it: EIO while gunicorn's workers ended, and their streams were removed without their end.
    """
    broken = False

    def write(fd: int, data: bytes) -> int:
        if broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.write(fd, data)

    monkeypatch.setattr(DiskCalls, "write", staticmethod(write))
    async with scripted_sink.serve() as taker:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": taker.url, "OTEL_TRACES_EXPORTER": "none"}
        async with serve(outbox, **settings) as here:
            async with Load(here.url) as load:
                await load.more(50)
            records = (await here.get("/readyz")).json["records"]
            await taker.until(lambda: records in taker.sequences)
            broken = True
        broken = False
        (left,) = (outbox / "v1").iterdir()
        async with serve(outbox, PREDICTOR_FLUSH="60s", **settings):
            pass
        arrived = tmp_path / "arrived"
        arrived.write_bytes(b"\n".join(request.body.strip() for request in taker.accepted))
    found = check(load.ledger, arrived)
    assert found.streams.pop(left.name) == "crash"
    assert list(found.streams.values()) == ["shutdown"]
    assert layout.streams(outbox) == []
