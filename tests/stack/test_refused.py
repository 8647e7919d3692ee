"""A Loki that refuses everything for a setting of its own: what waits in the outbox arrives once that is mended."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tests.stack.loki import Loki
from tests.support import collector
from tests.support.collector import free_port
from tests.support.ledger import Load
from tests.support.server import ROOT, Server, run

if TYPE_CHECKING:
    from pathlib import Path

_WITHOUT_METADATA = "-validation.allow-structured-metadata=false"


def _set_aside(outbox: Path) -> list[Path]:
    return list(outbox.rglob("rejected"))


async def test_loki_without_structured_metadata(tmp_path: Path, outbox: Path) -> None:
    """Loki answers 400 to all without `allow_structured_metadata`: its words are shown, and no record is given up."""
    collector.binary()
    url = f"http://127.0.0.1:{(port := free_port())}"
    config = ROOT / "otel" / "loki" / "loki.yaml"
    arguments = [f"-config.file={config}", "-config.expand-env=true"]
    where = {"LOKI_HTTP_PORT": str(port), "LOKI_GRPC_PORT": str(free_port()), "LOKI_DATA": str(tmp_path / "data")}
    wrong, right = (
        Loki([*arguments, *more], where, tmp_path, url, config.parent) for more in ([_WITHOUT_METADATA], [])
    )
    way = free_port()
    agent = await asyncio.to_thread(collector.start, collector.to_sink(way, f"{url}/otlp"), tmp_path, way)
    settings = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{agent.url}/v1/logs", "PREDICTOR_FLUSH": "60s"}
    server = Server(outbox, **settings)
    try:
        with wrong:
            await asyncio.to_thread(server.start)
            async with Load(server.url, limit=300) as load:
                await load.more(200)
            said = await asyncio.to_thread(server.wait_for, lambda line: "is refused and waits" in line)
            assert "limits_config.allow_structured_metadata" in said
        assert not await asyncio.to_thread(_set_aside, outbox)
        with right:
            assert await asyncio.to_thread(server.terminate) == 0
            assert not await asyncio.to_thread(os.listdir, outbox / "v1")
            verified = await asyncio.to_thread(run, "log", "verify", "--from", url, outbox=outbox)
    finally:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(agent.stop)
    assert verified.returncode == 0, verified.stdout
    assert f" {len(load.ledger.answers) + 2} " in verified.stdout  # all rows, the stream's first and last record
