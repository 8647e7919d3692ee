"""Parsers of setting values: each returns the value or raises ValueError that says what was wanted."""

from __future__ import annotations

import math
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.core import extras

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")
_MAX_PORT = 65535
_NAME = re.compile(r"[a-z0-9._-]+|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*")
_LISTENING = re.compile(r"(?!unix:)[^\s/@\[\]]+")
"""No URL: an address or a name, which the resolver judges."""
_VERSION = re.compile(r"([a-z][a-z0-9_-]*)@(.+)")
"""Of a model, as records name it; a version is any text."""
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(?:/[A-Za-z0-9._~/-]*)?", re.IGNORECASE)
"""Without credentials, query and fragment: they would be shown to everybody, or stand in the way of a path."""


def text(given: str) -> str:
    """Take any text."""
    return given


def folder(given: str) -> Path:
    """Take a path, `~` allowed."""
    return _path(given)


def optional_file(given: str) -> Path | None:
    """Take a path, `~` allowed, or nothing."""
    return _path(given) if given else None


def optional_url(given: str) -> str:
    """Take a URL of http or https that can be a link, or nothing."""
    if given and not _URL.fullmatch(given):
        msg = "a URL such as https://grafana.example or http://127.0.0.1:3000/grafana"
        raise ValueError(msg)
    return given


def listening(given: str) -> str:
    """Take addresses, names and Unix sockets to listen on, with commas between."""
    parts = [part.strip() for part in given.split(",")]
    if not all(part.startswith("unix:/") or _LISTENING.fullmatch(part) for part in parts):
        msg = "addresses such as 127.0.0.1, :: or unix:/run/predictor.sock, with commas between"
        raise ValueError(msg)
    return given


def host_names(given: str) -> tuple[str, ...]:
    """Take names as they stand in a header Host, without a port, with commas between; `*` is any."""
    names = tuple(part.strip().lower() for part in given.split(",")) if given else ()
    if not all(name == "*" or _NAME.fullmatch(name) for name in names):
        msg = "names such as predictor.example, without a port, with commas between"
        raise ValueError(msg)
    return names


def origins(given: str) -> tuple[str, ...]:
    """Take origins as browsers write them, with commas between; `*` is any."""
    found = tuple(part.strip().lower() for part in given.split(",")) if given else ()
    if not all(each == "*" or _ORIGIN.fullmatch(each) for each in found):
        msg = "origins such as https://app.example or http://localhost:3000, without a path, with commas between"
        raise ValueError(msg)
    return tuple(each.removesuffix(_DEFAULT_PORTS.get(each.partition(":")[0], "\0")) for each in found)


def named_versions(given: str) -> tuple[tuple[str, str], ...]:
    """Take models with one version of each, as records name them, with commas between."""
    found: dict[str, str] = {}
    for part in given.split(",") if given else ():
        match = _VERSION.fullmatch(part.strip())
        if match is None:
            msg = "versions such as wine@1, with commas between"
            raise ValueError(msg)
        if match[1] in found:
            msg = f"one version of each model, and {match[1]} has two"
            raise ValueError(msg)
        found[match[1]] = match[2]
    return tuple(found.items())


def port(given: str) -> int:
    """Take a TCP port, 0 for a free one."""
    if not (given.isascii() and given.isdigit() and int(given) <= _MAX_PORT):
        msg = "a port from 0 to 65535"
        raise ValueError(msg)
    return int(given)


def grpc_port(given: str) -> int | None:
    """Take a TCP port, 0 for a free one, or nothing; a port needs the extra `grpc`."""
    if not given:
        return None
    found = port(given)
    if not all(find_spec(each) for each in ("grpc", "grpc_health", "grpc_reflection", "google", "google.protobuf")):
        msg = f"gRPC installed: {extras.command('grpc')}"
        raise ValueError(msg)
    return found


def count(least: int, most: int | None = None) -> Callable[[str], int]:
    """Take whole numbers from `least` on, up to `most`."""

    def parse(given: str) -> int:
        if not (given.isascii() and given.isdigit() and least <= int(given) <= (most or sys.maxsize)):
            msg = f"a whole number from {least} {f'to {most}' if most else 'on'}"
            raise ValueError(msg)
        return int(given)

    return parse


def size(least: int) -> Callable[[str], int]:
    """Take bytes such as 512, 64KiB, 1.5GiB; at least `least`."""

    def parse(given: str) -> int:
        number, factor = _scaled(given, _SIZES)
        if number is None or number * factor < least:
            msg = f"a size such as 64MiB or 1GiB, at least {least} bytes"
            raise ValueError(msg)
        return int(number * factor)

    return parse


def duration(least: float) -> Callable[[str], float]:
    """Take times such as 250ms, 10s, 5m, 7d (a bare number is seconds); at least `least` seconds."""

    def parse(given: str) -> float:
        number, factor = _scaled(given, _TIMES)
        if number is None or number * factor < least:
            msg = f"a time such as 250ms, 10s or 5m, at least {least:g} s"
            raise ValueError(msg)
        return number * factor

    return parse


def switch(given: str) -> bool:
    """Take `true` or `false`."""
    return choice("true", "false")(given) == "true"


def choice(*words: str) -> Callable[[str], str]:
    """Take one of `words`."""

    def parse(given: str) -> str:
        if given.lower() not in words:
            msg = f"one of {', '.join(words)}"
            raise ValueError(msg)
        return given.lower()

    return parse


def _path(given: str) -> Path:
    if "://" in given:
        msg = "a path on this machine, not a URL"
        raise ValueError(msg)
    return Path(given).expanduser()


def _scaled(given: str, units: dict[str, float] | dict[str, int]) -> tuple[float | None, float]:
    match = _NUMBER_UNIT.fullmatch(given)
    if match is None or match[2].lower() not in units:
        return None, 0
    number = float(match[1])
    return (number if math.isfinite(number) else None), units[match[2].lower()]
