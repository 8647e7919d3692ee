"""Routes of the page: `GET /`, its files, its stream of predictions; without ids and traces, since none predicts."""

from __future__ import annotations

import asyncio
import contextlib
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from predictor.api.access import is_loopback, name_of
from predictor.core.problems import Kind, Problem
from predictor.http.responses import problem_response

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from predictor.dashboard.feed import Feed
    from predictor.dashboard.render import File
    from predictor.http.responses import Handler

_RETRY_AFTER = 5
_HEADERS = {
    # Our own files only, nothing inline, in nobody's frame, and no script may have text parsed as HTML.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # the next start may have another model, and other files
}


class ModelPage(NamedTuple):
    """What the page shows of one model version."""

    feed: Feed
    html: bytes


class Page:
    """The page of one server: `/?model=…&version=…` for a model and a version, `/` for the default ones."""

    def __init__(
        self,
        find: Callable[[str | None, str | None], ModelPage],
        files: Mapping[str, File],
        *,
        loopback_only: bool,
        hosts: Collection[str] = (),
    ) -> None:
        """Take what finds what is shown of a model and a version (raises Problem), and the files.

        With `loopback_only` it is shown to whoever asks a loopback name for it, or one of `hosts`.
        Else any web page that a developer visits could read it, by pointing a name of its own at 127.0.0.1.
        """
        self._find = find
        self._files = files
        self._loopback_only = loopback_only
        self._hosts = frozenset(hosts)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Register the page's calls."""
        router.add_get("/", self._guarded(self._page))
        router.add_get("/page/events", self._guarded(self._events), allow_head=False)
        router.add_get("/page/{file}", self._guarded(self._file))

    def _guarded(self, handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self._check(request)
                return await handler(request)
            except Problem as problem:
                return problem_response(problem, request.path)

        return guarded

    def _check(self, request: web.Request) -> None:
        """Refuse who may not see the page; raises Problem."""
        name = name_of(request.host).lower()
        if self._loopback_only and not (is_loopback(name) or name in self._hosts):
            detail = (
                "the page is shown under a loopback name only, or one of PREDICTOR_ALLOWED_HOSTS; "
                "PREDICTOR_PAGE=on shows it under any"
            )
            raise Problem(Kind.NOT_FOUND, detail)

    def _meant(self, request: web.Request) -> ModelPage:
        return self._find(request.query.get("model"), request.query.get("version"))

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._meant(request).html,
            content_type="text/html",
            charset="utf-8",
            headers=_HEADERS,
        )

    async def _file(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["file"])
        if file is None:
            raise Problem(Kind.NOT_FOUND, f"nothing is at {request.path}; the page is at /")
        return web.Response(
            body=file.content,
            content_type=file.content_type,
            charset="utf-8",
            headers=_HEADERS,
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        feed = self._meant(request).feed
        if feed.closed:
            raise Problem(Kind.DRAINING, "this server is shutting down", retry_after=_RETRY_AFTER)
        if feed.full:
            detail = f"{feed.listeners} pages listen already, more may not"
            raise Problem(Kind.PAGE_BUSY, detail, retry_after=_RETRY_AFTER)
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            # It could not be read there, but it would take a listener's place.
            raise Problem(Kind.NOT_FOUND, "the stream is for the page of this server only")
        transport = request.transport
        if transport is None:  # the caller has gone
            raise Problem(Kind.BAD_REQUEST, "the connection is closed")
        headers = _HEADERS | {"Content-Type": "text/event-stream"}
        response = web.StreamResponse(headers=headers | {"X-Accel-Buffering": "no"})
        listener = feed.join(transport)
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # whoever listened has gone
                await response.write(feed.state())  # first: a page must not say that all is well before it knows
                for piece in feed.history():
                    await response.write(piece)
                    await asyncio.sleep(0)  # a write to a fast reader does not wait
                async for chunk in listener:
                    await response.write(chunk)
        finally:
            feed.leave(listener)
        return response
