"""Reads the body of a request of aiohttp: before its deadline, and decompressed in slices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from predictor.api.content_coding import coding_of, decompress
from predictor.api.json_body import BODY_BROKEN, BODY_LATE, check_size
from predictor.core.problems import Kind, Problem
from predictor.http.connection import Connection

if TYPE_CHECKING:
    from predictor.api.content_coding import Slices

T = TypeVar("T")


async def read_body(request: web.Request, deadline: float, limit: int, setting: str) -> bytes:
    """Return a request's body, read before the deadline and decompressed; `setting` says the limit; raises Problem."""
    coding = coding_of(request.headers.getall("Content-Encoding", []))
    body = await _read_raw(request, deadline)
    check_size(len(body), limit, setting)
    return await _in_turns(decompress(body, coding, limit, setting)) if coding else body


async def _in_turns(slices: Slices[T]) -> T:
    """Do work slice by slice, so that others have their turn between."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


async def _read_raw(request: web.Request, deadline: float) -> bytes:
    """Return a request's body as it came; raises Problem."""
    connection = request.protocol
    try:
        if request.content.is_eof():  # it came with the headers: no timer, no copy
            return request.content.read_nowait()
        if isinstance(connection, Connection):
            connection.awaits_body = True
        async with asyncio.timeout_at(deadline):
            return await request.read()
    except TimeoutError:
        raise Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        # The request holds the error, whose traceback would hold this frame, and so the request with its whole body.
        error.__traceback__ = None
        raise Problem(Kind.BAD_REQUEST, BODY_BROKEN) from None
    finally:
        if isinstance(connection, Connection):
            connection.awaits_body = False
