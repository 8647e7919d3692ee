"""`predictor log replay` and `score` on a real Loki: the numbers come back from it as they went in."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np

from tests.stack.stack import Stack, ship_out
from tests.support.server import IRIS, run

if TYPE_CHECKING:
    from pathlib import Path


async def test_replay_and_score(stack: Stack, outbox: Path, namespace: str) -> None:
    """What a server has shipped to Loki is replayed from there to the bit, and its feedback is joined there."""
    rows = np.random.default_rng(0).uniform([3, 1, 0, 0], [9, 6, 8, 3], (300, 4)).tolist()
    server = await asyncio.to_thread(stack.server(outbox, namespace, PREDICTOR_FEEDBACK="true").start)
    try:
        async with aiohttp.ClientSession(server.url, raise_for_status=True) as session:

            async def predict(some: list[list[float]]) -> str:
                answer = await session.post("/predict/batch", json={"data": some})
                return str((await answer.json())["job_id"])

            jobs = await asyncio.gather(
                *(predict([row]) for row in rows[:50]), predict(rows[50:100]), predict(rows[100:])
            )
            for job in jobs[:10]:
                await session.post(f"/feedback/{job}", json={"index": 0, "label": "setosa", "value": 0.5})
    finally:
        await asyncio.to_thread(ship_out, server)
    selector = f'{{service_name="predictor", k8s_namespace_name="{namespace}"}}'
    where = ["--from", stack.log.url, "--selector", selector, "--json"]
    replayed = await asyncio.to_thread(told, "replay", "--model", str(IRIS), *where)
    assert (replayed["equal"], replayed["predictions"], replayed["replayed"]) == (True, 300, 300)
    assert [each["distance"] for each in replayed["logged_by"]] == [0.0]
    (model,) = (await asyncio.to_thread(told, "score", *where))["models"]
    assert (model["predictions"], model["with_feedback"], model["judged"]) == (300, 10, 10)
    assert (model["numbers"]["count"], model["numbers"]["mean"]) == (10, 0.5)


def told(*arguments: str) -> dict[str, Any]:
    """Return what a verb that works prints for a machine."""
    done = run("log", *arguments, outbox=IRIS)  # the outbox is not asked
    assert (done.returncode, done.stderr) == (0, "")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
