"""Losses under the policy `lose` are declared in the stream, by its end or by the next start."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from predictor.outbox import layout
from predictor.outbox.writing.segment_file import DiskCalls
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify
from predictor.reader.verify.stream_state import size
from tests.support import scripted_sink
from tests.support.collector import free_port
from tests.support.ledger import Load, check
from tests.support.server import serve, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LOSES = {"PREDICTOR_OUTBOX_FULL": "lose", "PREDICTOR_OUTBOX_BYTES": "1MiB"}


def bytes_of(outbox: Path, signal: str) -> int:
    """Return how many bytes of a signal lie in the segments of an outbox."""
    return sum(path.stat().st_size for path in outbox.glob(f"v1/*/{signal}/*.jsonl"))


async def ship(outbox: Path, **settings: str) -> bytes:
    """Start on the outbox with a sink that takes everything, end, and return what has arrived, as lines."""
    async with scripted_sink.serve() as taker:
        async with serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=taker.url, PREDICTOR_FLUSH="60s", **settings):
            pass
        logs = [request for request in taker.accepted if request.path == "/v1/logs"]
        return b"\n".join(request.body.strip() for request in logs) + b"\n"


async def test_spans_cost_no_record_and_no_declaration(outbox: Path, tmp_path: Path) -> None:
    """However many spans wait for a sink that is gone, the stream declares each lost number before it is closed."""
    nobody = f"http://127.0.0.1:{free_port()}"
    async with serve(outbox, **LOSES, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, PREDICTOR_FLUSH="0") as here:
        async with Load(here.url) as load:
            await load.more(1, logged=False)
            assert bytes_of(outbox, "logs") > 700 << 10, "records have the bound for themselves, but for the reserve"
            await until(lambda: bytes_of(outbox, "traces") > 2 << 20)
            await load.more(50, logged=False)
        lost = (await here.get("/readyz")).json["lost"]
    assert lost == load.ledger.logged[False] > 0
    arrived = tmp_path / "arrived.jsonl"
    arrived.write_bytes(await ship(outbox))
    found = check(load.ledger, arrived)
    assert list(found.streams.values()) == ["shutdown", "shutdown"]
    assert found.lost == lost
    report = verify(source(str(arrived)), TimeRange())
    assert report.sound
    assert sum(size(verdict.stream.lost) for verdict in report.verdicts) == lost


async def test_next_start_declares_what_could_not_be(
    outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process cannot declare at its end, since its disk takes nothing, is declared by the next start."""
    broken = False

    def write(fd: int, data: bytes) -> int:
        if broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data)

    monkeypatch.setattr(DiskCalls, "write", staticmethod(write))
    async with serve(outbox, PREDICTOR_OUTBOX_FULL="lose") as here, Load(here.url) as load:
        await load.more(50)
        broken = True
        await load.more(50, logged=False)
    (left,) = (outbox / "v1").iterdir()
    assert (left / "undeclared").is_file()
    broken = False
    arrived = tmp_path / "arrived.jsonl"
    arrived.write_bytes(await ship(outbox, OTEL_TRACES_EXPORTER="none"))
    found = check(load.ledger, arrived)
    assert found.streams.pop(left.name) == "crash"
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == load.ledger.logged[False] > 0
    assert layout.streams(outbox) == []


async def test_losses_that_nothing_can_hold_are_said(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If not even a file beside the stream can be written, the end says how many losses are declared nowhere."""
    async with serve(outbox, PREDICTOR_OUTBOX_FULL="lose") as here, Load(here.url) as load:
        await load.more(10)

        def fail(*_: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(DiskCalls, "write", staticmethod(fail))
        monkeypatch.setattr("predictor.outbox.recovery.undeclared.replace_file", fail)
        await load.more(10, logged=False)
    lost = load.ledger.logged[False]
    assert f"{lost} lost records are declared nowhere" in caplog.text
