"""What a caller is told when there is no prediction: problem details for everything that can be wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
from typing import TYPE_CHECKING, Any

import pytest

from predictor.api import problem_details
from predictor.api.pattern.predict import PatternCodec
from predictor.core.operator_log import Throttle
from predictor.core.problems import Kind
from predictor.http import connection
from predictor.server import app
from predictor.tracing.tracer import Tracer
from tests.support import model_folders
from tests.support.raw_connection import Caller
from tests.support.server import ROW, Here, answers, message, predictions, problem, raw, records, serve

if TYPE_CHECKING:
    from pathlib import Path

JSON = {"Content-Type": "application/json"}
BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'


def refused(outbox: Path, word: str) -> None:
    """Check that the log holds just one refusal, which knows nothing of the rows."""
    (record,) = (record for record in records(outbox) if record["eventName"] == "prediction")
    logged = record["attributes"]
    assert logged["error.type"] == word
    assert logged["http.route"] == "/predict"
    assert logged["prediction.job_id"]
    assert "prediction.index" not in logged
    assert not [name for name in logged if name.startswith(("prediction.input", "prediction.output"))]
    assert record["severityText"] == ("ERROR" if word == "deadline-exceeded" else "WARN")
    assert record["body"]["stringValue"].startswith(f"{word} iris@")


def test_the_list_is_closed() -> None:
    """Each kind has a word and a title of its own, and its type is a URI that ends in the word."""
    assert len({kind.word for kind in Kind}) == len({kind.title for kind in Kind}) == len(Kind)
    assert all(kind.type == f"urn:predictor:problem:{kind.word}" for kind in Kind)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"data=1", "JSON is malformed"),
        (b'{"data":[[1,2,3,4]]', "truncated"),
        (b'{"data":[[1,2,3,4]]} x', "trailing"),
        (b'{"data":[[1,2,3,04]]}', "invalid number"),
        (b"{'data':[[1,2,3,4]]}", "JSON is malformed"),
        (b'{"data":[[NaN,1,2,3]]}', "JSON has no NaN or Infinity"),
        (b'{"data":[[1,Infinity,2,3]]}', "JSON has no NaN or Infinity"),
        (b'{"data":[[1,2,3,-Infinity]]}', "JSON has no NaN or Infinity"),
        ('{"data":[[1,2,3,4]]}'.encode("utf-16"), "byte order mark"),
        (b"\xef\xbb\xbf" + BODY, "byte order mark, which JSON has not"),
        (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b',"data":[[1,2,3,4]]}', "nested too deep"),
    ],
)
async def test_not_json(here: Here, outbox: Path, body: bytes, says: str) -> None:
    """A body that is not JSON is a 400 that says what is wrong with it and what is wanted."""
    answer = await here.post("/predict", data=body, headers=JSON)
    detail = problem(answer, 400, "invalid-json")
    assert says in detail
    assert 'wanted {"data": [[…]]} with rows of 4 finite numbers' in detail
    assert answer.json["instance"] == "/predict"
    refused(outbox, "invalid-json")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b"{}", "missing required field `data`"),
        (b'{"data":null}', "$.data"),
        (b'{"data":{}}', "$.data"),
        (b'{"data":[1,2,3,4]}', "$.data[0]"),
        (b'{"data":[[1,2,3,"4"]]}', "$.data[0][3]"),
        (b'{"data":[[1,2,3,null]]}', "$.data[0][3]"),
        (b'{"data":[[1,2,true,4]]}', "$.data[0][2]"),
        (b'{"data":[[1,2,3,[4]]]}', "$.data[0][3]"),
        (b'{"data":[]}', "data has no rows"),
        (b'{"data":[[]]}', "data[0] has 0 numbers, wanted 4"),
        (b'{"data":[[1,2,3]]}', "data[0] has 3 numbers, wanted 4"),
        (b'{"data":[[1,2,3,4,5]]}', "data[0] has 5 numbers, wanted 4"),
        (b'{"data":[[1,2,3,4],[1,2,3,4],[1,2]]}', "data[2] has 2 numbers, wanted 4"),
        (b'{"data":[[1,2,1e300,4]]}', "data[0][2] is 1e+300, which is not finite as float32"),
        (b'{"data":[[1,2,3,4],[1,-1e39,3,4]]}', "data[1][1] is -1e+39, which is not finite as float32"),
        (b'{"data":[[3.4028235677973366e38,1,1,1]]}', "data[0][0] is 3.40282e+38, which is not finite as float32"),
        (b'{"data":[[1,2,3,1e400]]}', "Number out of range - at `$.data[0][3]`"),
        (b'{"data":[[1,2,3,4],[1,2,3,4]]}', "POST /predict/batch"),
    ],
)
async def test_not_the_shape(here: Here, outbox: Path, body: bytes, says: str) -> None:
    """Data of another shape or type is a 422 that names the row and the place, and what is wanted."""
    assert says in problem(await here.post("/predict", data=body, headers=JSON), 422, "invalid-data")
    refused(outbox, "invalid-data")


async def test_largest_float32(here: Here) -> None:
    """The largest number that float32 holds is taken, also where a double rounds down to it."""
    body = b'{"data":[[3.4028235677973362e38,-3.4028235677973362e38,1,1]]}'
    assert (await here.post("/predict", data=body, headers=JSON)).status == 200


@pytest.mark.parametrize(
    "given",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/octet-stream",
        "application/jsonlines",
        "application/json, text/plain",
        "json",
    ],
)
async def test_not_declared_as_json(here: Here, outbox: Path, given: str) -> None:
    """A body of another type is a 415 that names the wanted one."""
    answer = await here.post("/predict", data=BODY, headers={"Content-Type": given})
    assert "wanted application/json" in problem(answer, 415, "unsupported-media-type")
    refused(outbox, "unsupported-media-type")


@pytest.mark.parametrize(
    "given", ["br", "zstd", "compress", "x-compress", "gzip, gzip", "gzip, br", "x" * 4000, "gzip;q=1", "\u00fc"]
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
async def test_coding_that_is_not_taken(here: Here, outbox: Path, path: str, given: str) -> None:
    """A body in another coding than gzip and deflate is a 415 that names those, in Accept-Encoding too."""
    async with Caller(here.port) as line:
        answer = await line.asks(message("POST", path, BODY, Content_Encoding=given))
        assert "gzip, deflate" in problem(answer, 415, "unsupported-coding")
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"
        assert (await line.asks(message("POST", path, BODY))).status == 200
    first, _ = predictions(outbox)
    assert first["error.type"] == "unsupported-coding"


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(BODY)[:8] + b"\xff" * 30, gzip.compress(BODY)[:-4], b"\x1f"]
)
async def test_broken_compression(here: Here, outbox: Path, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    """A body that is not compressed as it says is a 400, and nothing that the server's own log speaks of."""
    answer = await here.post("/predict", data=body, headers=JSON | {"Content-Encoding": "gzip"})
    assert "Content-Encoding" in problem(answer, 400, "bad-request")
    refused(outbox, "bad-request")
    assert not caplog.records


