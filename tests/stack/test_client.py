"""The client's script against a server: what the pod in the cluster sends."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import lokilog
from ledger import Load

from stack.programs import binary
from stack.rendered import pod
from stack.stack import ship_out

if TYPE_CHECKING:
    from pathlib import Path

    from stack.stack import Stack


def _run(folder: Path, **settings: str) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, float]]]:
    """Run k6 as its pod does, but for these settings; return its end and its metrics."""
    client = pod("gke", "client")
    command, *arguments = client.lay_out(folder)
    summary = folder / "summary.json"
    done = subprocess.run(
        [binary("bin/k6", "k6"), command, f"--summary-export={summary}", *arguments],
        env=client.environment("client", HOME=str(folder), **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert summary.exists(), done.stderr
    return done, json.loads(summary.read_text(encoding="utf-8"))["metrics"]


async def test_script(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """All its checks pass and its thresholds hold, and what it was answered is in the log: each job, each row."""
    server = await asyncio.to_thread(stack.server(outbox, namespace).start)
    try:
        done, metrics = await asyncio.to_thread(
            _run, tmp_path, API=server.url, RATE="40", DURATION="10s", OUTLIERS="0.2"
        )
    finally:
        await asyncio.to_thread(ship_out, server)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = int(metrics["iterations"]["count"])
    assert (metrics["checks"]["passes"], metrics["checks"]["fails"]) == (3 * asked, 0)
    assert asked >= 300
    rows = Counter(
        record.attributes["prediction.job_id"]
        for record in lokilog.records(stack.stored(namespace))
        if record.attributes["event.name"] == "prediction"
    )
    # By the script: of ten requests one brings eight rows.
    assert sorted(rows.values()) == sorted(8 if turn % 10 == 9 else 1 for turn in range(asked))


async def test_script_notices(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """A server whose outbox is full and that answers nevertheless makes the script fail: its checks can."""
    full = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",  # nobody: nothing is shipped
        "PREDICTOR_OUTBOX_BYTES": "1MiB",
        "PREDICTOR_OUTBOX_FULL": "lose",
        "PREDICTOR_FLUSH": "0s",
    }
    server = await asyncio.to_thread(stack.server(outbox, namespace, **full).start)
    try:
        async with Load(server.url) as load:
            await load.more(100, logged=False)
        done, metrics = await asyncio.to_thread(_run, tmp_path, API=server.url, RATE="20", DURATION="2s")
    finally:
        await asyncio.to_thread(server.terminate)
    assert done.returncode == 99, done.stdout + done.stderr  # k6's own for thresholds that were crossed
    assert metrics["checks"]["fails"] == metrics["iterations"]["count"]
