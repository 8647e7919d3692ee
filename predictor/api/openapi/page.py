"""The calls of the page at `/`, where it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.openapi.responses import header_references, problem_responses
from predictor.core.problems import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.api.openapi.conditions import Conditions
    from predictor.api.openapi.values import Schema

_MEANT = [
    {
        "name": name,
        "in": "query",
        "description": f"The {name} that is meant, if not the default one",
        "schema": {"type": "string"},
    }
    for name in ("model", "version")
]
_FILE = [{"name": "file", "in": "path", "required": True, "schema": {"type": "string"}}]
_STREAM = (Kind.NO_MODEL, Kind.DRAINING, Kind.PAGE_BUSY)
_STRING: Schema = {"schema": {"type": "string"}}
_HEADERS = {
    "Content-Security-Policy": _STRING,
    "X-Content-Type-Options": _STRING,
    "Referrer-Policy": _STRING,
    "Cross-Origin-Opener-Policy": _STRING,
    "Cross-Origin-Resource-Policy": _STRING,
}
PAGE: dict[str, tuple[str, str, str, list[Schema], tuple[Kind, ...]]] = {
    "/": ("page", "The page", "text/html", _MEANT, (Kind.NO_MODEL,)),
    "/page/events": (
        "page_events",
        "The last predictions and the state of the log, as server-sent events",
        "text/event-stream",
        _MEANT,
        _STREAM,
    ),
    "/page/{file}": ("page_file", "Style, scripts and icon", "*/*", _FILE, ()),
}
"""By path: id, summary, media type, parameters, and the kinds of problems beside 404."""


def operations(conditions: Conditions) -> Iterator[tuple[str, str, Schema]]:
    """Yield path, method and operation of each call of the page."""
    for path, (name, summary, media_type, parameters, kinds) in PAGE.items():
        every = [Kind.NOT_FOUND, *kinds, *([Kind.MISDIRECTED_REQUEST] if conditions.checks_hosts else [])]
        headers = {**_HEADERS, **header_references(["Cache-Control"])}
        success = {
            "description": summary,
            "headers": headers,
            "content": {media_type: {}},
        }
        yield (
            path,
            "get",
            {
                "operationId": f"get_{name}",
                "tags": ["page"],
                "summary": summary,
                "parameters": parameters,
                "responses": {"200": success} | problem_responses(path, every, traced=False),
            },
        )
