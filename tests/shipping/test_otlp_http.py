"""What one POST came to, judged over real HTTP."""

from __future__ import annotations

import asyncio
import ssl
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from predictor.config.otel_env import Endpoint
from predictor.shipping.otlp_http import Accepted, Delivery, PostOutcome, Refused, Retry, outcome
from tests.support.certificates import make_certificates
from tests.support.scripted_sink import OK, Answer, Sink, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = b'{"resourceLogs":[]}'


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """Run a sink."""
    async with serve() as running:
        yield running


async def post(endpoint: Endpoint, body: bytes = BODY) -> PostOutcome:
    """Post once and close."""
    delivery = Delivery(endpoint)
    try:
        return await delivery.post(body)
    finally:
        await delivery.close()


def partial(**fields: object) -> bytes:
    """Return the answer of a partial success."""
    return b'{"partialSuccess":{%b}}' % ",".join(f'"{key}":{value}' for key, value in fields.items()).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"partialSuccess":{}}', b'{"partialSuccess":null}', partial(rejectedLogRecords='"0"'),
     partial(rejectedLogRecords=0, errorMessage='"mind the time zone"')],
)  # fmt: skip
async def test_accepted(sink: Sink, body: bytes) -> None:
    """A 200 that rejects nothing is an acceptance, whatever else it says."""
    sink.answers(Answer(200, body))
    assert await post(Endpoint(sink.url + "/v1/logs")) == Accepted()


@pytest.mark.parametrize("field", ["rejectedLogRecords", "rejectedSpans"])
@pytest.mark.parametrize("value", ['"2"', 2])
async def test_partial_success(sink: Sink, field: str, value: object) -> None:
    """A 200 that rejects something is a refusal, with the sink's words, the number written either way."""
    sink.answers(Answer(200, partial(**{field: value, "errorMessage": '"too old"'})))
    assert await post(Endpoint(sink.url)) == Refused(200, "too old")


async def test_partial_success_without_end(sink: Sink) -> None:
    """A complaint longer than what is read of an answer is still a refusal, and what was read of it is kept."""
    sink.answers(Answer(200, partial(rejectedLogRecords='"1"', errorMessage='"' + "x" * 100_000 + '"')))
    answer = await post(Endpoint(sink.url))
    assert isinstance(answer, Refused)
    assert len(answer.words) == 16 << 10


@pytest.mark.parametrize(
    "body", [b"<html>Welcome to nginx!</html>", b"[]", b'{"partialSuccess":{"rejectedSpans":"?"}}']
)
async def test_200_of_a_stranger(sink: Sink, body: bytes) -> None:
    """A 200 that is not an OTLP answer has stored nothing: it is a wrong way, not an acceptance."""
    sink.answers(Answer(200, body))
    assert await post(Endpoint(sink.url)) == Retry("200 with an answer that is not OTLP", 200)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_refused(sink: Sink, status: int) -> None:
    """400, 413 and 422 speak of the content; the words are those of the Status message."""
    sink.answers(Answer(status, b'{"code":3,"message":"entry too far behind"}'))
    assert await post(Endpoint(sink.url)) == Refused(status, "entry too far behind")


async def test_refused_in_other_words(sink: Sink) -> None:
    """Words that are not a Status are taken as they are, to their end."""
    sink.answers(Answer(400, b"\xff" + b"y" * 500))
    assert await post(Endpoint(sink.url)) == Refused(400, "\ufffd" + "y" * 500)


