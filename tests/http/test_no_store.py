"""No cache keeps an answer: it would be given to somebody else, as a prediction that nobody logged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.hostile_requests import HOSTILE
from tests.support.raw_connection import Caller
from tests.support.server import answers, message, raw, serve

if TYPE_CHECKING:
    from pathlib import Path

_ROW = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_JSON = {"Content_Type": "application/json"}
_REQUESTS = [
    *(message("GET", path) for path in ("/predict/test", "/predict/test/label", "/metadata", "/label", "/health")),
    *(message("GET", path) for path in ("/", "/page/page.js", "/page/nothing", "/livez", "/readyz", "/nothing")),
    *(message("POST", path, _ROW, **_JSON) for path in ("/predict", "/predict/label", "/predict/batch", "/livez")),
    message("POST", "/predict", b"{", **_JSON),
    message("POST", "/feedback/nothing", b"{}", **_JSON),
    message("POST", "/feedback/01a206a5-7cf9-7f24-8992-729b23f48647", b'{"label":"virginica"}', **_JSON),
    message("OPTIONS", "*"),
    message("GET", "/metadata", Expect="tea"),
    *(case.sent for case in HOSTILE if len(case.sent) < 2000),
]


@pytest.mark.parametrize("door", ["lane", "aiohttp"], indirect=True)
async def test_every_answer_says_so(outbox: Path) -> None:
    """Whatever is asked, predictions, documents, probes, the page and problems say `Cache-Control: no-store`."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_PAGE="on", PREDICTOR_IDLE="2s") as here:
        seen = set()
        received = await asyncio.gather(*(raw(here.port, sent) for sent in _REQUESTS))
        for sent, all_of_it in zip(_REQUESTS, received, strict=True):
            for answer in answers(all_of_it):
                assert answer.headers.get("Cache-Control") == "no-store", (sent, answer)
                seen.add(answer.status)
        async with Caller(here.port) as caller:
            stream = await caller.asks(message("GET", "/page/events"))
        assert stream.headers["Cache-Control"] == "no-store"
    assert {200, 400, 404, 405, 422} <= seen
