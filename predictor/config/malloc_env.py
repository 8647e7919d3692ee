"""Whether an operator has set how the C library allocates memory: then the server leaves that as it is.

https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MALLOC = (
    "MALLOC_ARENA_MAX",
    "MALLOC_ARENA_TEST",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)
"""Variables of glibc on how much memory it keeps."""
TUNABLES = "GLIBC_TUNABLES"
"""The same and more, as `glibc.malloc.trim_threshold=131072:…`."""


def sets_malloc(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment says how much memory is kept."""
    tunables = environ.get(TUNABLES, "").split(":")
    return any(environ.get(name) for name in MALLOC) or any(each.startswith("glibc.malloc.") for each in tunables)
