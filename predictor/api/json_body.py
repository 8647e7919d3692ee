"""Checks of JSON request bodies: declared media type, size, and what is wrong with one that cannot be decoded."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
JSON_LENGTH = "Inference-Header-Content-Length"
_WORDS = 100
"""Characters of a caller's header that an answer repeats."""

_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

BODY_LATE = "the body did not arrive in time (PREDICTOR_DEADLINE)"
BODY_BROKEN = "the body is not what Content-Encoding and Transfer-Encoding say, or it was cut off"

encode = msgspec.json.Encoder().encode


class BodyHead(NamedTuple):
    """What the head of a request says of its body."""

    content_type: str | None
    length: int | None
    """None if it is not declared."""
    json_length: str | None = None
    """Where binary data begins behind the JSON, as `Inference-Header-Content-Length` has it."""


def body_head(headers: Mapping[str, str], length: int | None) -> BodyHead:
    """Return what the headers of a request say of its body."""
    return BodyHead(headers.get("Content-Type"), length, headers.get(JSON_LENGTH))


def check_head(head: BodyHead, limit: int, setting: str) -> None:
    """Refuse, before it is read, a body that is not declared as JSON or too large by `setting`; raises Problem."""
    declared = head.content_type
    if declared and declared != JSON:
        # Not by aiohttp: it parses the parameters too, in quadratic time, and fails on some.
        media_type = declared.partition(";")[0].strip().lower()
        if not media_type.endswith(("/json", "+json")):
            raise Problem(Kind.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {media_type[:_WORDS]}, wanted {JSON}")
    check_size(head.length or 0, limit, setting)


def check_size(size: int, limit: int, setting: str) -> None:
    """Refuse a body of more than `limit` bytes, which `setting` says; raises Problem."""
    if size > limit:
        raise Problem(Kind.CONTENT_TOO_LARGE, f"the body is larger than {limit} bytes ({setting})")


def undecodable(body: bytes, error: Exception, wanted: str) -> Problem:
    """Return the problem of a body that msgspec could not take, by what it raised."""
    if isinstance(error, msgspec.ValidationError):
        return Problem(Kind.INVALID_DATA, f"{error}; wanted {wanted}")
    where = "the JSON is nested too deep" if isinstance(error, RecursionError) else _where(body, error)
    return Problem(Kind.INVALID_JSON, f"{where}; wanted {wanted}")


def _where(body: bytes, error: Exception) -> str:
    """Return what the decoder reported, after the mistakes that people most often make."""
    if not body.strip():
        return "the body is empty"
    if body.startswith(_BYTE_ORDER_MARKS):
        return "the body begins with a byte order mark, which JSON has not; wanted UTF-8 without it"
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    if any(word in body for word in (b"NaN", b"Infinity")):
        return f"{error}: JSON has no NaN or Infinity"
    return str(error)
