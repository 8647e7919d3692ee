"""How large a body may be unless PREDICTOR_BODY_BYTES says so: what a model's input needs as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor.inference.model import Model

FREE = -1
"""In a shape: an axis of any length."""
_USUAL = 512
"""Taken for the length of such an axis: tokens of a text, edges of an image."""
_LEAST = 1 << 20
MOST_BODY_BYTES = 8 << 20
"""Of several rows together: the event loop reads a body of 8 MiB in some milliseconds."""
_NUMBER = 32
"""Bytes of one number as JSON, with what stands around it: the longest double has 24."""


_TEXT = 16
"""A text counts as so many numbers: 512 bytes, and in a record it has 256."""


def default_body_bytes(elements: int, rows: int) -> int:
    """Return the bytes of a request of so many rows, of so many elements each: 1 to 8 MiB, and one row always."""
    row = elements * _NUMBER + 1024
    return max(_LEAST, row, min(row * rows, MOST_BODY_BYTES))


def elements_of_a_row(model: Model) -> int:
    """Return how many values a row has, or a request without rows, as numbers; of axes of any length, what is usual."""
    if model.tensors is None:
        return sum(_weight(each.datatype) for each in model.description.features)
    skipped = 1 if model.tensors.row_axis else 0
    return sum(
        _weight(spec.datatype) * math.prod(_USUAL if size == FREE else size for size in spec.shape[skipped:])
        for spec in model.signature.inputs
    )


def _weight(datatype: str) -> int:
    return _TEXT if datatype == "BYTES" else 1
