"""Decodes and validates the rows of a JSON body, `{"data": [[…], …]}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from predictor.api.json_body import undecodable
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from predictor.core.result import Rows

FLOAT32_OVERFLOW = 2.0**128 - 2.0**103
"""The least double that rounds to infinity as float32."""


class _Body(msgspec.Struct):
    data: list[list[float]]


_decode = msgspec.json.Decoder(_Body).decode


def decode_rows(body: bytes, width: int, most: int) -> Rows:
    """Return the rows of a request body, each `width` numbers that are finite as float32; raises Problem."""
    try:
        rows = _decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise undecodable(body, error, _wanted(width)) from None
    if not rows:
        raise Problem(Kind.INVALID_DATA, f"data has no rows; wanted {_wanted(width)}")
    if len(rows) > most:
        detail = f"data has {len(rows)} rows, this server takes at most {most} a request (PREDICTOR_BATCH_ROWS)"
        raise Problem(Kind.CONTENT_TOO_LARGE, detail)
    for index, row in enumerate(rows):
        if len(row) != width:
            raise Problem(Kind.INVALID_DATA, f"data[{index}] has {len(row)} numbers, wanted {width}")
        if max(row) >= FLOAT32_OVERFLOW or min(row) <= -FLOAT32_OVERFLOW:
            column = next(i for i, number in enumerate(row) if abs(number) >= FLOAT32_OVERFLOW)
            detail = f"data[{index}][{column}] is {row[column]:g}, which is not finite as float32"
            raise Problem(Kind.INVALID_DATA, detail)
    return rows


def decode_row(body: bytes, width: int, most: int) -> Rows:
    """Return the only row of a request body; raises Problem as `decode_rows`, and if there is not exactly one."""
    rows = decode_rows(body, width, most)
    if len(rows) != 1:
        raise Problem(Kind.INVALID_DATA, f"data has {len(rows)} rows, wanted one; POST /predict/batch takes more")
    return rows


def _wanted(width: int) -> str:
    return f'{{"data": [[…]]}} with rows of {width} finite numbers'
