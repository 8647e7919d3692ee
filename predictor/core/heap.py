"""Memory that was freed and is still the process's: kept for the next use, or given back after something large."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_FREE_AT_THE_TOP = 32 << 20
"""Bytes of each arena (glibc gives threads arenas of their own): more than is held between two syncs of the disk."""
_LARGEST_KEPT = 4 << 20
"""Bytes of one allocation: what is shipped at once is half a mebibyte."""


def keep() -> None:
    """Keep what is freed for the next use, up to a bound for each arena, where the C library can (glibc).

    It would otherwise give the buffers of shipping and the lines that were synced back to the system each time.
    Getting them back page by page is a twelfth of the processor time of a request that is logged and shipped.
    It replaces what the environment says of both bounds.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_M_TRIM_THRESHOLD, _FREE_AT_THE_TOP)


def give_back() -> None:
    """Return free memory to the system where the C library can (glibc); some milliseconds, without the GIL.

    A model that was replaced leaves its weights, and the buffers of its trial, as holes in the heaps of the threads
    that loaded it. glibc keeps these for later, twice over where the next one is loaded in another thread.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
