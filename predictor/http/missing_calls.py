"""What is asked for and is no call: which methods a path has, and the problem that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from aiohttp import web

ANYWHERE = "/{path}"
"""How the router names the resource that answers where no call is."""


async def methods_at(request: web.Request) -> set[str]:
    """Return the methods that a path has."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != ANYWHERE:
            allowed |= (await resource.resolve(request))[1]
    return allowed


def no_such_call(request: web.Request, methods: set[str], *, recorded: bool = False) -> Problem:
    """Return what says that the path is unknown, or which methods it has; `recorded` as a Problem has it."""
    if not methods:
        detail = f"nothing is at {request.path}; GET /metadata says what this server predicts"
        return Problem(Kind.NOT_FOUND, detail, recorded=recorded)
    named = ", ".join(sorted(methods))
    detail = f"{request.path} takes {named}, not {request.method}"
    return Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": named})
