"""Makes the ids of a request as text: job id (UUIDv7), trace id and span id (hexadecimal)."""

from __future__ import annotations

import os
import random
import time
from functools import lru_cache

# Ids must not collide, they need not be secret: the Mersenne twister, seeded by the system, is what the SDK uses too.
_random = random.Random(random.SystemRandom().getrandbits(128))  # noqa: S311 - see above
_wide: list[str] = []
_narrow: list[str] = []
_AT_ONCE = 64
"""Ids drawn together: one by one, making text of the numbers takes most of the time."""
_NONE = "0" * 16
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid7(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, version, variant, 74 random bits."""
    digits = trace_id()
    begin = _milliseconds((now_ns or time.time_ns()) // 1_000_000)
    return f"{begin}-7{digits[:3]}-{_VARIANT[digits[3]]}{digits[4:7]}-{digits[7:19]}"


def trace_id() -> str:
    """Return a random trace id other than 0: 32 digits, of which the first 16 are not all 0."""
    try:
        return _wide.pop()
    except IndexError:
        return _several(_wide, 16)


def span_id() -> str:
    """Return a random span id other than 0: 16 digits."""
    try:
        return _narrow.pop()
    except IndexError:
        return _several(_narrow, 8)


def _several(pool: list[str], size: int) -> str:
    """Return one of several new ids of `size` bytes, and put the others into the pool; any thread may ask."""
    while True:
        texts = _random.randbytes(_AT_ONCE * size).hex(" ", size).split()
        found = [text for text in texts if not text.startswith(_NONE)]
        if found:
            pool += found[1:]
            return found[0]


@lru_cache(maxsize=8)
def _milliseconds(now: int) -> str:
    digits = f"{now:012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _reset_after_fork() -> None:
    """Draw other ids than the process that this one was forked from."""
    _random.seed(random.SystemRandom().getrandbits(128))
    _wide.clear()
    _narrow.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
