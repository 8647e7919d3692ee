"""Requests that aiohttp's parser lets through, and that aiohttp then fails on or answers wrongly."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

if TYPE_CHECKING:
    from collections import deque

    from aiohttp.streams import StreamReader


def vet(messages: deque[tuple[RawRequestMessage | _ErrInfo, StreamReader]]) -> None:
    """Put the parser's own form of an error, which becomes a 400, in the place of such requests."""
    for index, (message, _) in enumerate(messages):
        if isinstance(message, RawRequestMessage) and (reason := _fault(message)):
            messages[index] = _ErrInfo(HTTPStatus.BAD_REQUEST, ValueError(reason), reason), EMPTY_PAYLOAD


def _fault(message: RawRequestMessage) -> str | None:
    if message.version.major != 1:  # the answer would repeat it
        return f"its version is HTTP/{message.version.major}.{message.version.minor}"
    if not message.headers.get("Expect", "").isascii():  # the refusal could not be encoded
        return "Expect is not ASCII"
    if message.url.absolute:  # the connection's task would die of it
        try:
            _ = message.url.host
        except ValueError:
            return "its host is no name"
    return None