@pytest.mark.parametrize("status", [400, 401])
async def test_words_without_secrets(sink: Sink, status: int) -> None:
    """A sink's words are kept whatever its status is, but for the values of headers that it repeats."""
    sink.answers(Answer(status, b"no tenant ops has the token zq91zq92zq93 (Bearer zq91zq92zq93)"))
    answer = await post(Endpoint(sink.url, {"Authorization": "Bearer zq91zq92zq93", "X-Scope-OrgID": "ops"}))
    assert isinstance(answer, Refused | Retry)
    assert answer.words == "no tenant ops has the token … (…)"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(201, "201 Created"), (301, "301 Moved Permanently"), (401, "401 Unauthorized"), (403, "403 Forbidden"),
     (404, "404 Not Found"), (429, "429 Too Many Requests"), (500, "500 Internal Server Error"),
     (503, "503 Service Unavailable"), (599, "599")],
)  # fmt: skip
async def test_everything_else_is_tried_again(sink: Sink, status: int, reason: str) -> None:
    """Any other status says nothing about the record; redirects are not followed, the status is named."""
    sink.answers(Answer(status, b"secret", {"Location": sink.url + "/elsewhere"}))
    assert await post(Endpoint(sink.url)) == Retry(reason, status)
    assert len(sink.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("7", 7), (" 7 ", 7), ("86400", 300), ("9" * 400, 300), ("-1", 0), ("soon", 0), ("²", 0), ("1.5", 0)],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    """Retry-After is honoured up to five minutes, and nonsense in it is no reason to fail."""
    assert outcome(503, b"", header) == Retry("503 Service Unavailable", 503, seconds)


@pytest.mark.parametrize(("ahead", "low", "high"), [(100, 90, 100), (-100, 0, 0), (10_000, 300, 300)])
def test_retry_after_date(ahead: int, low: float, high: float) -> None:
    """Retry-After may be a date."""
    answer = outcome(429, b"", formatdate(time.time() + ahead, usegmt=True))
    assert isinstance(answer, Retry)
    assert low <= answer.after <= high


async def test_retry_after_date_is_of_the_sinks_clock(sink: Sink) -> None:
    """A time that a sink names is counted from its own answer's time, whatever our clock says."""
    long_ago = time.time() - 8 * 86400
    headers = {"Retry-After": formatdate(long_ago + 60, usegmt=True), "Date": formatdate(long_ago, usegmt=True)}
    sink.answers(Answer(503, headers=headers))
    answer = await post(Endpoint(sink.url))
    assert isinstance(answer, Retry)
    assert answer.after == 60
    assert outcome(503, b"", headers["Retry-After"], "soon") == Retry("503 Service Unavailable", 503, 0)


async def test_lost_connections(sink: Sink) -> None:
    """A reset, and an answer that ends halfway, acknowledge nothing."""
    sink.answers(Answer(reset=True), Answer(half=True))
    lost = Retry("connection lost before the whole answer")
    assert await post(Endpoint(sink.url)) == lost
    assert await post(Endpoint(sink.url)) == lost


async def test_too_slow(sink: Sink) -> None:
    """A sink that does not answer within the endpoint's time-out is tried again."""
    sink.answers(Answer(silent=True))
    assert await post(Endpoint(sink.url, timeout=0.2)) == Retry("no answer in 0.2 s")


async def test_nobody_there() -> None:
    """A refused connection is tried again, and the reason names it."""
    async with serve() as gone:
        url = gone.url
    assert await post(Endpoint(url)) == Retry("cannot connect: Connection refused")


async def test_no_tls(sink: Sink) -> None:
    """An `https` address where plain HTTP is spoken is named as such."""
    answer = await post(Endpoint(sink.url.replace("http:", "https:")))
    assert isinstance(answer, Retry)
    assert answer.reason.startswith("no TLS: ")


async def test_request(sink: Sink) -> None:
    """The body arrives as it is at the very path, as JSON, with the endpoint's headers; a long one too."""
    endpoint = Endpoint(sink.url + "/otlp/v1/logs", {"Authorization": "Bearer t", "content-type": "text/plain"})
    body = b'{"resourceLogs":[' + b" " * (3 << 20) + b"]}"
    assert await post(endpoint, body) == Accepted()
    (request,) = sink.requests
    assert request.path == "/otlp/v1/logs"
    assert request.body == body
    assert request.headers["Authorization"] == "Bearer t"
    assert [value for name, value in request.headers.items() if name.lower() == "content-type"] == ["application/json"]
    assert request.headers["User-Agent"].startswith("prediction-log-server/")


