"""Answers of calls before they are HTTP's: status, headers in order, body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from predictor.api.json_body import JSON, encode

if TYPE_CHECKING:
    from predictor.core.result import Origin

Headers = list[tuple[str, str]]
NO_STORE = ("Cache-Control", "no-store")
"""Of every answer: what a cache keeps is given to somebody else, and is no prediction that was logged."""


class Answer(msgspec.Struct, frozen=True):
    """What a door sends; `buffers` are the body, to be sent one after the other."""

    status: int
    headers: Headers
    buffers: tuple[bytes | memoryview, ...]


def json_answer(value: object, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(status, [("Content-Type", JSON), NO_STORE], (encode(value),))


def identify(headers: Headers, origin: Origin) -> None:
    """Add the trace id, and the caller's own request id."""
    headers.append(("X-Trace-Id", origin.trace_id))
    if origin.request_id:
        headers.append(("X-Request-Id", origin.request_id))