async def test_broken_chunk(outbox: Path) -> None:
    """A body whose chunks break off after its beginning was read is one that never arrives: a 504 and one record."""
    async with serve(outbox, PREDICTOR_DEADLINE="100ms", PREDICTOR_DRAIN="0") as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        chunked: dict[str, Any] = {"Transfer_Encoding": "chunked", "Content_Length": None}
        writer.write(message("POST", "/predict", Expect="100-continue", **chunked))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # it waits for the body now
        writer.write(b"5\r\n" + BODY[:5] + b"\r\nzz\r\n")
        assert b" 504 " in await reader.readline()
        writer.close()
    refused(outbox, "deadline-exceeded")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/predict", "POST"),
        ("/predict/label", "POST"),
        ("/predict/batch", "POST"),
        ("/predict/test", "GET"),
        ("/predict/test/label", "GET"),
        ("/metadata", "GET, HEAD"),
        ("/label", "GET, HEAD"),
        ("/health", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "PUT", "TRACE"])
async def test_wrong_method(here: Here, path: str, methods: str, method: str) -> None:
    """A path that has no such method is a 405 that names those it has, in Allow too."""
    answer = await here.send(method, path)
    assert problem(answer, 405, "method-not-allowed") == f"{path} takes {methods}, not {method}"
    assert answer.headers["Allow"] == methods


