"""What aiohttp's parser lets through and aiohttp fails on: another request stands in for it, with what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from predictor.core.problems import Kind, Problem
from predictor.http.limits import MOST_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


class Fault(NamedTuple):
    """What is wrong with a request that aiohttp's parser lets through."""

    detail: str
    ends: bool
    """Whether the connection ends with the answer."""
    kind: Kind = Kind.BAD_REQUEST


FAULT = web.RequestKey("fault", Fault)
"""Of a request that stands for one which aiohttp would fail on: what was wrong with that."""


def checked(factory: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Return a factory of requests that replaces what aiohttp's parser lets through and aiohttp then fails on."""

    def make(message: RawRequestMessage, *more: Any) -> web.BaseRequest:  # noqa: ANN401 - aiohttp's own
        fault = _fault(message)
        if fault is None:
            return factory(message, *more)
        request = factory(_stand_in(message, ends=fault.ends), *more)
        request[FAULT] = fault
        return request

    return make


def not_http(reason: str) -> str:
    """Return the detail of a problem with what is no HTTP/1.1."""
    return f"this is not HTTP/1.1 as this server accepts it: {reason}"


def _fault(message: RawRequestMessage) -> Fault | None:
    if message.version.major != 1:  # the answer would repeat it
        return Fault(not_http(f"its version is HTTP/{message.version.major}.{message.version.minor}"), ends=True)
    if _size(message) > MOST_HEAD_BYTES:
        return Fault(head_too_large().detail, ends=True, kind=Kind.HEADERS_TOO_LARGE)
    if not message.headers.get("Transfer-Encoding", "chunked").strip(" \t"):  # others refuse it, or see another body
        return Fault(not_http("Transfer-Encoding is empty"), ends=True)
    return _unexpected(message) or _no_host(message)


def _unexpected(message: RawRequestMessage) -> Fault | None:
    expected = message.headers.get("Expect")
    if expected is not None and not expected.isascii():  # the refusal could not be encoded
        return Fault(not_http("Expect is not ASCII"), ends=True)
    if expected is not None and message.version == HttpVersion11 and expected.lower() != "100-continue":
        return Fault(f"Unknown Expect: {expected}", ends=False)  # aiohttp's answer would be no problem details
    return None


def _no_host(message: RawRequestMessage) -> Fault | None:
    if message.url.absolute:  # the connection's task would die of it
        try:
            _ = message.url.host
        except ValueError:
            return Fault(not_http("its host is not a name"), ends=True)
    return None


def head_too_large() -> Problem:
    """Return the problem of a head that is too long."""
    return Problem(Kind.HEADERS_TOO_LARGE, f"request line and headers have more than {MOST_HEAD_BYTES} bytes")


def _size(message: RawRequestMessage) -> int:
    """Return the bytes of a head as it is ordinarily written."""
    line = len(message.method) + len(message.path) + len("  HTTP/1.1\r\n\r\n")
    return line + sum([len(name) + len(value) + 4 for name, value in message.raw_headers])


def _stand_in(message: RawRequestMessage, *, ends: bool) -> RawRequestMessage:
    return RawRequestMessage(
        method=message.method,
        path="/",
        version=HttpVersion11,
        headers=CIMultiDictProxy(CIMultiDict({"Host": ""})),
        raw_headers=(),
        should_close=ends or message.should_close,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL("/"),
    )
