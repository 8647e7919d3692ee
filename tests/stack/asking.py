"""A Loki with the deployed configuration that holds the planted log, asked as Grafana asks it."""

from __future__ import annotations

import re
import time
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

from predictor import otlp
from tests.stack import loki as programs
from tests.stack import planted
from tests.stack.planting import BEGIN, END, MINUTE, NAMESPACE, SECOND, SERVICE, Fact, facts
from tests.support.collector import free_port
from tests.support.grafana_dashboards import ROOT, Query, panels
from tests.support.loki_client import Loki

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.answers import Labels

START = BEGIN - 2 * MINUTE
"""What lies at the beginning of a range is not in it, and the streams are opened at `BEGIN`."""
TRACE, JOB = f"{6:032x}", "0199c0de-0000-7000-9000-000000000010"
"""What the boxes of the dashboard `trace` hold."""
_PATIENCE = 60.0  # s
_TOGETHER = 500  # lines


class Log(NamedTuple):
    """A Loki and what is planted in it."""

    loki: Loki
    facts: list[Fact]
    """With copies."""

    def numbers(self, query: Query, **chosen: str) -> dict[tuple[Labels, int], float]:
        """Return the numbers of a metric query by labels and time."""
        text = filled(query, **chosen)
        if query.kind == "instant":
            result = self.loki.get("/loki/api/v1/query", query=text, time=END)["result"]
            return {(frozenset(each["metric"].items()), END): float(each["value"][1]) for each in result}
        whole = {"start": START, "end": END, "step": step(query)}
        result = self.loki.get("/loki/api/v1/query_range", query=text, **whole)["result"]
        return {
            (frozenset(each["metric"].items()), int(at) * SECOND): float(value)
            for each in result
            for at, value in each["values"]
        }

    def entries(self, query: Query, **chosen: str) -> list[tuple[int, str, dict[str, str]]]:
        """Return time, line and all labels of what a log query finds, newest first."""
        whole = {"start": START, "end": END, "limit": 1000}
        result = self.loki.get("/loki/api/v1/query_range", query=filled(query, **chosen), **whole)["result"]
        found = [
            (int(at), line, stream["stream"] | kinds.get("structuredMetadata", {}) | kinds.get("parsed", {}))
            for stream in result
            for at, line, kinds in stream["values"]
        ]
        return sorted(found, key=lambda entry: (-entry[0], *_number(entry[2])))


def _number(values: dict[str, str]) -> tuple[str, int]:
    return values["prediction_stream_id"], int(values["prediction_stream_sequence"])


def windows(query: Query) -> list[tuple[int, int]]:
    """Return the times that a query's numbers are about: the whole range, or one for each point."""
    if query.kind == "instant":
        return [(START, END)]
    width = step(query) * SECOND
    return [(end - width, end) for end in range(START + width, END + 1, width)]


def step(query: Query) -> int:
    """Return the seconds between two points: the least that the panel allows."""
    (panel,) = (each for each in panels(query.board) if each["title"] == query.panel)
    interval = re.fullmatch(r"(\d+)m", panel["interval"])
    assert interval
    return int(interval[1]) * 60


def filled(
    query: Query,
    *,
    model: str = "",
    label: str = "",
    stream: str = "",
    sample: str = ".*",
    trace_id: str = TRACE,
    job_id: str = JOB,
    namespace: str = NAMESPACE,
) -> str:
    """Return a query with what the reader has chosen; nothing is everything."""
    return query.filled(
        service=SERVICE,
        namespace=namespace,
        model=model or ".*",
        number="prediction_value",
        version=".*",
        label=label or ".*",
        stream=stream,
        sample=sample,
        trace_id=trace_id,
        job_id=job_id,
        __range=f"{(END - START) // SECOND}s",
        __auto=f"{step(query)}s" if query.kind == "range" else "none",
    )


def prepare(folder: Path) -> tuple[programs.Loki, Loki]:
    """Return Loki, not started."""
    loki = Loki(f"http://127.0.0.1:{(port := free_port())}")
    environment = {"LOKI_HTTP_PORT": str(port), "LOKI_GRPC_PORT": str(free_port()), "LOKI_DATA": str(folder / "data")}
    config = ROOT / "otel" / "loki" / "loki.yaml"
    arguments = [f"-config.file={config}", "-config.expand-env=true"]
    # Copies are counted twice only until the chunk that was flushed leaves the memory, at the next sweep by default.
    arguments.append("-ingester.chunks-retain-period=1h")
    return programs.Loki(arguments, environment, folder, loki.url, config.parent), loki


def plant(loki: Loki) -> Log:
    """Push the planted streams, and a part of one again: when what it repeats is in another chunk, it is stored."""
    streams = planted.plant()
    again = planted.copies(streams)
    sent = [line for stream in streams for line in stream.sent]
    push(loki, sent)
    _post(f"{loki.url}/flush")
    end = time.monotonic() + _PATIENCE
    while _flushed(loki) < len({stream.namespace for stream in streams}):  # a chunk each
        assert time.monotonic() < end, "Loki does not flush"
        time.sleep(0.05)  # it flushes in its own time
    push(loki, again)
    return Log(loki, [fact for fact in facts(sent + again) if fact.values["k8s_namespace_name"] == NAMESPACE])


def push(loki: Loki, lines: list[bytes]) -> None:
    """Send lines as a Collector would, many in one request."""
    for at in range(0, len(lines), _TOGETHER):
        _post(f"{loki.url}/otlp/v1/logs", otlp.merge("logs", lines[at : at + _TOGETHER]))


def _post(url: str, body: bytes = b"") -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def _flushed(loki: Loki) -> float:
    with urllib.request.urlopen(f"{loki.url}/metrics", timeout=30) as answer:
        told = re.findall(r"^loki_ingester_chunks_flushed_total\{[^}]*\} (\S+)", answer.read().decode(), re.MULTILINE)
    return sum(map(float, told))
