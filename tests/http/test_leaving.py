"""A server that is about to end tells its callers so, before it closes the connections that they keep."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.gated_model import pipeline
from tests.support.server import ROW, Server, answers, message, raw, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gated_model import Gate
    from tests.support.server import Here

_BODY = json.dumps({"data": [ROW]}).encode()
_ASK = message("POST", "/predict", _BODY, Content_Type="application/json")
_PATIENCE = 30.0  # s


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/livez"])
def test_kept_connections_end_with_an_answer(outbox: Path, path: str) -> None:
    """From SIGTERM on an answer is the last one of its connection and says so, as long as the server still listens."""
    server = Server(outbox, PREDICTOR_SHUTDOWN_DELAY="1h").start()
    try:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)
        said = []
        for _ in range(2):
            kept.request("GET" if path == "/livez" else "POST", path, _BODY, {"Content-Type": "application/json"})
            answer = kept.getresponse()
            answer.read()
            said.append((answer.status, answer.headers["Connection"]))
            if said[1:]:
                break
            server.process.send_signal(signal.SIGTERM)
            server.wait_for(lambda line: "shutting down" in line)
        assert said == [(200, None), (200, "close")]
        assert kept.sock is None  # closed on the answer's word
    finally:
        server.kill()


async def test_an_answer_on_its_way_is_the_last_one(here: Here, gate: Gate) -> None:
    """A prediction that was begun before the server began to leave is answered, and ends its connection."""
    pipeline(here, gate)
    asked = asyncio.create_task(raw(here.port, _ASK))
    await until(lambda: bool(gate.batches))
    here.server.leave()
    gate.open()
    (answer,) = answers(await asked)  # ends only when the server closes
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert "job_id" in answer.json
