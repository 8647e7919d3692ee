"""Reads the body of a request of aiohttp: before its deadline, within the memory's budget, decompressed in slices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from predictor.api.content_coding import coding_of, decompress
from predictor.api.json_body import BODY_BROKEN, BODY_LATE, body_head, check_size
from predictor.api.slices import in_turns
from predictor.core.problems import Kind, Problem
from predictor.http.connection import Connection
from predictor.http.limits import FREE_BYTES

if TYPE_CHECKING:
    from predictor.api.dataplane import Codec, InferRequest
    from predictor.core.memory_budget import Share

_BODY_BYTES = "PREDICTOR_BODY_BYTES"


async def decoded(request: web.Request, deadline: float, codec: Codec, share: Share) -> InferRequest | Problem:
    """Return what is wanted; a function of its own, so that nothing holds the body while its rows wait."""
    head = body_head(request.headers, request.content_length)
    if not codec.takes_body:
        return codec.decode(head, b"")
    codec.check(head)
    body = await read_body(request, deadline, codec.body_bytes, _BODY_BYTES, share)
    if len(body) <= FREE_BYTES:
        return codec.decode(head, body)
    wanted = await in_turns(codec.decode_in_slices(head, body))
    if not isinstance(wanted, Problem):
        share.resize(max(len(body), wanted.held_bytes))
    return wanted


async def read_body(request: web.Request, deadline: float, limit: int, setting: str, share: Share) -> bytes:
    """Return a request's body, read before the deadline and decompressed; `setting` says the limit; raises Problem.

    `share` holds its bytes; what is compressed counts beside what is made of it, until that is complete.
    """
    coding = coding_of(request.headers.getall("Content-Encoding", []))
    body = await _read_raw(request, deadline, limit, setting, share)
    if coding:
        body = await in_turns(decompress(body, coding, limit, setting, share.grow))
        share.resize(len(body))
    return body


async def _read_raw(request: web.Request, deadline: float, limit: int, setting: str, share: Share) -> bytes:
    """Return a request's body as it came; raises Problem."""
    connection = request.protocol
    content = request.content
    parts: list[bytes] = []  # joined once: an array that grows would move each time
    size = 0
    try:
        if content.is_eof():  # it came with the headers: no timer
            body = content.read_nowait()
            share.grow(len(body))
            check_size(len(body), limit, setting)
            return body
        if isinstance(connection, Connection):
            connection.awaits_body = True
        async with asyncio.timeout_at(deadline):
            while part := await content.readany():
                parts.append(part)
                size += len(part)
                check_size(size, limit, setting)
                share.grow(len(part))
        return b"".join(parts)
    except TimeoutError:
        raise Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        # The request holds the error, whose traceback would hold this frame, and so the request with its whole body.
        error.__traceback__ = None
        raise Problem(Kind.BAD_REQUEST, BODY_BROKEN) from None
    finally:
        if isinstance(connection, Connection):
            connection.awaits_body = False