async def test_gzip(sink: Sink) -> None:
    """A compressed body says so, is shorter on the way, and is the same at the sink; a long one too."""
    for body in (BODY, b'{"resourceLogs":[' + b" " * (3 << 20) + b"]}"):
        sink.requests.clear()
        assert await post(Endpoint(sink.url, gzip=True), body) == Accepted()
        (request,) = sink.requests
        assert request.headers["Content-Encoding"] == "gzip"
        assert request.body == body
        assert len(body) < 100 or int(request.headers["Content-Length"]) < len(body) / 100


async def test_proxy(sink: Sink) -> None:
    """With a proxy the request goes there, with the whole URL and the proxy's own authorization."""
    proxy = sink.url.replace("http://", "http://user:word@")
    answer = await post(Endpoint("http://otel.invalid:4318/v1/logs", {"x-token": "t"}, proxy=proxy))
    assert answer == Accepted()
    (request,) = sink.requests
    assert request.headers["Host"] == "otel.invalid:4318"
    assert request.headers["Proxy-Authorization"] == "Basic dXNlcjp3b3Jk"
    assert request.headers["x-token"] == "t"


@pytest.mark.parametrize("url", ["http://otel.invalid/v1/logs", "https://otel.invalid/v1/logs"])
async def test_proxy_that_is_not_there(url: str) -> None:
    """A proxy that does not answer is named as the way, without its password."""
    answer = await post(Endpoint(url, proxy="http://user:word@127.0.0.1:1"))
    assert answer == Retry("cannot connect: Connection refused by the proxy http://127.0.0.1:1")


async def test_proxy_that_refuses() -> None:
    """What a proxy answers to CONNECT is a reason by its status."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readline()).startswith(b"CONNECT otel.invalid:443 ")
        writer.write(b"HTTP/1.1 407 secret\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        answer = await post(Endpoint("https://otel.invalid/v1/logs", proxy=url.replace("//", "//user:word@")))
    assert answer == Retry(f"407 Proxy Authentication Required by the proxy {url}")


async def test_connection_is_kept(sink: Sink) -> None:
    """One connection carries all requests, and only the proxy that the settings name is asked."""
    delivery = Delivery(Endpoint(sink.url))
    for _ in range(3):
        assert await delivery.post(BODY) == Accepted()
    assert delivery._session is not None
    connector = delivery._session.connector
    assert connector is not None
    assert sum(len(kept) for kept in connector._conns.values()) == 1
    assert delivery._session.trust_env is False
    await delivery.close()


async def test_closed_delivery_connects_again(sink: Sink) -> None:
    """After closing, a post opens a new connection."""
    delivery = Delivery(Endpoint(sink.url))
    await delivery.close()
    assert await delivery.post(BODY) == Accepted()
    await delivery.close()
    assert await delivery.post(BODY) == Accepted()
    await delivery.close()


def test_nothing_secret_is_shown() -> None:
    """What is printed of an endpoint holds no userinfo, no query and no header."""
    endpoint = Endpoint("https://user:word@sink.example:4318/v1/logs?key=word#word", {"Authorization": "word"})
    assert endpoint.shown == "https://sink.example:4318/v1/logs"
    assert "word" not in endpoint.shown
    assert "Authorization" not in repr(endpoint)


async def test_unusable_header_is_a_reason_not_a_crash(sink: Sink) -> None:
    """A header that cannot be sent ends in a reason without its value."""
    answer = await post(Endpoint(sink.url, {"X-Token": "secret\r\nX-Other: 1"}))
    assert answer == Retry("ValueError")


async def test_trust(tmp_path: Path) -> None:
    """A sink whose certificate the given CA signed is trusted; with another CA nothing is sent to it."""
    await asyncio.to_thread(make_certificates, tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with serve(context=context) as sink:
        assert await post(Endpoint(sink.url, certificate=tmp_path / "ca.pem")) == Accepted()
        for wrong in (tmp_path / "other.pem", None):
            answer = await post(Endpoint(sink.url, certificate=wrong))
            assert isinstance(answer, Retry)
            assert answer.reason.startswith("certificate not trusted: ")
        assert len(sink.requests) == 1
        assert sink.script(sink.requests[0]) == OK
