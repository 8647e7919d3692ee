"""Ids of a request: job id (UUIDv7), trace id and span id as the hexadecimal text that records and headers carry."""

from __future__ import annotations

import random
import time

# Ids must not collide, they need not be secret: the Mersenne twister, seeded by the system, is what the SDK uses too.
_bits = random.SystemRandom().getrandbits(128)
_random = random.Random(_bits)  # noqa: S311 - see above
getrandbits = _random.getrandbits


def uuid7(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, version, 74 random bits."""
    milliseconds = (now_ns or time.time_ns()) // 1_000_000
    bits = getrandbits(74)
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031 - half the time of an f-string here
        milliseconds >> 16,
        milliseconds & 0xFFFF,
        bits >> 62,
        0x8000 | bits >> 48 & 0x3FFF,
        bits & 0xFFFF_FFFF_FFFF,
    )


def trace_id() -> int:
    """Return a random trace id other than 0."""
    return getrandbits(128) or 1


def span_id() -> int:
    """Return a random span id other than 0."""
    return getrandbits(64) or 1
