"""Server spans of the fast lane: each is what the official instrumentation makes of the same request."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from predictor.tracing import server_spans
from predictor.tracing.instrumentation import Instrumentation
from tests.support import model_folders
from tests.support.raw_connection import Caller
from tests.support.server import message
from tests.support.traced_server import OUTLIER, servers, told, traced

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Answer

BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
BAD = b'{"data":[[1,2,3]]}'
ALL = {"OTEL_TRACES_SAMPLER": "always_on"}
OFF = {"OTEL_TRACES_SAMPLER": "always_off"}
TRACE, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT, UNSAMPLED = f"00-{TRACE}-{PARENT_ID}-01", f"00-{TRACE}-{PARENT_ID}-00"
CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
LIMITS = "OTEL_SPAN_ATTRIBUTE_"


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the routes of the requests that the official instrumentation was shown."""
    seen: list[str] = []
    serve = Instrumentation.serve

    async def counted(self: Instrumentation, request: Any, origin: Any, handler: Any) -> Any:  # noqa: ANN401 - handed on
        seen.append(origin.route)
        return await serve(self, request, origin, handler)

    monkeypatch.setattr(Instrumentation, "serve", counted)
    return seen


def ask(body: bytes = BODY, path: str = "/predict", **headers: str | None) -> bytes:
    """Return a request of the lane."""
    return message("POST", path, body, **{"Content_Type": "application/json"} | headers)


async def answered(
    place: Path, patch: pytest.MonkeyPatch, settings: dict[str, str], requests: list[bytes], *model: Path
) -> tuple[list[Answer], list[dict[str, Any]]]:
    """Return the answers and the server spans of requests, in their order; record and span of each must agree."""
    async with traced(patch, place, *model, **settings) as here, Caller(here.port) as caller:
        answers = [await caller.asks(request) for request in requests]
    told(place)
    found = servers(place)
    ordered = sorted(found, key=lambda span: int(span["startTimeUnixNano"]))
    assert [span["traceId"] for span in ordered] == [answer.headers["X-Trace-Id"] for answer in answers]
    assert all(int(span["startTimeUnixNano"]) < int(span["endTimeUnixNano"]) for span in ordered)
    return answers, ordered


def comparable(span: dict[str, Any], answer: Answer) -> str:
    """Return what must be equal of two spans, the order of their attributes too."""
    own = {"traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano"}
    pairs = {name: value for name, value in span["attributes"].items() if name != "server.port" or value < 1024}
    captured = "http.response.header.x_trace_id"
    if captured in pairs:
        assert pairs.pop(captured) == [answer.headers["X-Trace-Id"]]
    rest = {name: value for name, value in span.items() if name not in own | {"attributes"}}
    return json.dumps([sorted(rest.items()), list(pairs.items())], indent=1)


CASES: list[tuple[bytes, dict[str, str]]] = [
    (ask(), {}),
    (ask(Host="example.org"), {}),
    (ask(Host="EXAMPLE.org:80"), {}),
    (ask(Host="example.org:443"), {}),
    (ask(Host="[::1]:8000"), {}),
    (ask(Host="a b"), {}),
    (ask(Host="["), {}),
    (ask(Host=""), {}),
    (ask(Host="user:secret@example.org"), {}),
    (ask(Host="\udcff"), {}),
    (ask(Host="xn--"), {}),
    (ask(Host="example.org:99999"), {}),
    (ask(User_Agent="test/1"), {}),
    (ask(User_Agent=""), {}),
    (ask(User_Agent='a"\\\t\udce9'), {}),
    (ask(User_Agent="x" * 2000), {}),
    (ask(User_Agent="x" * 900), {LIMITS + "VALUE_LENGTH_LIMIT": "20"}),
    (ask(User_Agent="test/1"), {LIMITS + "COUNT_LIMIT": "3"}),
    (ask(User_Agent="test/1"), {"OTEL_ATTRIBUTE_COUNT_LIMIT": "0"}),
    *(
        (ask(User_Agent="test/1", Host=host), {"OTEL_SEMCONV_STABILITY_OPT_IN": names})
        for names in ("http", "http/dup", "database,http", "http/dup,http", "database", "")
        for host in ("example.org:8080", "[")
    ),
    (ask(X_Request_Id="mine", baggage="a=b"), {}),
    (ask(traceparent=PARENT), {}),
    (ask(traceparent=PARENT, tracestate="a=b,c=d"), {}),
    (ask(tracestate="a=b"), {}),
    (ask(traceparent="nonsense", tracestate="a=b"), {}),
    (ask(X_Mine="one", X_Other="two"), {CAPTURE + "SERVER_REQUEST": "X-.*,host"}),
    (
        ask(X_Mine="one", Authorization="Bearer x"),
        {CAPTURE + "SERVER_REQUEST": ".*", CAPTURE + "SANITIZE_FIELDS": "auth.*"},
    ),
    (ask(), {CAPTURE + "SERVER_RESPONSE": "X-Trace-Id,Content-Type"}),
    (ask(X_Request_Id="mine"), {CAPTURE + "SERVER_RESPONSE": ".*", LIMITS + "COUNT_LIMIT": "8"}),
    (ask(BAD, User_Agent="test/1"), {}),
    (ask(BODY, "/predict/label"), {}),
    (ask(BODY, "/predict/batch"), {}),
    (message("GET", "/predict/test"), {}),
    (message("GET", "/predict/test/label"), {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}),
    (ask(json.dumps({"data": [OUTLIER]}).encode()), OFF),
    (ask(json.dumps({"data": [OUTLIER]}).encode(), traceparent=UNSAMPLED, tracestate="a=b"), OFF),
]


