"""`predictor healthcheck`: asks the server that these settings start whether it lives, where it listens."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

from predictor.core.operator_log import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.config.settings import Settings

_TIMEOUT = 2.0
"""Seconds for each address."""
_UNIX = "unix:"
_WHERE = {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}  # noqa: S104 - asked, not listened on


def healthcheck(settings: Settings) -> int:
    """Return 0 if `GET /livez` is answered 200 at one of the places of PREDICTOR_HOST, else 1 and a line on stderr."""
    reason = "PREDICTOR_PORT is 0, so where the server listens is not known"
    for connection in _connections(settings):
        try:
            connection.request("GET", "/livez", headers={"Host": "localhost"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            reason = f"{connection.host}: {error}"
        else:
            if status == http.client.OK:
                return 0
            reason = f"{connection.host}: GET /livez is answered {status}"
        finally:
            connection.close()
    show(f"predictor: {reason}")
    return 1


def _connections(settings: Settings) -> Iterator[http.client.HTTPConnection]:
    for host in settings.hosts:
        if host.startswith(_UNIX):
            yield _UnixConnection(host)
        elif settings.port:
            for address in _WHERE.get(host, (host,)):
                if settings.tls_certificate:
                    yield http.client.HTTPSConnection(address, settings.port, timeout=_TIMEOUT, context=_tls())
                else:
                    yield http.client.HTTPConnection(address, settings.port, timeout=_TIMEOUT)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, place: str) -> None:
        super().__init__(place, 80, timeout=_TIMEOUT)
        self._path = place.removeprefix(_UNIX)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


def _tls() -> ssl.SSLContext:
    """Return a context that takes any certificate: it is asked for life, under an address that is not its name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
