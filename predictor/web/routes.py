"""The table of calls: which path leads where, and what is said when it leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from predictor.errors import Kind, Problem
from predictor.web.feedback import ROUTE as FEEDBACK
from predictor.web.metadata import labels, metadata
from predictor.web.payload import encode

if TYPE_CHECKING:
    from predictor.inference.model import Model
    from predictor.web.calls import Predictions
    from predictor.web.middleware import Call, Context, Handler, Refused, Surroundings
    from predictor.web.page import Page

_ANYWHERE = "/{path}"
_ANY = r"/{path:[\s\S]*}"  # a path may hold an escaped newline


class Health(Protocol):
    """What the probes ask."""

    def unready(self) -> str | None:
        """Return why no traffic should come, or None."""

    def details(self) -> dict[str, object]:
        """Return what an operator would ask next."""


def add_routes(
    app: web.Application,
    predictions: Predictions,
    model: Model,
    health: Health,
    surroundings: Surroundings,
    refused: Refused | None,
    feedback: Call | None = None,
    page: Page | None = None,
) -> None:
    """Register every call; what predicts tells `refused` of problems, the rest does not belong in the log."""

    def predicts(call: Call, route: str) -> Handler:
        return surroundings.surround(call, route, refused)

    asks = surroundings.surround

    router = app.router
    router.add_post("/predict", predicts(predictions.predict, "/predict"))
    router.add_post("/predict/label", predicts(predictions.label, "/predict/label"))
    router.add_post("/predict/batch", predicts(predictions.batch, "/predict/batch"))
    # HEAD never predicts
    router.add_get("/predict/test", predicts(predictions.test, "/predict/test"), allow_head=False)
    router.add_get("/predict/test/label", predicts(predictions.test_label, "/predict/test/label"), allow_head=False)
    if feedback:
        router.add_post(FEEDBACK, asks(feedback, FEEDBACK))
    router.add_get("/metadata", asks(_constant(metadata(model)), "/metadata"))
    router.add_get("/label", asks(_constant(labels(model)), "/label"))
    router.add_get("/health", _probe(encode({"health": "ok"})))
    router.add_get("/livez", _probe(encode({"live": True})))
    router.add_get("/readyz", _readyz(health))
    if page:
        page.add_routes(router)
    router.add_route("*", _ANY, asks(_unmatched, ""))


def _constant(value: object) -> Call:
    body = encode(value)

    async def constant(_: Context) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return constant


def _probe(body: bytes) -> Handler:
    """Return a handler without ids and traces: probes come often and mean nothing."""

    async def probe(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return probe


def _readyz(health: Health) -> Handler:
    async def readyz(_: web.Request) -> web.Response:
        reason = health.unready()
        fields = {"ready": reason is None, "reason": reason} | health.details()
        return web.Response(body=encode(fields), status=503 if reason else 200, content_type="application/json")

    return readyz


async def _unmatched(context: Context) -> web.Response:
    """Say that the path is unknown, or which methods it has."""
    request = context.request
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != _ANYWHERE:
            allowed |= (await resource.resolve(request))[1]
    if not allowed:
        raise Problem(Kind.NOT_FOUND, f"nothing is at {request.path}; GET /metadata says what this server predicts")
    methods = ", ".join(sorted(allowed))
    detail = f"{request.path} takes {methods}, not {request.method}"
    raise Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": methods})
