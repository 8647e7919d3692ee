"""Shapes in and out of HTTP, and the validation of rows."""

from __future__ import annotations

import msgspec

from predictor.errors import Kind, Problem

FLOAT32_OVERFLOW = 2.0**128 - 2.0**103
"""The least double that rounds to infinity as float32."""

Rows = list[list[float]]


class _Body(msgspec.Struct):
    data: Rows


class Answer(msgspec.Struct):
    """`POST /predict`: probabilities in the order of the labels."""

    job_id: str
    prediction: list[float] | str
    is_outlier: bool | None
    outlier_score: float | None


class Item(msgspec.Struct):
    """One row of `POST /predict/batch`."""

    prediction: list[float]
    is_outlier: bool | None
    outlier_score: float | None


class BatchAnswer(msgspec.Struct):
    """`POST /predict/batch`."""

    job_id: str
    predictions: list[Item]


_decode = msgspec.json.Decoder(_Body).decode
encode = msgspec.json.Encoder().encode


def check_size(size: int, limit: int, setting: str = "PREDICTOR_BODY_BYTES") -> None:
    """Refuse a body of more than `limit` bytes, which `setting` says; raises Problem."""
    if size > limit:
        raise Problem(Kind.CONTENT_TOO_LARGE, f"the body is larger than {limit} bytes ({setting})")


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


def undecodable(body: bytes, error: Exception, wanted: str) -> Problem:
    """Return the problem of a body that msgspec could not take, by what it raised."""
    if isinstance(error, msgspec.ValidationError):
        return Problem(Kind.INVALID_DATA, f"{error}; wanted {wanted}")
    where = "the JSON is nested too deep" if isinstance(error, RecursionError) else _where(body, error)
    return Problem(Kind.INVALID_JSON, f"{where}; wanted {wanted}")


def _where(body: bytes, error: Exception) -> str:
    """Say what the decoder said; name what people most often send by mistake."""
    if not body.strip():
        return "the body is empty"
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    if any(word in body for word in (b"NaN", b"Infinity")):
        return f"{error}: JSON has no NaN or Infinity"
    return str(error)
