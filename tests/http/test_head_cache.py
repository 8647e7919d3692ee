"""The cache of heads: what is read once, and that a head from the cache means what it means by itself."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

from predictor.api.access import Access
from predictor.api.routes import Predict, Route
from predictor.http import head_cache
from predictor.http.request_head import HeadReader
from tests.support.server import message

if TYPE_CHECKING:
    from predictor.http.head_cache import RequestHead

_OWN = ("traceparent", "tracestate", "x-custom-trace")


class _Codec:
    takes_body = True

    def check(self, _: object) -> None:
        """Take everything."""


class _Served:
    codecs: ClassVar = {("POST", "/predict"): _Codec()}


class _OneModel:
    def find(self, *_: object) -> _Served:
        """Return the only one."""
        return _SERVED


_SERVED = _Served()


def _reader() -> HeadReader:
    routes = [Route("POST", "/predict", Predict(("POST", "/predict")))]
    models: Any = _OneModel()
    return HeadReader(routes, models, _OWN, Access(local=False))


def _head(**headers: str | None) -> bytes:
    return message("POST", "/predict", b"", **{"Content_Type": "application/json"} | headers)


def _parses(reader: HeadReader, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the list of all heads that the reader parses from now on."""
    parsed: list[bytes] = []
    parse = reader._parse

    def noting(head: bytes) -> RequestHead | None:
        parsed.append(head)
        return parse(head)

    monkeypatch.setattr(reader, "_parse", noting)
    return parsed


def test_a_head_that_comes_again_is_not_parsed_again() -> None:
    """Identical bytes are read once."""
    reader = _reader()
    first = reader.read(_head())
    assert first
    assert reader.read(_head()) is first
    assert (first.method, first.path, first.length, first.headers["host"]) == ("POST", "/predict", 0, "test")


@pytest.mark.parametrize(
    "own",
    [
        ["traceparent"],
        ["Traceparent"],
        ["X-Request-Id"],
        ["traceparent", "tracestate"],
        ["tracestate", "x-request-id", "traceparent"],
    ],
    ids="+".join,
)
def test_heads_that_differ_in_their_trace_only_are_parsed_once(own: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace or a request id of its own does not make another head, and each is handed on as it came."""
    reader = _reader()
    parsed = _parses(reader, monkeypatch)
    for number in range(20):
        found = reader.read(_head(**{name.replace("-", "_"): f"{number}-{name}" for name in own}))
        assert found
        assert [found.headers[name] for name in own] == [f"{number}-{name}" for name in own]
        assert found.served is reader._catalog.find("", "")
    assert len(parsed) == 1


@pytest.mark.parametrize("value", ["", "a b", "a\tb", "é", "x" * 3000], ids=["empty", "blank", "tab", "letter", "long"])
def test_an_unusual_trace_is_read_by_itself(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no plain word in such a header is parsed each time, and keeps no place in the cache."""
    reader = _reader()
    parsed = _parses(reader, monkeypatch)
    for _ in range(3):
        found = reader.read(_head(traceparent=value))
        assert found
        assert found.headers["traceparent"] == value
    assert len(parsed) == 3
    assert not reader._cache._kept


def test_a_header_that_is_not_known_to_decide_nothing_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which header a propagator reads is the operator's choice; of an unknown one no head is kept."""
    reader = _reader()
    parsed = _parses(reader, monkeypatch)
    for number in range(3):
        found = reader.read(_head(x_custom_trace=str(number)))
        assert found
        assert found.headers["x-custom-trace"] == str(number)
    assert len(parsed) == 3


def test_a_head_from_the_cache_means_what_it_means_by_itself() -> None:
    """Whatever heads came before, of traces, ids, odd bytes and repeated lines: each is read as by a new reader."""
    lines = [
        *(b"traceparent: %d" % number for number in range(2)),
        *(b"tracestate: a", b"Tracestate: b", b"X-Request-Id: 1", b"x-request-id: 2"),
        *(b"traceparent: ", b"traceparent:1", b"tracestate: a b", b"traceparent: \0", b"X-Request-Id: \r"),
        *(b"X: traceparent: 1", b"X: 1", b" traceparent: 1", b"Content-Length: 0", b"Content-Length: 1"),
        *(b"Content-Type: text/plain", b"Content-Encoding: gzip", b"Connection: close", b"Host: a"),
    ]
    pairs = [*itertools.product(lines, repeat=2), *((line,) for line in lines), ()]
    heads = [b"\r\n".join((b"POST /predict HTTP/1.1", b"Host: test", *pair, b"", b"")) for pair in pairs]
    draw = random.Random(1)
    warm = _reader()
    for head in draw.sample(heads * 2, len(heads) * 2):
        cold = _reader().read(head)
        found = warm.read(head)
        assert _content(found) == _content(cold), head
    assert warm._cache._kept


def _content(head: RequestHead | None) -> object:
    return head and msgspec.structs.asdict(head) | {"headers": list(head.headers.items())}


def test_the_cache_of_heads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different heads come, those in memory have a bounded number of bytes; the newest are there."""
    monkeypatch.setattr(head_cache, "_MOST_CACHED", 2000)
    reader = _reader()
    for number in range(1000):
        reader.read(_head(User_Agent=f"agent/{number}"))
        reader.read(_head(User_Agent=f"agent/{number}", traceparent="1"))
    cache = reader._cache
    assert sum(map(head_cache._size, cache._kept)) == cache._size <= 2000
    assert cache._kept
    newest = reader.read(_head(User_Agent="agent/999"))
    assert reader.read(_head(User_Agent="agent/999")) is newest
    long = reader.read(_head(X_Long="x" * 3000))
    assert long
    assert reader.read(_head(X_Long="x" * 3000)) is not long


def test_nothing_is_known_once_all_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may call, or what a call means, may change: every head is read anew then."""
    reader = _reader()
    for _ in range(2):
        reader.read(_head(traceparent="1"))
        reader.read(_head())
    reader.forget()
    parsed = _parses(reader, monkeypatch)
    reader.read(_head(traceparent="2"))
    reader.read(_head())
    assert len(parsed) == 2
