"""From a prediction to its trace, and from the trace to its record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from tests.stack.stack import every_overlay, ship_out
from tests.support.server import ROW

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.spans import Receiver
    from tests.stack.stack import Stack
    from tests.stack.tempo import Tempo

_OUTLIER = [100.0, 100.0, 100.0, 100.0]
_SPANS = {"POST /predict", "predict", "queue", "inference"}


@every_overlay
async def test_both_ways(stack: Stack, tempo: Receiver | Tempo, outbox: Path, namespace: str) -> None:
    """A record whose flag says that there is a trace has one under its trace id, and a search for its job finds it.

    An outlier always has one, whatever the sampler says.
    """
    server = await asyncio.to_thread(stack.server(outbox, namespace).start)
    told: dict[str, str] = {}
    try:
        async with aiohttp.ClientSession() as session:
            for row in [ROW, _OUTLIER] * 8:
                async with session.post(f"{server.url}/predict", json={"data": [row]}) as answer:
                    told[(await answer.json())["job_id"]] = answer.headers["X-Trace-Id"]
    finally:
        await asyncio.to_thread(ship_out, server)
    entries = [entry for entry in stack.stored(namespace) if "trace_id" in entry.metadata]
    assert {entry.metadata["prediction_job_id"]: entry.metadata["trace_id"] for entry in entries} == told
    traced = [entry for entry in entries if entry.metadata.get("flags") == "1"]
    outliers = [entry for entry in entries if entry.metadata["prediction_outlier"] == "true"]
    assert len(outliers) == 8
    assert all(entry in traced for entry in outliers)
    if stack.overlay == "minikube":
        assert traced == entries
    for entry in entries:
        trace_id, job_id = entry.metadata["trace_id"], entry.metadata["prediction_job_id"]
        if entry in traced:
            assert await asyncio.to_thread(tempo.trace, trace_id) == _SPANS
            assert await asyncio.to_thread(tempo.of_job, job_id) == {trace_id}