@pytest.mark.parametrize(("request_", "settings"), CASES, ids=lambda case: str(case)[-60:])
async def test_a_span_is_the_official_one(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, request_: bytes, settings: dict[str, str], official: list[str]
) -> None:
    """The lane's span equals the one that the instrumentation makes of the same request, but for ids and times."""
    ours, spans = await answered(
        outbox.with_name("lane"), monkeypatch, ALL | settings | {"PREDICTOR_FAST_LANE": "on"}, [request_] * 2
    )
    assert official == []
    theirs, expected = await answered(
        outbox.with_name("aiohttp"), monkeypatch, ALL | settings | {"PREDICTOR_FAST_LANE": "off"}, [request_]
    )
    assert len(official) == 1
    wanted = comparable(expected[0], theirs[0])
    assert [comparable(span, answer) for span, answer in zip(spans, ours, strict=True)] == [wanted] * 2


async def test_a_span_of_a_failure_is_the_official_one(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, official: list[str]
) -> None:
    """A 500 is an error in the words of the instrumentation, by the old names and the new ones."""
    request = ask(json.dumps({"data": [[model_folders.FAILS_ABOVE * 2, 0.0]]}).encode())
    folder = model_folders.failing(tmp_path / "model")
    for names in ("http", "http/dup", ""):
        found = []
        for door in ("on", "off"):
            settings = OFF | {"OTEL_SEMCONV_STABILITY_OPT_IN": names, "PREDICTOR_FAST_LANE": door}
            place = outbox.with_name(f"{door}{len(names)}")
            answers, spans = await answered(place, monkeypatch, settings, [request], folder)
            found.append(comparable(spans[0], answers[0]))
            assert spans[0]["status"] == {"code": 2}
        assert found[0] == found[1]
    assert len(official) == 3


async def test_spans_do_not_mix(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of two callers in turns, and one that fails, keep their own user agent and status."""
    mine, other, bad = ask(User_Agent="mine"), ask(User_Agent="other"), ask(BAD, User_Agent="mine")
    answers, spans = await answered(outbox, monkeypatch, ALL, [mine, other, bad] * 2)
    found = [
        (span["attributes"]["user_agent.original"], span["attributes"]["http.response.status_code"]) for span in spans
    ]
    assert found == [("mine", 200), ("other", 200), ("mine", 422)] * 2
    assert [answer.status for answer in answers] == [200, 200, 422] * 2


async def test_callers_cannot_fill_the_memory(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that never repeat leave a bounded number of templates behind, and every span is right all the same."""
    monkeypatch.setattr(server_spans, "_MOST_TEMPLATES", 4)
    kept: list[Any] = []
    init = server_spans.ServerSpans.__init__

    def remembered(self: server_spans.ServerSpans, *more: Any) -> None:  # noqa: ANN401 - handed on
        init(self, *more)
        kept.append(self)

    monkeypatch.setattr(server_spans.ServerSpans, "__init__", remembered)
    requests = [ask(User_Agent=f"agent/{number}") for number in range(10)]
    _, spans = await answered(outbox, monkeypatch, ALL, requests)
    assert [span["attributes"]["user_agent.original"] for span in spans] == [f"agent/{n}" for n in range(10)]
    assert kept[0]._template.cache_info().currsize == 4


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Let the SDK warn of attributes beyond a limit."""
    caplog.set_level(logging.ERROR, "opentelemetry")
