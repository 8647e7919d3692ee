"""What the server says on stderr, and that it serves where nobody listens to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.server import ROOT, ROW, Server, environment, predictions, records

BODY = json.dumps({"data": [ROW]})
_PATIENCE = 30.0  # s
_TRACE, _SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def post(port: int, body: str = BODY) -> int:
    """Post to /predict and return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_refusals_are_displayed(outbox: Path) -> None:
    """A request that is refused is a line as well, the body of its record: a person sees what became of each call."""
    with Server(outbox, PREDICTOR_DISPLAY="on") as server:
        assert post(server.port, '{"data":[[1]]}') == 422
        assert post(server.port, "{") == 400
        server.wait_for(lambda line: line.startswith("invalid-json "))
        shown = [line for line in server.stderr_lines if " job=" in line]
    logged = [record["body"]["stringValue"] for record in records(outbox) if record["eventName"] == "prediction"]
    assert shown == logged
    assert [line.split()[0] for line in shown] == ["invalid-data", "invalid-json"]


def test_serves_with_stderr_closed(outbox: Path) -> None:
    """A server started with stdin, stdout and stderr closed serves, and none of its files gets their numbers."""
    port = free_port()
    start = 'exec "$0" -m predictor <&- >&- 2>&-'  # `exec`: the process is the server itself
    process = subprocess.Popen(
        ["/bin/sh", "-c", start, sys.executable],
        cwd=ROOT,
        env=environment(outbox, PREDICTOR_PORT=str(port), PREDICTOR_DISPLAY="on"),
    )
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                assert post(port) == 200
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)  # a process that says nothing can only be asked
        standard = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert standard == [os.devnull] * 3
    assert len(predictions(outbox)) == 1


def test_serves_when_the_reader_of_stderr_is_gone(outbox: Path) -> None:
    """A pipe that ends, as in `predictor 2>&1 | head -3`, fails no prediction and changes no exit status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "predictor"],
        cwd=ROOT,
        env=environment(outbox, PREDICTOR_DISPLAY="on"),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        listens, *_ = [process.stderr.readline() for _ in range(4)]  # the greeting
        process.stderr.close()
        port = int(json.loads(listens)["message"].rsplit(":", 1)[1])
        assert [post(port), post(port, "{"), post(port)] == [200, 400, 200]
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert len(predictions(outbox)) == 3


def test_old_streams_are_one_line(outbox: Path) -> None:
    """However many streams are kept in the outbox, a start says in one line that it took them over."""
    for _ in range(3):
        with Server(outbox) as server:
            pass
    newest = max(path.name for path in (outbox / "v1").iterdir() if path.is_dir())
    with Server(outbox) as server:
        (said,) = (line for line in server.stderr_lines if "took over" in line)
    assert json.loads(said)["message"] == f"took over 3 streams of processes that ended, the newest is {newest}"


def test_end_says_how_long_it_may_take(outbox: Path) -> None:
    """The first signal is answered with the longest time that the end may take and how to end at once."""
    settings = {"PREDICTOR_SHUTDOWN_DELAY": "100ms", "PREDICTOR_DRAIN": "2s", "PREDICTOR_FLUSH": "1s"}
    with Server(outbox, **settings) as server:
        assert server.terminate() == 0
    said = [json.loads(line)["message"] for line in server.stderr_lines]
    # The delay, the drain, no flush since nothing leaves, and five seconds to close.
    assert said[-1] == "SIGTERM: shutting down within 7.1 s; a second signal ends it at once"


def test_greeting_for_ipv6(outbox: Path) -> None:
    """The curl line for an IPv6 address is quoted, since some shells take its brackets for a pattern."""
    with Server(outbox, PREDICTOR_HOST="::1") as server:
        tries = server.wait_for(lambda line: "try: curl" in line)
    assert json.loads(tries)["message"].endswith(f" '{server.url}/predict'")
    assert server.url.startswith("http://[::1]:")


def test_greeting_where_records_are_not_shipped(outbox: Path) -> None:
    """With OTEL_LOGS_EXPORTER=none the greeting names that, and what has no effect is said beside it."""
    settings = {"OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with Server(outbox, OTEL_BSP_MAX_QUEUE_SIZE="1", PREDICTOR_FLUSH="0s", **settings) as server:
        said = json.loads(server.wait_for(lambda line: "it stays there" in line))["message"]
        ignored = json.loads(server.wait_for(lambda line: "OTEL_BSP_" in line))["message"]
    assert said.endswith("; OTEL_LOGS_EXPORTER=none")
    assert ignored.startswith("OTEL_BSP_MAX_QUEUE_SIZE has no effect: ")


@pytest.mark.parametrize(
    ("propagators", "headers"),
    [
        ("b3", {"b3": f"{_TRACE}-{_SPAN}-1"}),
        ("b3multi", {"X-B3-TraceId": _TRACE, "X-B3-SpanId": _SPAN, "X-B3-Sampled": "1"}),
        ("jaeger", {"uber-trace-id": f"{_TRACE}:{_SPAN}:0:1"}),
        ("xray", {"X-Amzn-Trace-Id": f"Root=1-{_TRACE[:8]}-{_TRACE[8:]};Parent={_SPAN};Sampled=1"}),
        ("tracecontext,b3", {"b3": f"{_TRACE}-{_SPAN}-1"}),
    ],
)
def test_propagators(outbox: Path, propagators: str, headers: dict[str, str]) -> None:
    """A record has the trace of a caller who carries it in the headers of `OTEL_PROPAGATORS`."""
    with Server(outbox, OTEL_PROPAGATORS=propagators) as server:
        request = urllib.request.Request(f"{server.url}/predict", BODY.encode(), headers)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
    (line,) = (line for path in outbox.rglob("*.jsonl") for line in path.read_text().splitlines() if _TRACE in line)
    assert f'"traceId":"{_TRACE}"' in line


def test_warnings_are_lines() -> None:
    """A warning of a library, such as numpy's, is an operational line, each different one once a minute."""
    script = """
import warnings
import numpy as np
from predictor.core import operator_log
operator_log.setup()
for _ in range(3):
    np.array([1e300]).astype(np.float32)
    np.array([-1.0]) ** 0.5
    warnings.warn("another\\nsecond line", UserWarning, stacklevel=1)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, check=True)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [each["logger"] for each in said] == ["py.warnings"] * 3
    assert "RuntimeWarning: overflow encountered in cast" in said[0]["message"]
    assert "invalid value" in said[1]["message"]
    assert said[2]["message"].endswith("UserWarning: another")
