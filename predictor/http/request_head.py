"""Heads of requests as httptools reads them, those that were not read before (`head_cache.py`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httptools
from multidict import CIMultiDict

from predictor.api.json_body import BodyHead, body_head
from predictor.api.routes import PredictingCalls
from predictor.core.problems import Problem
from predictor.http.head_cache import HeadCache, RequestHead
from predictor.http.limits import FREE_BYTES, MOST_FIELD_BYTES, MOST_HEAD_BYTES, MOST_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from predictor.api.access import Access
    from predictor.api.answers import Headers
    from predictor.api.catalog import Catalog
    from predictor.api.dataplane import Codec
    from predictor.api.routes import Route

_PIECE = 4 << 10
"""Bytes by which a head is measured that begins in the middle of what has come."""
_NO_CONTROL = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), *b"\t\r\n"})
_WHOLE = re.compile(rb"(?:\r\n)*(?:[\t\x20-\x7e\x80-\xff]+\r\n(?![ \t]))+\r\n")
"""A head that is not odd, as `_is_odd` has it, in a quarter of the time."""
_METHODS = rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)"
_FIRST_LINE = re.compile(_METHODS + rb" /[!-~]* HTTP/1\.1")
_BEGUN_LINE = re.compile(rb"[A-Z]{1,7}|" + _METHODS + rb" (?:/[!-~]*(?: [HTP/.1]{0,8}\r?)?)?")
_TARGET = re.compile(rb"/[!-~]*")
_BLANK = b" \t"
_UTF8 = ("utf-8", "surrogateescape")
_UNFRAMED = {b"transfer-encoding", b"upgrade"}
_CHANGES_BODY = {b"content-encoding", b"expect"}


class HeadReader:
    """Reads heads."""

    def __init__(self, routes: Sequence[Route], catalog: Catalog, own: Iterable[str], access: Access) -> None:
        """Take the table of calls, the models, the headers that differ in each request, and who may call."""
        self._access = access
        self._catalog = catalog
        self._calls = PredictingCalls(routes)
        self._cache = HeadCache(own)

    def read(self, head: bytes) -> RequestHead | None:
        """Return a head that ends with its empty line; None if it is not plain, and so aiohttp's to understand."""
        return self._cache.find(head) or self._parse(head)

    def forget(self) -> None:
        """Forget every parsed head: the callers that are allowed, or the meaning of a call, have changed."""
        self._cache.clear()

    def _parse(self, head: bytes) -> RequestHead | None:
        if not _WHOLE.fullmatch(head):
            return None
        parts = _Parts()
        parser = parts.parser = httptools.HttpRequestParser(parts)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        finally:
            parts.parser = None  # no cycle is left for the collector to find
        names = {name.lower() for name, _ in parts.headers}
        plain = (
            parts.kept
            and parser.get_http_version() == "1.1"
            and _TARGET.fullmatch(parts.url)
            and b"host" in names
            and names.isdisjoint(_UNFRAMED)
            and len(names) == len(parts.headers) < MOST_HEADERS
            and len(head) <= MOST_HEAD_BYTES
            and (len(head) < MOST_FIELD_BYTES or max(map(len, head.split(b"\r\n"))) < MOST_FIELD_BYTES)
        )
        if not plain:
            return None
        headers = CIMultiDict(
            [(name.decode(), value.strip(_BLANK).decode(*_UTF8)) for name, value in parts.headers]  # names are ASCII
        )
        declared = headers.get("Content-Length", "0")
        if not (declared.isascii() and declared.isdigit()):
            return None
        method, path, length = parser.get_method().decode(), parts.url.decode(), int(declared)
        body = body_head(headers, length)
        route, codec, served = path, None, None
        if match := self._calls.find(method, path):
            route, served = match.route, self._catalog.find(match.model, match.version)
            codec = served.codecs.get(match.call) if served else None
        answer_headers: Headers = []
        if codec:
            reads = codec.takes_body or length <= FREE_BYTES  # else a large body would be kept for nothing
            takes = reads and names.isdisjoint(_CHANGES_BODY) and _takes(codec, body)
            if takes and self._access.answers_at_once(headers, method):
                answer_headers = self._access.answer_headers(headers)
            else:
                codec = None  # what must be refused, changed, or read piece by piece is aiohttp's
        found = RequestHead(method, path, route, headers, length, body, codec, answer_headers, served)
        self._cache.keep(head, found)
        return found


