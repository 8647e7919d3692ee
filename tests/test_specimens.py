"""Copied server spans: each is what the official instrumentation would have made of the same request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from caller import Caller
from server import ROW, message
from traces import OUTLIER, servers, traced

from predictor import specimens
from predictor.tracing import Tracing

if TYPE_CHECKING:
    from pathlib import Path

    from server import Answer

BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
OFF = {"OTEL_TRACES_SAMPLER": "always_off"}
ALL = {"OTEL_TRACES_SAMPLER": "always_on"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_"
BAD = b'{"data":[[1,2,3]]}'


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return, for each span of the express way, whether it was copied."""
    found: list[bool] = []
    copy = Tracing.copied

    def counted(*more: Any) -> bool:  # noqa: ANN401 - handed on
        found.append(copy(*more))
        return found[-1]

    monkeypatch.setattr(Tracing, "copied", counted)
    return found


def ask(body: bytes = BODY, **headers: str | None) -> bytes:
    """Return an ordinary request."""
    return message("POST", "/predict", body, **{"Content_Type": "application/json"} | headers)


async def told(
    place: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], requests: list[bytes]
) -> tuple[list[Answer], list[dict[str, Any]]]:
    """Return the answers and the server spans of requests, in their order."""
    async with traced(monkeypatch, place, **settings) as here, Caller(here.port) as caller:
        answered = [await caller.asks(request) for request in requests]
    by_trace = {(span["traceId"], span["spanId"]): span for span in servers(place)}
    assert len(by_trace) == len(requests)
    by_id = {span["traceId"]: span for span in by_trace.values()}
    ordered = [by_id[answer.headers["X-Trace-Id"]] for answer in answered] if len(by_id) == len(by_trace) else []
    return answered, ordered or list(by_trace.values())


def varies(span: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal of two spans of one like."""
    own = {"traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano"}
    pairs = {name: value for name, value in span["attributes"].items() if name != "server.port"}
    return {name: value for name, value in span.items() if name not in own} | {"attributes": pairs}


@pytest.mark.parametrize(
    ("body", "headers", "settings"),
    [
        (BODY, {}, {}),
        (BODY, {"Host": "example.org"}, {}),
        (BODY, {"Host": "EXAMPLE.org:80"}, {}),
        (BODY, {"Host": "[::1]:8000"}, {}),
        (BODY, {"Host": "a b"}, {}),
        (BODY, {"Host": "["}, {}),
        (BODY, {"Host": ""}, {}),
        (BODY, {"User_Agent": "test/1"}, {}),
        (BODY, {"User_Agent": 'a"\\\t\udce9'}, {}),
        (BODY, {"User_Agent": "x" * 900}, {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "20"}),
        (BODY, {"User_Agent": "test/1"}, {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "3"}),
        (BODY, {"User_Agent": "test/1"}, {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}),
        (BODY, {"X_Request_Id": "mine", "baggage": "a=b"}, {}),
        (BODY, {"traceparent": PARENT}, {}),
        (BAD, {"User_Agent": "test/1"}, {}),
        (json.dumps({"data": [OUTLIER]}).encode(), {}, OFF),
    ],
)
async def test_a_copy_is_the_official_span(
    outbox: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    headers: dict[str, Any],
    settings: dict[str, str],
    copied: list[bool],
) -> None:
    """The second request of a like has the span that aiohttp's way gives the same request, but for ids and times."""
    request = ask(body, **headers)
    _, spans = await told(outbox, monkeypatch, ALL | settings, [request, request, request])
    assert copied == [False, True, True]
    slow = ask(body, **headers | {"Content_Type": "Application/JSON"})
    _, official = await told(outbox.with_name("official"), monkeypatch, ALL | settings, [slow])
    assert len(copied) == 3
    assert [varies(span) for span in spans] == [varies(official[0])] * 3
    for span in spans:
        assert int(span["startTimeUnixNano"]) < int(span["endTimeUnixNano"])


@pytest.mark.parametrize(
    ("headers", "settings"),
    [
        ({"traceparent": PARENT, "tracestate": "a=b"}, {}),
        ({"X_Mine": "one"}, {CAPTURE + "REQUEST": "X-Mine"}),
        ({}, {CAPTURE + "RESPONSE": "X-Trace-Id,Content-Type"}),
        ({"User_Agent": "x" * 2000}, {}),
    ],
)
async def test_what_has_something_of_its_own_is_never_copied(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, Any], settings: dict[str, str], copied: list[bool]
) -> None:
    """A trace state, captured headers and long headers: the instrumentation sees each such request itself."""
    request = ask(**headers)
    answers, spans = await told(outbox, monkeypatch, ALL | settings, [request, request])
    assert copied == [False, False]
    slow = ask(**headers | {"Content_Type": "Application/JSON"})
    _, official = await told(outbox.with_name("official"), monkeypatch, ALL | settings, [slow])
    captured = "http.response.header.x_trace_id"
    for answer, span in zip(answers, [varies(span) for span in spans], strict=True):
        if pair := span["attributes"].pop(captured, None):
            assert pair == [answer.headers["X-Trace-Id"]]
        expected = varies(official[0])
        expected["attributes"].pop(captured, None)
        assert span == expected
    if CAPTURE + "RESPONSE" in settings:
        assert spans[0]["attributes"]["http.response.header.content_type"] == ["application/json"]


async def test_likes_do_not_mix(outbox: Path, monkeypatch: pytest.MonkeyPatch, copied: list[bool]) -> None:
    """Requests of two callers in turns, and one that fails, keep their own host, user agent and status."""
    mine, other, bad = ask(User_Agent="mine"), ask(User_Agent="other"), ask(BAD, User_Agent="mine")
    answers, spans = await told(outbox, monkeypatch, ALL, [mine, other, bad] * 2)
    assert copied == [False] * 3 + [True] * 3
    found = [
        (span["attributes"]["user_agent.original"], span["attributes"]["http.response.status_code"]) for span in spans
    ]
    assert found == [("mine", 200), ("other", 200), ("mine", 422)] * 2
    assert [answer.status for answer in answers] == [200, 200, 422] * 2


async def test_callers_cannot_fill_the_memory(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, copied: list[bool]
) -> None:
    """Headers that never repeat leave a bounded number of spans behind, and every span is right all the same."""
    monkeypatch.setattr(specimens, "_MOST", 4)
    requests = [ask(json.dumps({"data": [ROW]}).encode(), User_Agent=f"agent/{number}") for number in range(10)]
    _, spans = await told(outbox, monkeypatch, ALL, requests)
    assert not any(copied)
    assert [span["attributes"]["user_agent.original"] for span in spans] == [f"agent/{n}" for n in range(10)]
