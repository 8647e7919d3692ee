"""URLs from the environment: what can be used, what may be shown of one, and the proxy on the way to it.

A URL may hold a password, and where it does not parse nobody can say where: then no part of it is printed.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?")
_PORTS = {"http": 80, "https": 443}


def usable(url: str) -> bool:
    """Tell whether this is a URL of http or https that means one place only.

    An `@` behind the host is refused, since then a `/`, `?` or `#` inside of a password looks like the host's end.
    """
    if not (url.isprintable() and not re.search(r"\s", url)):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except (ValueError, UnicodeError):
        return False
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or port == 0 or parts.fragment:
        return False
    return "@" not in parts.path + parts.query and "#" not in url


def shown(url: str) -> str:
    """Return a usable URL without what may be secret: userinfo and query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def quoted(value: str) -> str:
    """Return a bad value as a message may show it: what may be a URL is not shown, since a password may be in it."""
    return "not shown, since a password may be in it" if hides(value) else repr(value)


def hides(value: str) -> bool:
    """Tell whether a value may have a password in it: a URL, or what stands before an @."""
    return "://" in value or "@" in value


def has_userinfo(url: str) -> bool:
    """Tell whether a usable URL has a name or a password before its host."""
    return "@" in urlsplit(url).netloc


def proxy(environ: Mapping[str, str], url: str) -> str | None:
    """Return the proxy on the way to a usable URL, by the customary variables, or None.

    `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`, unless `NO_PROXY` names the host; in lower
    case they go first. This machine itself is never asked for by a proxy. Raises ValueError with a sentence that names
    the variable and shows nothing of its value, which may hold a password.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable, found = _either(environ, name)
        if found:
            break
    if not found or _loopback(host) or _excepted(host, port, _either(environ, "no_proxy")[1]):
        return None
    found = found if "://" in found else f"http://{found}"
    if not usable(found):
        msg = f"{variable} is not shown, wanted a proxy's http:// or https:// URL such as http://127.0.0.1:3128"
        raise ValueError(msg)
    return found


def _either(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    for variable in (name, name.upper()):
        if found := environ.get(variable, "").strip():
            return variable, found
    return name.upper(), ""


def _loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _excepted(host: str, port: int, exceptions: str) -> bool:
    """Tell whether `NO_PROXY` names a host: `*`, a name or a domain with all below, an address, a network."""
    address = _address(host)
    for entry in filter(None, (each.strip().lower() for each in exceptions.split(","))):
        if entry == "*":
            return True
        name, colon, number = entry.rpartition(":")
        if colon and number.isdigit() and ":" not in name:
            if int(number) != port:
                continue
            entry = name  # noqa: PLW2901 - the same entry, without the port that has been compared
        if address is None:
            domain = entry.removeprefix("*").removeprefix(".")
            if host == domain or host.endswith(f".{domain}"):
                return True
        else:
            try:
                if address in ipaddress.ip_network(entry.strip("[]"), strict=False):
                    return True
            except ValueError:
                continue
    return False
