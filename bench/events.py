"""The receiver of KServe's CloudEvents: `events.py PORT FILE`; one line of type and id an event, then the 200."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web

if TYPE_CHECKING:
    from typing import TextIO


def _app(file: TextIO) -> web.Application:
    async def take(request: web.Request) -> web.Response:
        if await request.read():
            file.write(f"{request.headers.get('Ce-Type')} {request.headers.get('Ce-Id')}\n")
        return web.Response()

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/", take)
    return app


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", buffering=1, encoding="utf-8") as lines:
        web.run_app(
            _app(lines),
            host="127.0.0.1",
            port=int(sys.argv[1]),
            loop=uvloop.new_event_loop(),
            access_log=None,
            print=None,
        )
