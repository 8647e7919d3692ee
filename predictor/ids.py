"""Ids of a request: job id (UUIDv7), trace id and span id as the hexadecimal text that records and headers carry."""

from __future__ import annotations

import os
import random
import time

# Ids must not collide, they need not be secret: the Mersenne twister, seeded by the system, is what the SDK uses too.
_bits = random.SystemRandom().getrandbits(128)
_random = random.Random(_bits)  # noqa: S311 - see above
getrandbits = _random.getrandbits
os.register_at_fork(after_in_child=lambda: _random.seed(random.SystemRandom().getrandbits(128)))
_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM = (1 << 76) - 1 ^ 0b11 << 62


def uuid7(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, version, variant, 74 random bits."""
    milliseconds = (now_ns or time.time_ns()) // 1_000_000
    digits = f"{milliseconds << 80 | _VERSION_AND_VARIANT | getrandbits(76) & _RANDOM:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def trace_id() -> int:
    """Return a random trace id other than 0."""
    return getrandbits(128) or 1


def span_id() -> int:
    """Return a random span id other than 0."""
    return getrandbits(64) or 1