@pytest.mark.parametrize(
    "path",
    ["//", "/nothing", "/predict//", "//predict", "/Predict", "/predict/test/label/x", "/a%0Ab", "/%1b[31m", "/%ff%00"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_unknown_path(here: Here, path: str, method: str) -> None:
    """An unknown path is a 404, whatever the method and whatever characters it holds."""
    (answer,) = answers(await raw(here.port, message(method, path, Connection="close")))
    assert "GET /metadata" in problem(answer, 404, "not-found")
    assert answer.headers["X-Trace-Id"]


@pytest.mark.parametrize(("method", "path"), [("OPTIONS", "*"), ("CONNECT", "test:80")])
async def test_no_path(here: Here, method: str, path: str) -> None:
    """What asks for no path at all is a 404 as well."""
    (answer,) = answers(await raw(here.port, message(method, path, Connection="close")))
    problem(answer, 404, "not-found")


async def test_unknown_expectation(here: Here, outbox: Path) -> None:
    """An expectation that HTTP does not know is a 400."""
    (answer,) = answers(await raw(here.port, message("POST", "/predict", BODY, Expect="tea", Connection="close")))
    assert "tea" in problem(answer, 400, "bad-request")
    assert not predictions(outbox)


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x00\xff\x16\x03\r\n\r\n",
        bytes.fromhex("16030100f5010000f1"),  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",  # the preface of HTTP/2
        b"GET /health HTTP/1.1\r\n\r\n",  # no Host
        b"GET /health HTTP/1.1\r\nHost: test\r\nX: \x1b[31m\r\n\r\n",
        b"GET /health\nx HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n",
        b"FETCH /health HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: \r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /health HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: test\rX: b\r\n\r\n",
    ],
    ids=lambda sent: sent[:24].hex(),
)
async def test_not_http(here: Here, outbox: Path, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """What is no HTTP/1.1 is a 400 problem and the end of the connection, without a record or a line of the log."""
    (answer,) = answers(await raw(here.port, sent))
    assert "this is not HTTP/1.1 as this server accepts it" in problem(answer, 400, "bad-request")
    assert len(records(outbox)) == 1
    assert not caplog.records


LINE = b"GET /health HTTP/1.1\r\nHost: test\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        LINE + b"X: " + b"x" * 8192,
        LINE + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
        LINE + b"X" * 8192 + b": x",
        LINE + b"".join(b"X%d: x\r\n" % n for n in range(129)),
        LINE + b"".join(b"X%d: x\r\n" % n for n in range(1000)) + b"\r\n",
        LINE + b"".join(b"X%d: %b\r\n" % (n, b"x" * 8000) for n in range(5)),
        LINE + b"".join(b"X%d: %b\r\n" % (n, b"x" * 8000) for n in range(5)) + b"\r\n",
        LINE + b"".join(b"X%d: %b\r\n" % (n, b"x" * 1000) for n in range(33)) + b"\r\n",
        message("POST", "/predict", BODY) + LINE + b"".join(b"X%d: %b\r\n" % (n, b"x" * 8000) for n in range(5)),
    ],
    ids=range(9),
)
async def test_headers_that_are_too_large(
    here: Here, outbox: Path, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """More than 8 kB of one header, 32 kB of all or 128 headers are a 431 as soon as they have come, and the end."""
    *before, answer = answers(await raw(here.port, sent))
    assert [each.status for each in before] == [200] * sent.startswith(b"POST")
    problem(answer, 431, "headers-too-large")
    assert len(predictions(outbox)) == len(before)
    assert not caplog.records


async def test_headers_that_fit(here: Here) -> None:
    """A header of 8 kB is taken, and so are 31 kB of all, in one packet or in many, one request after the other."""
    many = b"".join(b"X%d: %b\r\n" % (n, b"x" * 8000) for n in range(3)) + b"Y: " + b"y" * 7000 + b"\r\n"
    sent = LINE + many + b"Content-Length: 0\r\n\r\n"
    async with Caller(here.port) as line:
        for _ in range(3):
            assert (await line.asks(sent)).status == 200
        for _ in range(2):
            for at in range(0, len(sent), 5000):
                line.writer.write(sent[at : at + 5000])
                await asyncio.sleep(0.002)
            assert (await line.answer()).status == 200


@pytest.mark.parametrize("length", [8192, 40_000, 200_000])
@pytest.mark.parametrize("end", [b"", b" HTTP/1.1\r\nHost: test\r\n\r\n"])
async def test_path_that_is_too_long(here: Here, outbox: Path, end: bytes, length: int) -> None:
    """A path of more than 8 kB is a 414 and the end of the connection, without a record."""
    (answer,) = answers(await raw(here.port, b"POST /" + b"x" * length + end))
    problem(answer, 414, "uri-too-long")
    assert len(records(outbox)) == 1


@pytest.mark.xfail(strict=True, reason="llhttp, aiohttp's parser and httptools', takes more than one space")
async def test_two_spaces_in_the_request_line(here: Here) -> None:
    """A request line has one space between its parts."""
    async with Caller(here.port) as line:
        problem(await line.asks(LINE.replace(b"GET ", b"GET  ") + b"\r\n"), 400, "bad-request")


async def test_no_versions(here: Here) -> None:
    """No answer says which versions of what stand behind it."""
    for path in ("/predict/test", "/label", "/health", "/nothing", "/"):
        assert (await here.get(path)).headers["Server"] == "predictor"
    for sent in (b"x\r\n\r\n", message("OPTIONS", "*", Connection="close"), message("GET", "http://[/")):
        (answer,) = answers(await raw(here.port, sent))
        assert answer.headers["Server"] == "predictor"


async def test_fault_of_our_own(
    here: Here, outbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the server is a 500 that shows nothing of its inside; the log has the trace id, once a minute."""

    def fail(*_: object) -> None:
        msg = "the inside"
        raise RuntimeError(msg)

    monkeypatch.setattr(problem_details, "_throttle", Throttle())
    monkeypatch.setattr(here.app[app.MODELS].catalog.meant().pipeline, "check_room", fail)
    first = await here.post("/predict", json={"data": [ROW]})
    await here.post("/predict", json={"data": [ROW]})
    assert "the inside" not in problem(first, 500, "internal-error")
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert line.__dict__["trace_id"] == first.headers["X-Trace-Id"]
    assert "the inside" in caplog.text
    assert [p["error.type"] for p in predictions(outbox)] == ["internal-error"] * 2
    assert records(outbox)[-1]["severityText"] == "ERROR"


async def test_fault_outside_of_the_handler(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails around a call is a problem as well, and one line of the log a minute."""

    def fail(*_: object) -> None:
        msg = "the inside"
        raise RuntimeError(msg)

    monkeypatch.setattr(connection, "_throttle", Throttle())
    monkeypatch.setattr(Tracer, "begin", fail)
    for _ in range(2):
        assert "the inside" not in problem(await here.get("/label"), 500, "internal-error")
    (line,) = caplog.records
    assert line.exc_info


async def test_an_answer_that_cannot_be_made(
    here: Here, outbox: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """Where the answer fails after the record of its prediction, the log has that record, and no failure beside it."""

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(PatternCodec, "encode", fail)
    received = b""
    ends = "close" if door == "aiohttp" else None  # the fast lane ends such a connection
    with contextlib.suppress(ConnectionError):
        sent = message("POST", "/predict", BODY, Connection=ends, Content_Type="application/json")
        received = await raw(here.port, sent)
    assert received[:13] == (b"HTTP/1.1 500 " if door == "aiohttp" else b"")
    assert [p.get("error.type") for p in predictions(outbox)] == [None]


async def test_model_fails(outbox: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model that raises is a 500 for the rows it ran on, each recorded as failed; the next rows are predicted."""
    async with serve(outbox, model_folders.failing(tmp_path / "failing")) as here:
        answer = await here.post("/predict/batch", json={"data": [[1, 2], [model_folders.FAILS_ABOVE + 1, 2]]})
        problem(answer, 500, "model-failed")
        good = await here.post("/predict/batch", json={"data": [[1, 2], [3, 4]]})
        assert good.status == 200
    failed, also, *rest = predictions(outbox)
    assert failed["error.type"] == also["error.type"] == "model-failed"
    assert failed["prediction.job_id"] == also["prediction.job_id"]
    assert [failed["prediction.index"], also["prediction.index"]] == [0, 1]
    assert also["prediction.input.first"] == model_folders.FAILS_ABOVE + 1
    assert "prediction.output" not in failed
    assert [p["prediction.job_id"] for p in rest] == [good.json["job_id"]] * 2
    assert [line.levelname for line in caplog.records] == ["ERROR"]


async def test_model_gives_nan(outbox: Path, tmp_path: Path) -> None:
    """A number that is not finite never leaves: a 500 for that request, and a record that says so."""
    async with serve(outbox, model_folders.giving_nan(tmp_path / "nan")) as here:
        bad, good = {"data": [[model_folders.NAN_BELOW - 1, 2]]}, {"data": [[1, 2]]}
        assert "finite" in problem(await here.post("/predict", json=bad), 500, "model-failed")
        assert (await here.post("/predict", json=good)).status == 200
    assert [p.get("error.type") for p in predictions(outbox)] == ["model-failed", None]


async def test_draining(here: Here, outbox: Path) -> None:
    """What still comes when the socket is closed is a 503 that may be tried again at once elsewhere."""
    here.app[app.MODELS].catalog.meant().pipeline.draining = True
    answer = await here.post("/predict", json={"data": [ROW]})
    problem(answer, 503, "draining")
    assert answer.headers["Retry-After"] == "1"
    problem(await here.get("/predict/test"), 503, "draining")
    assert [p["error.type"] for p in predictions(outbox)] == ["draining"] * 2


async def test_refusals_of_each_route(here: Here, outbox: Path) -> None:
    """A refusal is recorded under the route that was asked."""
    for path in ("/predict", "/predict/label", "/predict/batch"):
        problem(await here.post(path, data=b"x", headers=JSON), 400, "invalid-json")
    assert [p["http.route"] for p in predictions(outbox)] == ["/predict", "/predict/label", "/predict/batch"]


async def test_lone_surrogates(here: Here) -> None:
    """Text that UTF-8 cannot hold draws no error of the server: neither in a key nor in a value."""
    for body in (rb'{"\ud800":1,"data":[[1,2,3,4]]}', rb'{"x":"\udfff","data":[[1,2,3,4]]}', rb'{"data":"\ud83d"}'):
        assert (await here.post("/predict", data=body, headers=JSON)).status in {200, 400, 422}
