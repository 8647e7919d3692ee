"""Whatever is sent: no body and no header gives a 500, breaks a line of the log, or draws on the terminal."""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.server import Answer, Server, answers, flatten, problem, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALID = b'{"data":[[6.7,3.0,5.2,2.3],[-1,0,1e-9,1E+2]]}'
MOST_ROWS = 8
# Newline, colour, title of the window, backspace, a C1 control, right-to-left override, a byte that is no UTF-8.
DRAWS = "\n\x1b[31m\x1b]0;title\x07\b\x9b2J\u202e"

numbers = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.integers(-(10**40), 10**40),
)
leaves = st.none() | st.booleans() | numbers | st.text()
anything = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
rows = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=MOST_ROWS)
nearly = st.fixed_dictionaries(
    {"data": st.one_of(rows, st.lists(st.lists(numbers | leaves, max_size=5), max_size=MOST_ROWS + 1), anything)},
    optional={"more": anything},
)
documents = st.one_of(anything, nearly, st.builds(lambda data: {"data": data}, rows))
paths = st.sampled_from(["/predict", "/predict/label", "/predict/batch"])


class Caller:
    """A client that checks each answer, and that the log has what was answered."""

    def __init__(self, server: Server) -> None:
        """Use one connection to the server."""
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        (self._log,) = (server.outbox / "v1").glob("*/logs/00000001.jsonl")
        self._read = self._log.stat().st_size

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a request and return the checked answer."""
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())
        news = self._news()
        if answer.status != 200:
            problem(answer, answer.status, answer.json["type"].rsplit(":", 1)[1])
            assert answer.status in {400, 413, 415, 422}, answer
            assert all("error.type" in each for each in news)
            return answer
        fields = answer.json
        predictions = fields.get("predictions", [fields])
        assert all(_finite(each) for each in predictions)
        assert [each["prediction.job_id"] for each in news] == [fields["job_id"]] * len(predictions)
        assert [each["prediction.index"] for each in news] == list(range(len(predictions)))
        assert [each["prediction.outlier_score"] for each in news] == [each["outlier_score"] for each in predictions]
        return answer

    def inputs(self, body: bytes) -> list[list[float]] | None:
        """Return the rows that are to be predicted, by the standard library's parser; None if there are none."""
        try:
            data = json.loads(body.decode("utf-8", "replace"), parse_constant=_refuse)["data"]
            ours = [[_number(each) for each in _list(row)] for row in _list(data)]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if not 1 <= len(ours) <= MOST_ROWS or any(len(row) != 4 for row in ours):
            return None
        return ours

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _news(self) -> list[dict[str, Any]]:
        with self._log.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        self._read += len(lines)
        found = [record for line in lines.splitlines() for record in flatten(json.loads(line))]
        return [record["attributes"] for record in found if record["eventName"] == "prediction"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the real server, its prediction lines shown."""
    outbox = tmp_path_factory.mktemp("payload") / "outbox"
    with Server(outbox, PREDICTOR_BATCH_ROWS=str(MOST_ROWS), PREDICTOR_DISPLAY="on") as server:
        yield server


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    """Return a client of it."""
    caller = Caller(server)
    yield caller
    caller.close()


@pytest.fixture(scope="module")
def callers(server: Server) -> Iterator[Caller]:
    """Return a client that all examples share."""
    caller = Caller(server)
    yield caller
    caller.close()


JSON = {"Content-Type": "application/json"}


@given(paths, documents)
@settings(max_examples=300, deadline=None)
@example("/predict/batch", {"data": [[3.4028235677973366e38, 0, 0, 0]]})
@example("/predict/batch", {"data": [[3.4028235677973362e38, 0, 0, -3.4028235677973362e38]]})
@example("/predict", {"data": [[10**400, 0, 0, 0]]})
@example("/predict", {"data": [[True, 0, 0, 0]]})
def test_any_json(callers: Caller, path: str, document: Any) -> None:  # noqa: ANN401 - any JSON
    """Exactly the documents with usable rows are predicted, each row logged as it was sent; the rest are problems."""
    body = json.dumps(document).encode()
    inputs = callers.inputs(body)
    answer = callers.post(path, body, JSON)
    usable = inputs is not None and (path == "/predict/batch" or len(inputs) == 1)
    assert (answer.status == 200) is usable, answer


@given(paths, st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=150, deadline=None)
def test_any_bytes(callers: Caller, path: str, body: bytes) -> None:
    """No bytes whatever give a 500."""
    assert callers.post(path, body, JSON).status != 200


@given(st.integers(0, len(VALID)), st.integers(0, 3), st.binary(max_size=3))
@settings(max_examples=300, deadline=None)
def test_nearly_valid_bytes(callers: Caller, at: int, cut: int, put: bytes) -> None:
    """A body with a few bytes changed is predicted only if another parser finds usable rows in it, too."""
    body = VALID[:at] + put + VALID[at + cut :]
    answer = callers.post("/predict/batch", body, JSON)
    assert answer.status != 200 or callers.inputs(body) is not None


latin = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60)


@given(
    st.dictionaries(
        st.sampled_from(["X-Request-Id", "traceparent", "tracestate", "baggage", "Content-Type", "User-Agent", "X"]),
        latin,
    )
)
@settings(max_examples=150, deadline=None)
@example({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "\xff=\xff"})
@example({"Content-Type": "application/json; charset=\xff"})
def test_any_header(callers: Caller, headers: dict[str, str]) -> None:
    """No header that HTTP carries gives a 500, and what was acknowledged is logged."""
    callers.post("/predict/batch", VALID, headers)


def test_nothing_draws_on_the_terminal(server: Server) -> None:
    """Control characters and broken UTF-8, wherever they are sent, reach neither stderr nor break a line of the log."""
    escaped = "".join(f"%{byte:02x}" for byte in DRAWS.encode())
    surrogates = json.dumps({"\ud800" + DRAWS: [DRAWS], "data": DRAWS + "\udfff"}).encode()
    before = len(server.stderr_lines)
    requests = [
        (b"GET /" + escaped.encode() + b"%ff%ed%a0%80?" + escaped.encode() + b" HTTP/1.1", b""),
        (b"GET /label HTTP/1.1\r\nUser-Agent: \xff\xed\xa0\x80\r\nX-Request-Id: \x9b2J", b""),
        (b"GET /label HTTP/1.1\r\nX-Request-Id: \x1b[31m", b""),
        (b"GET /\x1b[31m HTTP/1.1", b""),
        (b"POST /predict HTTP/1.1\r\nContent-Type: " + DRAWS[-2:].encode(), b""),
        (b"POST /predict HTTP/1.1\r\nExpect: " + DRAWS[-2:].encode(), b""),
        (b"POST /predict HTTP/1.1", surrogates),
        (b"POST /predict HTTP/1.1", DRAWS.encode() * 9),
    ]
    for head, body in requests:
        sent = head + b"\r\nHost: test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        (answer,) = answers(exchange(server.port, sent))
        assert answer.status in {200, 400, 404, 415, 422}, answer
        assert not re.search(rb"[\x00-\x1f\x7f]", answer.body)
    said = "\n".join(server.stderr_lines[before:])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\udc80-\udcff]", said), said
    assert records(server.outbox)  # every line parses


def test_spans_take_any_header(tmp_path: Path) -> None:
    """Of a traced request no header whatever keeps the answer, the record or the server's span from being written."""
    outbox = tmp_path / "outbox"
    shipping = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "PREDICTOR_FLUSH": "0"}
    with Server(outbox, OTEL_TRACES_SAMPLER="always_on", **shipping) as server:
        for header in (
            b"Host: test",
            b"Host: a\xffb",
            b"Host: [::",
            b"Host: test:port",
            b"Host: ",
            b"Host: test\r\nUser-Agent: \xff\xed\xa0\x80" + "\u202eé".encode(),
            b"Host: test\r\nbaggage: \xa0=\xff",
            b"Host: test\r\ntraceparent: \xff\r\ntracestate: \xff",
            b"Host: test\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: \xff",
        ):
            head = b"POST /predict?%ff%0a HTTP/1.1\r\nContent-Length: 28\r\nConnection: close\r\n" + header
            (answer,) = answers(exchange(server.port, head + b'\r\n\r\n{"data":[[6.7,3.0,5.2,2.3]]}'))
            assert answer.status == 200, (header, answer)
    spans = {
        (span["traceId"], span["spanId"])
        for path in outbox.glob("v1/*/traces/*.jsonl")
        for line in path.read_bytes().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["kind"] == 2
    }
    logged = [record for record in records(outbox) if record["eventName"] == "prediction"]
    assert {(record["traceId"], record["spanId"]) for record in logged} == spans
    assert len(spans) == 9
    assert all(record["flags"] == 1 for record in logged)
    assert not [line for line in server.stderr_lines if "Traceback" in line or "\\ud" in line]


def exchange(port: int, sent: bytes) -> bytes:
    """Send a request that closes its connection and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def _finite(prediction: dict[str, Any]) -> bool:
    probabilities = prediction["prediction"]
    return math.isfinite(prediction["outlier_score"]) and (
        isinstance(probabilities, str) or all(map(math.isfinite, probabilities))
    )


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    with np.errstate(over="ignore"):
        if not math.isfinite(np.float32(float(value) if abs(value) < 1e300 else math.inf)):
            raise ValueError
    return float(value)


def _refuse(word: str) -> None:
    raise ValueError(word)
