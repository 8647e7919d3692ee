"""What Loki has of each record, compared with the record itself."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp

from tests.stack.expected import compare
from tests.stack.stack import every_overlay, of, ship_out
from tests.support import model_folders
from tests.support.ledger import Load, check
from tests.support.loki_client import records as records_in
from tests.support.server import ROW, records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack

_OUTLIER = [100.0, 100.0, 100.0, 100.0]
_PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}
_ASKED = [
    ("/predict", json.dumps({"data": [ROW]}), {"X-Request-Id": "a.B_c-1"}, 200),
    ("/predict/label", json.dumps({"data": [ROW]}), _PARENT, 200),
    ("/predict/batch", json.dumps({"data": [ROW, _OUTLIER, [1e-45, -0.0, 1e16, 0.1]]}), {}, 200),
    ("/predict", json.dumps({"data": [ROW, ROW]}), {}, 422),
    ("/predict", '{"data": [[NaN]]}', {}, 400),
]
_FAILS = json.dumps({"data": [[model_folders.FAILS_ABOVE * 2, 1.0]]})


@every_overlay
async def test_all_of_every_record(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """Loki has every record once, with line, times, severity, ids and all attributes as written, and adds nothing.

    What the records are is read from the outbox, where servers
    without a Collector keep them, until the next one ships them.
    """
    failing = str(model_folders.failing(tmp_path / "failing"))
    of_failing = [("/predict", _FAILS, _PARENT, 500)]
    for model, asked in (({}, _ASKED), ({"PREDICTOR_MODEL": failing}, of_failing)):
        alone = stack.server(outbox, namespace, OTEL_EXPORTER_OTLP_ENDPOINT="", **model)
        await asyncio.to_thread(alone.start)
        try:
            async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
                for path, body, headers, status in asked:
                    async with session.post(alone.url + path, data=body, headers=headers) as answer:
                        assert answer.status == status, await answer.text()
        finally:
            await asyncio.to_thread(alone.terminate)
    kept = records(outbox)
    assert {record["severityText"] for record in kept} == {"INFO", "WARN", "ERROR"}
    assert Counter(record["eventName"] for record in kept)["prediction"] == 8
    await asyncio.to_thread(ship_out, stack.server(outbox, namespace).start())
    streams = {record["stream"] for record in kept}
    entries = [entry for entry in stack.stored(namespace) if entry.metadata["prediction_stream_id"] in streams]
    compare(entries, kept, stack.added)


async def test_sent_again(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """A log that is sent a second time, long after the first, is there once for whoever asks for its records.

    Loki itself notices only what comes again while the first is in the block that it is writing (256 KB): of these
    records it stores most twice, and its log queries show one copy because both are the same.
    """
    alone = await asyncio.to_thread(stack.server(outbox, namespace, OTEL_EXPORTER_OTLP_ENDPOINT="").start)
    try:
        async with Load(alone.url, seed=8) as load:
            await load.more(2000)
    finally:
        await asyncio.to_thread(alone.terminate)
    await asyncio.to_thread(shutil.copytree, outbox, tmp_path / "again")
    for once in (outbox, tmp_path / "again"):
        await asyncio.to_thread(ship_out, stack.server(once, namespace).start())
    entries = stack.stored(namespace)
    found = check(load.ledger, records_in(entries))
    assert found.copies == 0
    assert len(found.streams) == 3
    (counted,) = stack.log.get("/loki/api/v1/query", query=f"sum(count_over_time({of(namespace)}[1h]))")["result"]
    assert int(counted["value"][1]) > len(entries) + 1000


async def test_pages(stack: Stack, outbox: Path, namespace: str) -> None:
    """What is read in small pages is what is read in one, though records of one request have one time.

    All other tests lean on this: a reader that lost or doubled entries between pages would find what is not so.
    """
    server = await asyncio.to_thread(stack.server(outbox, namespace).start)
    try:
        async with aiohttp.ClientSession() as session:
            for rows in (1, 9, 3, 1, 1, 10, 2):
                await session.post(f"{server.url}/predict/batch", json={"data": [ROW] * rows})
    finally:
        await asyncio.to_thread(ship_out, server)
    whole = stack.stored(namespace)
    assert len(whole) == 27 + 3  # opened, the model, closed
    for page in (11, 12, 28, 29, 30):
        assert sorted(stack.stored(namespace, page=page), key=str) == sorted(whole, key=str)


async def test_each_process_is_a_loki_stream(stack: Stack, outbox: Path, namespace: str) -> None:
    """Service, namespace and process are the only labels: each process writes a Loki stream of its own, and but one."""
    for _ in range(2):
        server = await asyncio.to_thread(stack.server(outbox, namespace).start)
        try:
            async with Load(server.url, seed=3) as load:
                await load.more(50)
        finally:
            await asyncio.to_thread(ship_out, server)
    entries = stack.stored(namespace)
    labels = stack.series(namespace, entries[0].time)
    processes = {each.pop("service_instance_id") for each in labels}
    assert labels == [{"service_name": "predictor", "k8s_namespace_name": namespace}] * 2
    assert len(processes) == len({entry.metadata["prediction_stream_id"] for entry in entries}) == 2
