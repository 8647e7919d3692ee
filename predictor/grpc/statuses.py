"""What a caller gets instead of an answer: a status of gRPC, the problem's sentence, and metadata."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

import grpc
import grpc.aio

from predictor.api.problem_details import problem_of
from predictor.core.problems import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from predictor.api.answers import Headers
    from predictor.core.problems import Problem

T = TypeVar("T")
STATUSES = {
    Kind.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.INVALID_JSON: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.METHOD_NOT_ALLOWED: grpc.StatusCode.UNIMPLEMENTED,
    Kind.SHARED_PORT: grpc.StatusCode.FAILED_PRECONDITION,
    # What gRPC itself answers to a message that is too large.
    Kind.CONTENT_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.URI_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNSUPPORTED_CODING: grpc.StatusCode.UNIMPLEMENTED,
    Kind.MISDIRECTED_REQUEST: grpc.StatusCode.PERMISSION_DENIED,
    Kind.INVALID_DATA: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.HEADERS_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.INTERNAL_ERROR: grpc.StatusCode.INTERNAL,
    Kind.MODEL_FAILED: grpc.StatusCode.INTERNAL,
    # Clients ask again by themselves after this one, and only this one.
    Kind.NO_MODEL: grpc.StatusCode.UNAVAILABLE,
    Kind.QUEUE_FULL: grpc.StatusCode.UNAVAILABLE,
    Kind.BODIES_FULL: grpc.StatusCode.UNAVAILABLE,
    Kind.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Kind.OUTBOX_FULL: grpc.StatusCode.UNAVAILABLE,
    Kind.PAGE_BUSY: grpc.StatusCode.UNAVAILABLE,
    Kind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the kind of problem; two doors have the same closed list of kinds."""
_LONGEST = 2000
"""Bytes of a sentence, each of which may take three on the wire: clients take 8 KiB of metadata."""


def status_of(problem: Problem) -> tuple[grpc.StatusCode, str]:
    """Return the status, and the sentence beside it."""
    text = problem.detail.encode("utf-8", "replace")
    said = text[:_LONGEST].decode("utf-8", "ignore")
    return STATUSES[problem.kind], said if len(text) <= _LONGEST else f"{said}…"


def problem_metadata(problem: Problem) -> Headers:
    """Return which problem it is (RFC 9457's `type`), and when a client may ask again, as gRPC's clients read it."""
    said = [("problem-type", problem.kind.type)]
    if problem.retry_after is not None:
        said += [("retry-after", str(problem.retry_after)), ("grpc-retry-pushback-ms", str(1000 * problem.retry_after))]
    return said + [(name.lower(), value) for name, value in problem.headers.items()]


async def refuse(context: grpc.aio.ServicerContext, problem: Problem, beside: Headers | None = None) -> NoReturn:
    """End a call with a problem; `beside` is more metadata."""
    status, text = status_of(problem)
    with suppress(grpc.aio.InternalError):  # it has ended by itself: the message was too large, the caller has gone
        await context.abort(status, text, tuple(problem_metadata(problem) + (beside or [])))
    raise asyncio.CancelledError


def guarded(
    method: str, handle: Callable[[grpc.aio.ServicerContext], Awaitable[T]]
) -> Callable[[object, grpc.aio.ServicerContext], Awaitable[T]]:
    """Return a handler as gRPC calls it, which ends a call with whatever problem is raised.

    What is none is a fault of our own: gRPC would send the error's words to the caller.
    """

    async def handler(_: object, context: grpc.aio.ServicerContext) -> T:
        try:
            return await handle(context)
        except grpc.aio.BaseError:  # gRPC's own, an abort above all
            raise
        except Exception as error:  # noqa: BLE001 - every call gets an answer
            await refuse(context, problem_of(error, method, ""))

    return handler
