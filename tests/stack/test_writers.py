"""Many writers at one Loki that is killed: what it had accepted is there."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.stack.stack import Stack

_WRITERS = 8
_RECORDS = 8  # a request
# Requests before a kill. With one Loki stream for all writers Loki forgets one request of some thousands (decision 17).
_REQUESTS = 20_000
_KILLS = 2


def test_what_is_written_at_once_survives_a_kill(whole: Stack, namespace: str) -> None:
    """Processes write at the same time, as fast as Loki takes it: of what it accepted, kills of it cost nothing."""
    accepted: SimpleQueue[str] = SimpleQueue()
    written = set()
    for kill in range(_KILLS):
        with ThreadPoolExecutor(_WRITERS) as pool:
            for k in range(_WRITERS):
                pool.submit(_write, whole.log.url, namespace, f"{kill}-{k}", accepted)
            try:
                written |= {accepted.get(timeout=60) for _ in range(_REQUESTS)}
            finally:
                whole.loki.kill()  # ends the writers too
        while not accepted.empty():
            written.add(accepted.get())
        whole.loki.start()
        whole.loki.wait_ready()
    stored = [entry.line for entry in whole.stored(namespace)]
    assert set(stored) >= {f"{request}/{k}" for request in written for k in range(_RECORDS)}
    assert len(stored) == len(set(stored))


def _write(url: str, namespace: str, process: str, accepted: SimpleQueue[str]) -> None:
    """Send requests of one process, one after the other, until there is no Loki; say which ones it accepted."""
    resource = {"service.name": "predictor", "k8s.namespace.name": namespace, "service.instance.id": process}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in resource.items()]
    to = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    number = 0
    while True:
        request, number = f"{process}/{number}", number + 1
        time_ns = time.time_ns()
        records = [
            {"timeUnixNano": str(time_ns + k), "body": {"stringValue": f"{request}/{k}"}} for k in range(_RECORDS)
        ]
        body = {"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": records}]}]}
        try:
            to.request("POST", "/otlp/v1/logs", json.dumps(body), {"Content-Type": "application/json"})
            with to.getresponse() as answer:
                answer.read()
                assert answer.status == http.client.NO_CONTENT
        except (OSError, http.client.HTTPException):
            return
        accepted.put(request)
