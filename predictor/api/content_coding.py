"""Content codings: which a body may have, and how it is decompressed without holding the event loop."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from predictor.api.json_body import BODY_BROKEN, check_size
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.api.slices import Slices

_TAKEN = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
"""RFC 9110, 8.4.1: x-gzip is gzip."""
_ACCEPT = "gzip, deflate"
_WORDS = 100
"""Characters of a caller's header that an answer repeats."""
_SLICE = 64 << 10
"""Bytes that are decompressed at a time: about 0.2 ms."""
_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def coding_of(declared: list[str]) -> str | None:
    """Return `gzip`, `deflate` or None by the values of `Content-Encoding`; raises Problem for any other."""
    words = [word.strip(" \t").lower() for value in declared for word in value.split(",")]
    codings = [word for word in words if word not in {"", "identity"}]
    if not codings:
        return None
    taken = _TAKEN.get(codings[0]) if len(codings) == 1 else None
    if taken is None:
        given = ", ".join(codings)[:_WORDS]
        detail = f"Content-Encoding is {given}, this server takes one of {_ACCEPT}, or none"
        raise Problem(Kind.UNSUPPORTED_CODING, detail, headers={"Accept-Encoding": _ACCEPT})
    return taken


def decompress(body: bytes, coding: str, limit: int, setting: str, grow: Callable[[int], None]) -> Slices[bytes]:
    """Decompress a body of at most `limit` bytes, which `setting` says, slice by slice; raises Problem.

    `grow` is called with the size of each slice, and may raise.
    """
    parts: list[bytes] = []
    size, rest = 0, body
    while rest:
        # Some call deflate what has no header of zlib.
        plain = coding == "deflate" and rest[0] & 0x0F != zlib.DEFLATED
        inflater = zlib.decompressobj(_RAW if plain else _ZLIB if coding == "deflate" else _GZIP)
        while not inflater.eof:
            try:
                part = inflater.decompress(rest, _SLICE)
            except zlib.error:
                raise Problem(Kind.BAD_REQUEST, BODY_BROKEN) from None
            rest = inflater.unconsumed_tail
            if not (part or rest or inflater.eof):  # it was cut off
                raise Problem(Kind.BAD_REQUEST, BODY_BROKEN)
            parts.append(part)
            size += len(part)
            check_size(size, limit, setting)
            grow(len(part))
            yield
        rest = inflater.unused_data
        if rest and not (coding == "gzip" and rest.startswith(_MAGIC)):  # gzip may have several members
            raise Problem(Kind.BAD_REQUEST, BODY_BROKEN)
    return b"".join(parts)
