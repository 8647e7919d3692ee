"""OTLP over HTTP: posts a body and judges the answer: accepted, refused for its content, or to be tried again."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import ssl
import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from multidict import CIMultiDict

from predictor import __version__

if TYPE_CHECKING:
    from predictor.config.otel_env import Endpoint

# As much of an answer is read, and repeated: a sink that talks without end must not fill the memory, but its reason may
# stand at the end, behind what a Collector and a library put before it.
_ANSWER = 16 << 10
_RETRY_AFTER = 300.0  # s; a sink that asks for a day's patience is asked again sooner
_PLAIN_BODY = 1 << 20  # aiohttp writes a longer body in pieces, so that the event loop goes on
_LEVEL = 3
"""Of gzip: as fast as 1 here, and records are a tenth shorter; 6 takes twice the time for a fifth less."""
_SECRET = 6  # characters; a shorter value of a header is a word like any other
_PARTIAL = b'{"partialSuccess"'


@dataclass(frozen=True, slots=True)
class Accepted:
    """The sink has all of it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something in it is not wanted, or it is too long: the same bytes would be answered alike."""

    status: int
    words: str  # the sink's own


@dataclass(frozen=True, slots=True)
class Retry:
    """No word about the content: a sink that is gone, slow, busy or elsewhere."""

    reason: str
    status: int | None = None
    after: float = 0.0  # s that the sink asked for
    words: str = field(default="", compare=False)  # the sink's own, for a person


PostOutcome = Accepted | Refused | Retry


class Delivery:
    """Posts bodies to one endpoint over one connection that is kept open."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Read the certificates, which raises OSError (ssl.SSLError is one); connect at the first post."""
        self._endpoint = endpoint
        self._ssl = _tls(endpoint)
        self._session: aiohttp.ClientSession | None = None
        self._headers = CIMultiDict({"User-Agent": f"prediction-log-server/{__version__}"} | dict(endpoint.headers))
        self._headers["Content-Type"] = "application/json"
        if endpoint.gzip:
            self._headers["Content-Encoding"] = "gzip"

    async def post(self, body: bytes) -> PostOutcome:
        """Send one request; never raises for what the network or the sink does."""
        self._session = self._session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=self._ssl or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout),
        )
        if self._endpoint.gzip:  # in a thread, which holds no lock while it works: a line of 1 MB takes 10 ms
            body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
        data = body if len(body) <= _PLAIN_BODY else io.BytesIO(body)
        try:
            async with self._session.post(
                self._endpoint.url,
                data=data,
                headers=self._headers,
                allow_redirects=False,
                proxy=self._endpoint.proxy,
            ) as answer:
                beginning = await _beginning(answer.content)
                times = answer.headers.get("Retry-After"), answer.headers.get("Date")
                return self._masked(outcome(answer.status, beginning, *times))
        except TimeoutError:
            return Retry(f"no answer in {self._endpoint.timeout:g} s{self._endpoint.way}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Retry(_reason(error) + self._endpoint.way)

    def _masked(self, answer: PostOutcome) -> PostOutcome:
        """Take the values of our headers out of what the sink says: `invalid token …` would tell it to the log."""
        if isinstance(answer, Accepted):
            return answer
        words = answer.words
        for value in self._endpoint.headers.values():
            for secret in (value, value.rpartition(" ")[2]):  # also without `Bearer`
                words = words.replace(secret, "…") if len(secret) >= _SECRET else words
        return replace(answer, words=words)

    async def close(self) -> None:
        """Close the connection."""
        if self._session:
            await self._session.close()
            self._session = None


def _tls(endpoint: Endpoint) -> ssl.SSLContext | None:
    """Return whom to trust, and who we are, by an endpoint's certificates; None for aiohttp's own answer."""
    if not endpoint.url.startswith("https:"):
        return None
    try:
        context = ssl.create_default_context(cafile=endpoint.certificate)
        if endpoint.client_certificate:
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key)
    except OSError as error:
        files = (endpoint.certificate, endpoint.client_certificate, endpoint.client_key)
        names = ", ".join(str(file) for file in files if file)
        msg = f"the certificates for {endpoint.shown} cannot be used ({names}): {error.strerror or error}"
        raise OSError(error.errno, msg) from error
    return context


def outcome(status: int, answer: bytes, retry_after: str | None = None, date: str | None = None) -> PostOutcome:
    """Judge an answer by its status and the beginning of its body."""
    match status:
        case 200:
            return _partial(answer)
        case 400 | 413 | 422:
            return Refused(status, _words(answer))
    # Also 401, 403, 404 and redirects: they mean a wrong way, not a wrong record.
    return Retry(_phrase(status), status, _seconds(retry_after, date), _words(answer))


class _PartialSuccess(msgspec.Struct, rename="camel"):
    rejected_log_records: int = 0
    rejected_spans: int = 0
    error_message: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _PartialSuccess | None = None


def _partial(answer: bytes) -> PostOutcome:
    answer = answer.strip()
    if not answer:
        return Accepted()
    try:  # not strict: a 64-bit integer is a string in OTLP JSON, though some write a number
        partial = msgspec.json.decode(answer, type=_Answer, strict=False).partial_success
    except (msgspec.MsgspecError, RecursionError):
        if answer.startswith(_PARTIAL) and len(answer) > _ANSWER - len(_PARTIAL):
            return Refused(200, _words(answer))  # so many words, cut here, are complaints
        return Retry("200 with an answer that is not OTLP", 200)  # a proxy's greeting stores nothing
    if partial and (partial.rejected_log_records > 0 or partial.rejected_spans > 0):
        return Refused(200, partial.error_message)
    return Accepted()  # a warning with nothing rejected is an acceptance


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    answer = b""
    while len(answer) < _ANSWER and (chunk := await content.read(_ANSWER - len(answer))):
        answer += chunk
    return answer


class _Status(msgspec.Struct):
    message: str = ""


def _words(answer: bytes) -> str:
    """Return what a refusal says: the message of an OTLP Status, else the answer as text."""
    try:
        text = msgspec.json.decode(answer, type=_Status).message
    except (msgspec.MsgspecError, RecursionError):
        text = ""
    return text or answer.decode(errors="replace").strip()


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"  # not the sink's own phrase, which could repeat a header
    except ValueError:
        return str(status)


def _seconds(retry_after: str | None, date: str | None) -> float:
    """Return the seconds that a Retry-After header asks for, 0 without one that can be read.

    If it names a time, that is of the sink's clock, as `date` is; ours may be another.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    try:
        now = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        now = time.time()
    wait = until - now
    return min(max(wait, 0.0), _RETRY_AFTER)


def _reason(error: Exception) -> str:
    """Name a failure without quoting the request: some messages hold the URL with its userinfo."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return _phrase(error.status)
        case aiohttp.ClientConnectorCertificateError():
            return f"certificate not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS: {getattr(error.os_error, 'reason', None) or type(error.os_error).__name__}"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno or 0  # its text depends on the event loop and may repeat the address
            return f"cannot connect: {os.strerror(number) if number > 0 else error.os_error.strerror}"
        case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return "connection lost before the whole answer"
    return type(error).__name__
