"""A server whose spans go to a Collector that is not there, and its spans as the outbox keeps them, read plainly."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation import _semconv

from tests.support.official_otlp import parsed
from tests.support.server import IRIS, Here, attributes, records, serve, serve_models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

NOWHERE = "http://127.0.0.1:9/v1/traces"
INTERNAL, SERVER = 1, 2
USUAL, OUTLIER = [5.1, 3.5, 1.4, 0.2], [100.0, 100.0, 100.0, 100.0]


@asynccontextmanager
async def traced(
    patch: pytest.MonkeyPatch, outbox: Path, folder: Path = IRIS, /, **environment: str
) -> AsyncIterator[Here]:
    """Run a server with this environment, which the SDK reads too; its log has no endpoint, its traces a dead one."""
    async with serve(outbox, folder, **_set(patch, environment)) as here:
        yield here


@asynccontextmanager
async def traced_models(
    patch: pytest.MonkeyPatch, outbox: Path, path: Path, /, **environment: str
) -> AsyncIterator[Here]:
    """Run the same with whatever models lie at a path."""
    async with serve_models(outbox, path, **_set(patch, environment)) as here:
        yield here


def _set(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> dict[str, str]:
    whole = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE, "PREDICTOR_FLUSH": "0s"} | environment
    for name, value in ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http"} | whole).items():
        patch.setenv(name, value)
    patch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)  # read once a process
    return whole


def spans(outbox: Path) -> list[dict[str, Any]]:
    """Return all spans under an outbox: OTLP fields, `attributes` and `resource` as dicts, `scope` as its name."""
    return [
        span
        | {
            "attributes": attributes(span.get("attributes", [])),
            "scope": scope["scope"]["name"],
            "resource": attributes(resource["resource"]["attributes"]),
        }
        for path in sorted((outbox / "v1").glob("*/traces/*.jsonl"))
        for line in path.read_bytes().splitlines(keepends=True)
        for resource in parsed(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def tree(outbox: Path) -> dict[str, dict[str, Any]]:
    """Return the spans of the only trace by name; the server span is `server`."""
    found = spans(outbox)
    assert len({span["traceId"] for span in found}) == 1
    named = {"server" if span["kind"] == SERVER else span["name"]: span for span in found}
    assert len(named) == len(found), found
    return named


def servers(outbox: Path) -> list[dict[str, Any]]:
    """Return the server spans."""
    return [span for span in spans(outbox) if span["kind"] == SERVER]


def told(outbox: Path) -> list[dict[str, Any]]:
    """Return the records of predictions; fails unless flag 01 stands exactly where a server span was written."""
    found = [record for record in records(outbox) if record["eventName"] == "prediction"]
    written = {(span["traceId"], span["spanId"]) for span in servers(outbox)}
    for record in found:
        ids = record["traceId"], record["spanId"]
        assert (record.get("flags") == 1) == (ids in written), json.dumps(record)
        assert ("prediction.kept" in record["attributes"]) == (ids in written)
    return found
