"""The measure of everything: an aiohttp handler on uvloop that decodes and encodes the same JSON, and nothing else.

Set up as somebody who knows aiohttp would: uvloop, no access log, msgspec for the JSON.
"""

from __future__ import annotations

import sys

import msgspec
import uvloop
from aiohttp import web


class _Body(msgspec.Struct):
    data: list[list[float]]


class _Answer(msgspec.Struct):
    job_id: str
    prediction: list[float]
    is_outlier: bool
    outlier_score: float


class _Item(msgspec.Struct):
    prediction: list[float]
    is_outlier: bool
    outlier_score: float


class _BatchAnswer(msgspec.Struct):
    job_id: str
    predictions: list[_Item]


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode
# As long as the server's own: a UUID, and float32 numbers with all the digits of a double.
_JOB_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_PROBABILITIES = [0.9702053070068359, 0.01781618595123291, 0.01197856292128563]


async def _predict(request: web.Request) -> web.Response:
    row = _decode(await request.read()).data[0]
    answer = _Answer(_JOB_ID, _PROBABILITIES, row[0] < 0, 0.4412345886230469)
    return web.Response(body=_encode(answer), content_type="application/json")


async def _batch(request: web.Request) -> web.Response:
    rows = _decode(await request.read()).data
    answer = _BatchAnswer(_JOB_ID, [_Item(_PROBABILITIES, row[0] < 0, 0.4412345886230469) for row in rows])
    return web.Response(body=_encode(answer), content_type="application/json")


def main() -> None:
    """Serve on 127.0.0.1 and the port given, until a signal ends it."""
    app = web.Application()
    app.router.add_post("/predict", _predict)
    app.router.add_post("/predict/batch", _batch)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), loop=uvloop.new_event_loop(), access_log=None, print=None)


if __name__ == "__main__":
    main()
