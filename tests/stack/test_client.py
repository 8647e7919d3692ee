"""The client's pod against a server and a real Loki: what it sends is what the log has."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.stack.rendered import pod
from tests.stack.stack import ship_out
from tests.support import loki_client
from tests.support.ledger import Load
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack


def _run(url: str, *more: str, **settings: str) -> tuple[int, dict[str, Any]]:
    """Run the client as its pod does, but for these settings; return its exit status and its summary."""
    client = pod("gke", "client")
    variables = client.environment("client", **settings)
    arguments = [argument.replace("$(RATE)", variables["RATE"]) for argument in client.container["args"]]
    arguments = [each.replace("/srv/", f"{ROOT}/").replace("http://api:8000", url) for each in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "predictor", *arguments, "--json", *more],
        env=variables,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_all_it_sent_is_in_loki(stack: Stack, outbox: Path, namespace: str) -> None:
    """Nothing fails, and what it was answered is in the log: each job, each row."""
    server = await asyncio.to_thread(stack.server(outbox, namespace).start)
    try:
        status, summary = await asyncio.to_thread(_run, server.url, "--for", "10s", RATE="40")
    finally:
        await asyncio.to_thread(ship_out, server)
    assert (status, summary["failed"]) == (0, 0)
    asked = summary["requests"]
    assert asked + summary["not_sent"] == 400
    rows = Counter(
        record.attributes["prediction.job_id"]
        for record in loki_client.records(stack.stored(namespace))
        if record.attributes["event.name"] == "prediction"
    )
    assert len(rows) == asked
    assert rows.total() == summary["rows"]
    assert set(rows.values()) == {1, 8}


async def test_it_notices_what_is_not_logged(stack: Stack, outbox: Path, namespace: str) -> None:
    """A server whose outbox is full and that answers nevertheless makes the client fail: its checks can."""
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
        status, summary = await asyncio.to_thread(_run, server.url, "--count", "40", RATE="20")
    finally:
        await asyncio.to_thread(server.terminate)
    assert status == 1
    assert summary["outcomes"] == {"200, but not logged": summary["requests"]}
