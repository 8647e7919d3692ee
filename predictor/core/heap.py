"""Memory that was freed and is still the process's: given back to the system after something large has gone."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Return free memory to the system where the C library can (glibc); some milliseconds, without the GIL.

    A model that was replaced leaves its weights, and the buffers of its trial, as holes in the heaps of the threads
    that loaded it. glibc keeps these for later, twice over where the next one is loaded in another thread.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
