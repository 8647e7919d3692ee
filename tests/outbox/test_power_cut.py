"""Power cuts: no number gets two contents, and no more is gone than the mode of fsync says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support import scripted_sink
from tests.support.ledger import Load, Record, records_of
from tests.support.power_cut import Ext4, ext4
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

CLOSED, LOST = "prediction.stream.closed", "prediction.stream.lost"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Ext4]:
    """Mount a file system whose power can be cut."""
    with ext4(tmp_path / "disk") as small:
        yield small


def by_number(records: Iterable[Record]) -> dict[str, dict[int, Record]]:
    """Return the records by stream and number; fails where one number has two contents."""
    streams: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in records:
        first = streams[record.stream].setdefault(record.sequence, record)
        assert first.text == record.text, f"two contents for {record[:2]}:\n{first.text}\n{record.text}"
    return streams


def declared(records: Iterable[Record]) -> set[int]:
    """Return the numbers that a stream declares as lost."""
    lost: set[int] = set()
    for record in records:
        if record.attributes["event.name"] == LOST:
            lost |= set(
                range(record.attributes[f"{LOST}.first"], record.attributes[f"{LOST}.last"] + 1),
            )
    return lost


@asynccontextmanager
async def taker() -> AsyncIterator[scripted_sink.Sink]:
    """Run a sink that takes everything."""
    async with scripted_sink.serve() as takes:
        yield takes


def arrived(takes: scripted_sink.Sink) -> list[Record]:
    """Return the log records that the sink accepted, copies included."""
    logs = (request for request in takes.accepted if request.path == "/v1/logs")
    return [record for request in logs for record in records_of(request.parsed)]


@pytest.mark.parametrize("fsync", ["second", "batch", "never"])
async def test_a_power_cut_gives_no_number_two_contents(disk: Ext4, fsync: str) -> None:
    """After a power cut under load each stream at the sink is whole: each number once, or declared, and the end last.

    In mode `batch` every acknowledged row is there too.
    """
    outbox = disk.path / "outbox"
    async with taker() as takes:
        settings = {
            "PREDICTOR_OUTBOX_FSYNC": fsync,
            "PREDICTOR_FLUSH": "60s",
            "OTEL_EXPORTER_OTLP_ENDPOINT": takes.url,
            "OTEL_TRACES_EXPORTER": "none",
        }
        server = await asyncio.to_thread(Server(outbox, **settings).start)
        async with Load(server.url, rest=0.002) as load:
            await load.more(500)
            await takes.until(lambda: len(takes.sequences) > 200)
            await load.more(200)
            await asyncio.to_thread(disk.cut, server.pid)
            at_the_cut = set(load.ledger.answers)
            await asyncio.to_thread(server.kill)
        disk.restore()
        last = await asyncio.to_thread(Server(outbox, **settings).start)
        assert await asyncio.to_thread(last.terminate) == 0
        streams = by_number(arrived(takes))
    assert len(streams) == 2
    for stream, records in streams.items():
        end = records[max(records)]
        assert end.attributes["event.name"] == CLOSED, f"{stream} ends with {end}"
        absent = set(range(1, end.sequence)) - records.keys()
        assert absent <= declared(records.values()), f"{stream}: {sorted(absent)[:20]} are neither there nor declared"
        if fsync != "never":
            assert not absent
    if fsync == "batch":
        logged = {
            (record.attributes["prediction.job_id"], record.attributes.get("prediction.index"))
            for records in streams.values()
            for record in records.values()
            if record.attributes["event.name"] == "prediction"
        }
        assert at_the_cut <= logged
