"""Asks a server by Triton's client over gRPC: `with_tritonclient_grpc.py HOST:PORT MODEL FILE CALLERS SECONDS`.

FILE has requests as `bench/dialects.py` writes them, with binary data; each caller sends them in turn, and the next one
when he has his answer, as perf_analyzer does. JSON at the end: what was seen. Without CALLERS and SECONDS it is the
numbers of the first answer.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the client's own environment.

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

_PATIENCE = 20.0  # s; a slow answer is one


def requests(file: Path) -> list[list[Any]]:
    """Return the inputs of each request."""
    found, content, at = [], file.read_bytes(), 0
    while at < len(content):
        end = content.index(b"\n", at)
        length, size = map(int, content[at:end].split())
        at = end + 1
        line, data = content[at : at + length], content[at + length : at + length + size]
        at += length + size + 1
        (each,) = json.loads(line)["inputs"]
        one = triton.InferInput(each["name"], each["shape"], each["datatype"])
        one.set_data_from_numpy(np.frombuffer(data, "<f4").reshape(each["shape"]))
        found.append([one])
    return found


async def ask(place: str, model: str, file: str) -> dict[str, Any]:
    """Return the numbers that answer the first request."""
    async with triton.InferenceServerClient(place) as client:
        result = await client.infer(model, requests(Path(file))[0], client_timeout=_PATIENCE)
    names = [each.name for each in result.get_response().outputs]
    return {name: result.as_numpy(name).reshape(-1).tolist() for name in names}


async def load(place: str, model: str, file: str, callers: int, seconds: float) -> dict[str, Any]:
    """Return what was seen."""
    asked = requests(Path(file))
    times: list[float] = []
    async with triton.InferenceServerClient(place) as client:
        until = time.perf_counter() + seconds

        async def call(turn: int) -> None:
            while (began := time.perf_counter()) < until:
                await client.infer(model, asked[turn % len(asked)], client_timeout=_PATIENCE)
                times.append(time.perf_counter() - began)
                turn += 1

        began = time.perf_counter()
        await asyncio.gather(*map(call, range(callers)))
        took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    seen = {"requests": len(times), "microseconds": round(took * 1e6), "p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6}
    return seen | {"unanswered": 0, "refused": 0}


if __name__ == "__main__":
    place, model, file, *more = sys.argv[1:]
    what = load(place, model, file, int(more[0]), float(more[1])) if more else ask(place, model, file)
    print(json.dumps(asyncio.run(what)))
