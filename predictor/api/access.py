"""Who may call: the names that this server answers to, web pages from elsewhere, and tokens. Without sockets."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
from functools import lru_cache
from typing import TYPE_CHECKING

from predictor.core.operator_log import Throttle
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from predictor.api.answers import Headers

_logger = logging.getLogger("predictor")
_WORDS = 100
"""Characters of a caller's header that an answer repeats."""
_OWN_SITE = frozenset({"same-origin", "none"})
"""Of Sec-Fetch-Site: a page of this server, or a person (an address that was typed, a bookmark)."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Inference-Header-Content-Length, X-Request-Id, traceparent, tracestate, baggage"
)
_ANSWER_HEADERS = (
    "Inference-Header-Content-Length, Retry-After, WWW-Authenticate, X-Job-Id, X-Prediction-Logged, X-Request-Id, "
    "X-Trace-Id"
)
_PREFLIGHT_SECONDS = "600"


class Tokens:
    """Tokens of which a caller must have one."""

    def __init__(self, tokens: Iterable[str], settings: str) -> None:
        """Take the tokens, and the settings that they come from, for those who have none."""
        self._settings = settings
        self._wrong = 0
        self._throttle = Throttle()
        self.replace(tokens)

    def replace(self, tokens: Iterable[str]) -> None:
        """Take other tokens from now on."""
        self._digests = [_digest(token) for token in tokens]

    def include(self, authorization: str) -> bool:
        """Tell whether the value of a header `Authorization` has one of the tokens.

        The time that it takes depends on no token: digests of one length are compared, and always all of them.
        """
        scheme, _, given = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return False
        digest = _digest(given.strip())
        return sum([hmac.compare_digest(digest, each) for each in self._digests]) > 0

    def check(self, authorization: str) -> None:
        """Refuse a caller without a token, count it, and report the number once a minute; raises Problem."""
        if self.include(authorization):
            return
        self._wrong += 1
        if self._throttle.due():
            _logger.warning("calls refused without a right token so far: %d (%s)", self._wrong, self._settings)
        detail = f"wanted the header `Authorization: Bearer …` with a token of {self._settings}"
        raise Problem(Kind.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"}, recorded=True)


class Access:
    """What a request must have before anything else is looked at; refusals leave no record in the log."""

    def __init__(
        self,
        *,
        local: bool,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
        tokens: Tokens | None = None,
        feedback_tokens: Tokens | None = None,
        control_tokens: Tokens | None = None,
    ) -> None:
        """Take whether none but this machine can reach the server, and what the settings allow besides.

        Without `control_tokens` nobody may load or unload models, unlike the other calls, which anybody may make then.

        `hosts` are names for the header Host, lower case; `origins` are as browsers write them; `*` is any of either.
        """
        self._local = local
        self._hosts = frozenset(hosts)
        self.checks_hosts = (local or bool(hosts)) and "*" not in hosts
        self._origins = frozenset(origins)
        self.tokens = tokens
        self.feedback_tokens = feedback_tokens
        self.control_tokens = control_tokens
        self._host_is_own = lru_cache(256)(self._is_own)

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse a request for another name: a page that points its own name here (DNS rebinding); raises Problem.

        A request without the header (HTTP/1.0) comes from no browser.
        """
        host = headers.get("Host")
        if self.checks_hosts and host is not None and not self._host_is_own(host):
            detail = f"this server does not answer as {host[:_WORDS]!r}; PREDICTOR_ALLOWED_HOSTS names more names"
            raise Problem(Kind.MISDIRECTED_REQUEST, detail, recorded=True)

    def check_page(self, headers: Mapping[str, str], method: str) -> None:
        """Refuse a call that logs if a web page from elsewhere makes it; raises Problem.

        What comes from no browser passes. A browser's POST must have a Content-Type: without it, it would need no
        preflight, and so no permission.
        """
        if "Origin" not in headers and "Sec-Fetch-Site" not in headers and "Sec-Fetch-Mode" not in headers:
            return  # written out: a loop would cost every request that is parsed a microsecond
        if not self._allows_page(headers):
            detail = "a web page from elsewhere may not make this call; PREDICTOR_CORS_ORIGINS names those that may"
            raise Problem(Kind.FORBIDDEN, detail, recorded=True)
        if method == "POST" and not headers.get("Content-Type"):
            detail = "a browser must declare what it sends: wanted Content-Type: application/json"
            raise Problem(Kind.UNSUPPORTED_MEDIA_TYPE, detail, recorded=True)

    def check_caller(self, headers: Mapping[str, str], method: str, tokens: Tokens | None) -> None:
        """Refuse a call that logs, by the head of its request: a page from elsewhere, no token; raises Problem."""
        self.check_page(headers, method)
        if tokens:
            tokens.check(headers.get("Authorization", ""))

    def check_control(self, headers: Mapping[str, str], method: str) -> None:
        """Refuse a call that changes what is served, unless there are tokens for it and it has one; raises Problem."""
        if self.control_tokens is None:
            detail = "nobody may load or unload models here: PREDICTOR_CONTROL_TOKEN_FILE is not set"
            raise Problem(Kind.FORBIDDEN, detail, recorded=True)
        self.check_caller(headers, method, self.control_tokens)

    def answers_at_once(self, headers: Mapping[str, str], method: str) -> bool:
        """Tell whether a call to predict passes every check; nothing is counted."""
        try:
            self.check_host(headers)
            self.check_page(headers, method)
        except Problem:
            return False
        return self.tokens is None or self.tokens.include(headers.get("Authorization", ""))

    def answer_headers(self, headers: Mapping[str, str]) -> Headers:
        """Return what an answer says to a browser, as long as PREDICTOR_CORS_ORIGINS names anybody."""
        if not self._origins:
            return []
        origin = headers.get("Origin")
        said: Headers = [("Vary", "Origin")]
        if origin is not None and self._names(origin):
            said += [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _ANSWER_HEADERS)]
        return said

    def preflight(self, headers: Mapping[str, str], methods: Iterable[str]) -> Headers | None:
        """Return the answer to a browser that asks what a page may send; None if it does not ask, or may nothing."""
        origin = headers.get("Origin")
        if origin is None or "Access-Control-Request-Method" not in headers or not self._names(origin):
            return None
        said = [
            ("Access-Control-Allow-Methods", ", ".join(sorted(methods))),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        ]
        if headers.get("Access-Control-Request-Private-Network") == "true":  # Chromium, of a server on this machine
            said.append(("Access-Control-Allow-Private-Network", "true"))
        return said

    def _allows_page(self, headers: Mapping[str, str]) -> bool:
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if origin is not None and self._names(origin):
            return True
        if site is not None:  # to addresses that are not trustworthy, browsers do not send it
            return site in _OWN_SITE
        return origin is None or _is_at(origin, headers.get("Host", ""))

    def _names(self, origin: str) -> bool:
        return origin.lower() in self._origins or "*" in self._origins

    def _is_own(self, host: str) -> bool:
        name = name_of(host).lower()
        if is_loopback(name) or name in self._hosts:
            return True
        return not self._local and _is_address(name)  # a probe asks by address, and no name leads to that


def is_loopback(name: str) -> bool:
    """Tell whether a host name or address is this machine and no other."""
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def name_of(host: str) -> str:
    """Return the name in a header `Host`: without the port, without an IPv6 address's brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_at(origin: str, host: str) -> bool:
    """Tell whether an origin is at the host that was asked; behind a proxy that ends TLS the schemes differ."""
    scheme, _, place = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    return bool(place) and place.removesuffix(port) == host.lower().removesuffix(port)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