def _is_odd(head: bytes) -> bool:
    """Tell whether a head has control characters, lone line ends, or lines that go on in the next one."""
    ends = head.count(b"\r\n")
    return bool(
        head.translate(None, _NO_CONTROL)
        or ends != head.count(b"\n")
        or ends != head.count(b"\r")
        or b"\n " in head
        or b"\n\t" in head
    )


def _takes(codec: Codec, body: BodyHead) -> bool:
    try:
        codec.check(body)
    except Problem:
        return False
    return True


class _Parts:
    """What httptools finds in a head."""

    def __init__(self) -> None:
        self.parser: httptools.HttpRequestParser | None = None
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.kept = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        # Here: behind a request without a body the parser speaks of the next one.
        self.kept = self.parser is not None and self.parser.should_keep_alive()


class HeadMeter:
    """Measures the head that is coming, on its way to aiohttp's parser, which bounds headers but not their sum."""

    def __init__(self) -> None:
        """Begin with a connection."""
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = True
        self._ended = False
        self._size = 0
        self.heads = 0
        """How many heads have come whole, on this connection."""
        self.ended = 0
        """How many requests of what was measured last have come whole."""
        self.in_line = True
        """Whether the request line of the head that is coming has not ended."""
        self.lost = False
        """Whether what comes cannot be followed any more: another protocol, or what is no HTTP."""

    def measure(self, data: bytes) -> int:
        """Return how many bytes may be passed on: all, or those before the piece that makes the head too long."""
        at = self.ended = 0
        while at < len(data) and not self.lost:
            piece = data[at : at + _PIECE]
            self._ended = False
            try:
                self._parser.feed_data(piece)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self.lost = True
                break
            self.in_line = (self.in_line or not self._size) and b"\n" not in piece
            self._size = 0 if self._ended or not self._in_head else self._size + len(piece)
            if self._size > MOST_HEAD_BYTES:
                return at
            at += len(piece)
        return len(data)

    def on_headers_complete(self) -> None:
        """Note that a body may come."""
        self.heads += 1
        self._in_head = False

    def on_message_complete(self) -> None:
        """Note that the next head may come."""
        self._in_head = self._ended = True
        self.ended += 1


class _Begun:
    """Counts messages that begin."""

    def __init__(self) -> None:
        self.messages = 0

    def on_message_begin(self) -> None:
        self.messages += 1


def may_become_plain(begun: bytes) -> bool:
    """Tell whether a head that has not come whole may become a plain one."""
    line, end, _ = begun.partition(b"\r\n")
    fits = _FIRST_LINE.fullmatch(line) if end else _BEGUN_LINE.fullmatch(line)
    if fits is None or _is_odd(begun.removesuffix(b"\r")):
        return False
    lines = begun.split(b"\r\n")
    if len(lines) > MOST_HEADERS or max(map(len, lines)) >= MOST_FIELD_BYTES:
        return False
    parts = _Parts()
    try:
        httptools.HttpRequestParser(parts).feed_data(begun)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    # aiohttp refuses some that are there twice, before the head is whole.
    return len({name.lower() for name, _ in parts.headers}) == len(parts.headers)


def more_than_one(data: bytes) -> bool:
    """Tell whether another request begins behind the first one."""
    begun = _Begun()
    try:
        httptools.HttpRequestParser(begun).feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False  # aiohttp ends the connection then
    return begun.messages > 1
