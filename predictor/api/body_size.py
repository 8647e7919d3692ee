"""How large a body may be unless PREDICTOR_BODY_BYTES says so: what a model's input needs as JSON."""

from __future__ import annotations

_LEAST = 1 << 20
_MOST = 8 << 20
"""Of several rows together: the event loop reads a body of 8 MiB in some milliseconds."""
_NUMBER = 32
"""Bytes of one number as JSON, with what stands around it: the longest double has 24."""


def default_body_bytes(elements: int, rows: int) -> int:
    """Return the bytes of a request of so many rows, of so many elements each: 1 to 8 MiB, and one row always."""
    row = elements * _NUMBER + 1024
    return max(_LEAST, row, min(row * rows, _MOST))
