"""A Loki for unit tests: keeps entries and answers log queries as the real one does, page by page.

The readers are held to the real Loki in tests/stack; here are the answers that it seldom gives.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback_server import Loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FILTER = re.compile(r'\| (\w+)="([^"]*)"')


class Stored(NamedTuple):
    """One entry."""

    time_ns: int
    line: str
    metadata: dict[str, str]


class Loki(Loopback):
    """Answers on a free port of loopback; `status` and `body` replace its answer if they are set."""

    def __init__(self, entries: Iterable[Stored] = ()) -> None:
        """Hold these entries."""
        self.entries = sorted(entries, key=lambda entry: entry.time_ns)
        self.status = 200
        self.body: bytes | None = None
        self.queries: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        super().__init__(self._handler())

    def add(self, *lines: bytes) -> None:
        """Store the records of lines of OTLP JSON; equal ones once, as Loki shows them."""
        new = [entry for text in lines for entry in _stored(json.loads(text))]
        kept = {json.dumps(entry, sort_keys=True): entry for entry in [*self.entries, *new]}
        self.entries = sorted(kept.values(), key=lambda entry: entry.time_ns)

    def answer(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return what a query finds."""
        backward = {"forward": False, "backward": True}[asked["direction"]]
        filters = dict(_FILTER.findall(asked["query"]))
        found = [
            entry
            for entry in (self.entries[::-1] if backward else self.entries)
            if int(asked["start"]) <= entry.time_ns < int(asked["end"])
            and all(entry.metadata.get(key) == value for key, value in filters.items())
        ][: int(asked["limit"])]
        values = [[str(entry.time_ns), entry.line, {"structuredMetadata": entry.metadata}] for entry in found]
        result = [{"stream": {"service_name": "predictor"}, "values": values}] if values else []
        return {"status": "success", "data": {"resultType": "streams", "result": result}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        loki = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
                loki.queries.append(asked)
                loki.headers.append({name.lower(): value for name, value in self.headers.items()})
                known = parts.path == "/loki/api/v1/query_range"
                body = loki.body if loki.body is not None else json.dumps(loki.answer(asked)).encode() if known else b""
                self.send_response(loki.status if known else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _stored(data: dict[str, Any]) -> list[Stored]:
    """Return a line's records as Loki keeps them: one flat map of texts, underscores for dots, no event name.

    Empty texts vanish and U+FFFD becomes a space there.
    """
    found = []
    for group in data["resourceLogs"]:
        for scoped in group["scopeLogs"]:
            for record in scoped["logRecords"]:
                pairs = scoped["scope"]["attributes"] + record["attributes"]
                texts = {pair["key"].replace(".", "_"): _text(pair["value"]) for pair in pairs}
                metadata = {key: text.replace("\ufffd", " ") for key, text in texts.items() if text}
                metadata |= {"observed_timestamp": record["observedTimeUnixNano"], "scope_name": "predictor"}
                metadata |= {"severity_text": record["severityText"], "severity_number": str(record["severityNumber"])}
                metadata |= {"service_version": "1", "detected_level": "info"}
                ids = {"trace_id": record.get("traceId"), "span_id": record.get("spanId")}
                metadata |= {key: value for key, value in ids.items() if value}
                metadata |= {"flags": "1"} if record.get("flags") else {}
                found.append(Stored(int(record["timeUnixNano"]), record["body"]["stringValue"], metadata))
    return found


def _text(value: dict[str, Any]) -> str:
    (content,) = value.values()
    return {True: "true", False: "false"}[content] if isinstance(content, bool) else str(content)
