"""The largest records and the largest requests that a server sends are taken."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import TYPE_CHECKING

import aiohttp
import numpy as np

from tests.stack.expected import compare
from tests.stack.stack import ship_out
from tests.support.onnx_graphs import graph, tensor, write
from tests.support.server import records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack
    from tests.support.onnx_graphs import Node

_WIDTH = 2500  # features, of which a record takes 32 KiB; as many as classes, so that each is a logit
_CLASSES = 2500  # 50 KiB of probabilities
_MOST = 256  # rows of one request
_LARGEST = 8 << 20  # B; a line that is longer than this is not sent as it is, but in halves
_LONG = 90  # rows whose line is a little shorter


def _model(folder: Path) -> Path:
    """Write a model with many features and many classes, whose probabilities are none of them short."""
    nodes: list[Node] = [
        ("Slice", ["rows", "from", "to", "columns"], ["logits"], {}),
        ("Softmax", ["logits"], ["p"], {"axis": 1}),
    ]
    constants = {"from": np.array([0]), "to": np.array([_CLASSES]), "columns": np.array([1])}
    return write(
        folder,
        graph(nodes, constants, {"p": tensor(["N", _CLASSES])}, ["N", _WIDTH]),
        name="widest",
        features=[f"f{index}" for index in range(_WIDTH)],
        labels=[f"class {index}" for index in range(_CLASSES)],
    )


async def test_largest(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """Records with 32 KiB of input and 2,500 probabilities are whole in Loki, by requests of the largest size.

    Requests of nearly 8 MiB pass receiver, exporter and all of Loki's limits, those between its own parts too.
    """
    settings = {"PREDICTOR_MODEL": str(_model(tmp_path / "widest")), "PREDICTOR_BODY_BYTES": "64MiB"}
    alone = await asyncio.to_thread(stack.server(outbox, namespace, OTEL_EXPORTER_OTLP_ENDPOINT="", **settings).start)
    row = [(index % 977 + 1) / 977 for index in range(_WIDTH)]
    try:
        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
            for rows in (1, 9, 9, _LONG, _MOST, _LONG):
                body = io.BytesIO(json.dumps({"data": [row] * rows}).encode())
                async with session.post(f"{alone.url}/predict/batch", data=body) as answer:
                    assert answer.status == 200, await answer.text()
    finally:
        await asyncio.to_thread(alone.terminate)
    kept = records(outbox)
    size = _size(outbox)
    inputs = [record["attributes"].get("prediction.input_json", "") for record in kept]
    assert max(map(len, inputs)) == 32 << 10
    await asyncio.to_thread(ship_out, stack.server(outbox, namespace).start())
    streams = {record["stream"] for record in kept}
    entries = [entry for entry in stack.stored(namespace) if entry.metadata["prediction_stream_id"] in streams]
    compare(entries, kept, stack.added)
    assert 0.9 * _LARGEST < _most_records(stack.collector.stdout, namespace) * size / len(kept) < _LARGEST


def _size(outbox: Path) -> int:
    """Return how many bytes all records under an outbox have."""
    return sum(path.stat().st_size for path in outbox.glob("v1/*/logs/*.jsonl"))


def _most_records(stdout: Path, namespace: str) -> int:
    """Return how many records of a namespace the largest request brought, as the Collector printed it."""
    requests = stdout.read_text(encoding="utf-8").split("\nLogs\t")
    ours = [request for request in requests if f" k8s.namespace.name={namespace} " in request]
    return max(int(re.findall(r'"log records": (\d+)', request)[0]) for request in ours)
