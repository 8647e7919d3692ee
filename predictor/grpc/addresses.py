"""Where gRPC listens: literal addresses, each of which is free as HTTP's listener wants it.

gRPC alone is content with any one of a name's addresses, opens `0.0.0.0` for IPv6 too, and `::` for IPv4 alone where
IPv6 is taken.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ANY4, _ANY6 = "0.0.0.0", "::"  # noqa: S104 - to know it where it is asked for
_TRIES, _PAUSE = 50, 0.02
"""How often, and seconds after which, a port is asked for that another of several processes holds for a moment."""


class Address(NamedTuple):
    """A literal address."""

    family: socket.AddressFamily
    host: str
    scope: int = 0
    """The interface of a link-local one."""

    def at(self, port: int) -> str:
        """Return it with a port, as gRPC reads it."""
        if self.family is socket.AF_INET:
            return f"{self.host}:{port}"
        return f"[{self.host}{f'%25{self.scope}' if self.scope else ''}]:{port}"

    def free_port(self, port: int, *, shared: bool) -> int:
        """Return a port if it can be listened at, for 0 any one that can; raises OSError as HTTP's listener does.

        One that is `shared` may be another process's too.
        """
        with socket.socket(self.family) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if self.family is socket.AF_INET:
                asked.bind((self.host, port))
            else:
                asked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self.host != _ANY6))
                asked.bind((self.host, port, 0, self.scope))
            found: int = asked.getsockname()[1]
            return found

    @contextlib.contextmanager
    def alone(self, port: int, *, shared: bool) -> Iterator[None]:
        """Have gRPC open no more than this address at a port: of two families it takes what it gets."""
        with contextlib.ExitStack() as held:
            if self.host == _ANY4:
                _hold_ipv6(held, port, _TRIES if shared else 1)
            yield


def addresses_of(host: str) -> list[Address]:
    """Return the addresses of a name, or of an address itself; raises OSError, or UnicodeError for what is no name."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [*dict.fromkeys(Address(family, *_host_and_scope(address)) for family, _, _, _, address in found)]


def _host_and_scope(address: Sequence[str | int | bytes]) -> tuple[str, int]:
    """Return what is of interest of a socket's address: of IPv6 it has four parts, the last one is the scope."""
    return str(address[0]).partition("%")[0], int(address[3]) if len(address) > 3 else 0  # noqa: PLR2004


def _hold_ipv6(held: contextlib.ExitStack, port: int, tries: int) -> None:
    """Listen at a port for IPv6; where that cannot be had, gRPC will not have it either."""
    for attempt in range(tries):
        if attempt:
            time.sleep(_PAUSE)
        with contextlib.suppress(OSError):
            holder = held.enter_context(socket.socket(socket.AF_INET6))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            holder.bind((_ANY6, port))
            holder.listen()
            return
