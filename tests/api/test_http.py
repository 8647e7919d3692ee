"""The HTTP contract: every call with its exact fields, what surrounds them, and what is logged of it."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor.server import app
from tests.support.raw_connection import Caller
from tests.support.server import ROW, answers, message, model, predictions, raw, records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Answer, Here

BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
SAMPLE = [5.1, 3.5, 1.4, 0.2]
ODD = [60.0, 0.1, 0.1, 99.0]
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
LABELS = ["setosa", "versicolor", "virginica"]


def expected(*rows: list[float]) -> tuple[list[list[float]], list[bool], list[float]]:
    """Return what the model itself gives: probabilities, outliers, scores as Python numbers."""
    outputs = model().run(np.array(rows, np.float32))
    assert outputs.outliers is not None
    assert outputs.scores is not None
    return outputs.probabilities.tolist(), outputs.outliers.tolist(), outputs.scores.tolist()


def checked(answer: Answer) -> dict[str, Any]:
    """Return the JSON of a successful answer."""
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/json"
    fields = answer.json
    assert isinstance(fields, dict)
    return fields


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/health", {"health": "ok"}),
        ("/livez", {"live": True}),
        ("/label", {"0": "setosa", "1": "versicolor", "2": "virginica"}),
    ],
)
async def test_constants(here: Here, path: str, fields: dict[str, Any]) -> None:
    """What never changes is answered with exactly the published fields."""
    assert checked(await here.get(path)) == fields


async def test_metadata(here: Here) -> None:
    """The metadata has the pattern's nine fields and more, and its samples are what the model really gives."""
    (probabilities,), (outlier,), (score,) = expected(SAMPLE)
    assert checked(await here.get("/metadata")) == {
        "data_type": "float32",
        "data_structure": "(1,4)",
        "data_sample": [SAMPLE],
        "prediction_type": "float32",
        "prediction_structure": "(1,3)",
        "prediction_sample": probabilities,
        "outlier_type": "bool, float32",
        "outlier_structure": "(1,2)",
        "outlier_sample": [outlier, score],
        "batch": True,
        "task": "classification",
        "prediction_names": LABELS,
        "features": [
            {"name": name, "alias": name, "datatype": "FP32", "unit": "cm", "missing": False}
            for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")
        ],
        "models": [
            {
                "name": "iris",
                "version": model().description.version,
                "digest": model().digest,
                "task": "classification",
                "default": True,
            }
        ],
    }


async def test_ready(here: Here, outbox: Path) -> None:
    """A server that is ready says so, with the state of its log."""
    fields = checked(await here.get("/readyz"))
    assert fields["ready"] is True
    assert fields["reason"] is None
    assert fields["stream"] == records(outbox)[0]["stream"]
    assert fields["records"] == 1
    assert fields["lost"] == fields["rejected"] == fields["shipped"] == fields["backlog_bytes"] == 0
    assert fields["shipping_problem"] is None


@pytest.mark.parametrize("path", ["/predict", "/predict/label"])
@pytest.mark.parametrize("row", [ROW, SAMPLE, ODD])
async def test_predict(here: Here, outbox: Path, path: str, row: list[float]) -> None:
    """One row is answered with the model's unrounded float32 outputs, and the record holds the very same numbers."""
    (probabilities,), (outlier,), (score,) = expected(row)
    fields = checked(await here.post(path, json={"data": [row]}))
    label = LABELS[int(np.argmax(probabilities))]
    job_id = fields.pop("job_id")
    assert UUID7.fullmatch(job_id)
    assert fields == {
        "prediction": label if path.endswith("label") else probabilities,
        "is_outlier": outlier,
        "outlier_score": score,
    }
    assert all(float(np.float32(number)) == number for number in [*probabilities, score])

    (record,) = (record for record in records(outbox) if record["eventName"] == "prediction")
    logged = record["attributes"]
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert [logged[f"prediction.input.{name}"] for name in names] == row
    assert logged["prediction.job_id"] == job_id
    assert logged["prediction.index"] == 0
    assert logged["prediction.output"] == str(probabilities).replace(" ", "")
    assert logged["prediction.label"] == label
    assert logged["prediction.confidence"] == max(probabilities)
    assert logged["prediction.outlier"] is outlier
    assert logged["prediction.outlier_score"] == score
    assert logged["http.route"] == path
    assert logged["prediction.batch.size"] == 1
    assert "error.type" not in logged
    assert record["severityText"] == ("WARN" if outlier else "INFO")
    assert record["body"]["stringValue"].startswith(f"{'OUTLIER ' if outlier else ''}{label} ")


@pytest.mark.parametrize("path", ["/predict/test", "/predict/test/label"])
async def test_sample(here: Here, outbox: Path, path: str) -> None:
    """The sample is predicted and logged like any other row, anew at every call."""
    (probabilities,), (outlier,), (score,) = expected(SAMPLE)
    first, second = checked(await here.get(path)), checked(await here.get(path))
    job_ids = [first.pop("job_id"), second.pop("job_id")]
    assert len(set(job_ids)) == 2
    prediction = "setosa" if path.endswith("label") else probabilities
    assert first == second == {"prediction": prediction, "is_outlier": outlier, "outlier_score": score}
    assert [(p["prediction.job_id"], p["http.route"]) for p in predictions(outbox)] == [(j, path) for j in job_ids]


async def test_batch(here: Here, outbox: Path) -> None:
    """A batch is answered row by row in order, and has one record a row with the same job id and its own index."""
    rows = [ROW, SAMPLE, ODD, ROW, [0.0, -1.5, 7, 1e30]]
    fields = checked(await here.post("/predict/batch", json={"data": rows}))
    assert UUID7.fullmatch(fields["job_id"])
    assert fields == {
        "job_id": fields["job_id"],
        "predictions": [
            {"prediction": prediction, "is_outlier": outlier, "outlier_score": score}
            for prediction, outlier, score in zip(*expected(*rows), strict=True)
        ],
    }
    logged = predictions(outbox)
    assert {p["prediction.job_id"] for p in logged} == {fields["job_id"]}
    assert [p["prediction.index"] for p in logged] == [0, 1, 2, 3, 4]
    assert [p["prediction.input.petal_width"] for p in logged] == [row[3] for row in rows]
    assert [p["prediction.outlier_score"] for p in logged] == [p["outlier_score"] for p in fields["predictions"]]
    assert {p["prediction.batch.size"] for p in logged} == {5}


async def test_batch_of_one(here: Here) -> None:
    """One row may also come as a batch."""
    fields = checked(await here.post("/predict/batch", json={"data": [ROW]}))
    assert len(fields["predictions"]) == 1


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/predict/test", "/predict/test/label"])
async def test_head_never_predicts(here: Here, outbox: Path, path: str) -> None:
    """HEAD is refused where an answer would be a prediction, and nothing is logged."""
    answer = await here.send("HEAD", path)
    assert answer.status == 405
    assert answer.body == b""
    assert [record["eventName"] for record in records(outbox)] == ["prediction.stream.opened"]


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metadata", "/label"])
async def test_head(here: Here, path: str) -> None:
    """HEAD is GET without the body where nothing is predicted."""
    whole, answer = await here.get(path), await here.send("HEAD", path)
    assert answer.status == 200
    assert answer.body == b""
    assert answer.headers["Content-Length"] == str(len(whole.body))


async def test_only_predictions_are_logged(here: Here, outbox: Path) -> None:
    """Probes, metadata, unknown paths and wrong methods do not fill the log."""
    for method, path in (("GET", "/health"), ("GET", "/metadata"), ("GET", "/nothing"), ("PUT", "/predict")):
        await here.send(method, path)
    assert len(records(outbox)) == 1


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128])
async def test_request_id(here: Here, outbox: Path, given: str) -> None:
    """A usable X-Request-Id is echoed and recorded."""
    answer = await here.post("/predict", json={"data": [ROW]}, headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == given
    (logged,) = predictions(outbox)
    assert logged["prediction.request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", "ä", "a\tb", "a,b", "{}"])
async def test_unusable_request_id(here: Here, outbox: Path, given: str) -> None:
    """Any other X-Request-Id is ignored: neither echoed nor recorded, and no reason to refuse."""
    head = message("POST", "/predict", BODY, Connection="close", X_Request_Id=given)
    (answer,) = answers(await raw(here.port, head))
    assert answer.status == 200
    assert "X-Request-Id" not in answer.headers
    (logged,) = predictions(outbox)
    assert "prediction.request_id" not in logged


async def test_request_id_of_an_error(here: Here, outbox: Path) -> None:
    """A refused request has its caller's id in the answer and in the record, too."""
    answer = await here.post("/predict", data=b"[", headers={"X-Request-Id": "mine", "Content-Type": "text/json"})
    assert answer.status == 422
    assert answer.headers["X-Request-Id"] == "mine"
    (logged,) = predictions(outbox)
    assert logged["prediction.request_id"] == "mine"


async def test_traceparent(here: Here, outbox: Path) -> None:
    """A valid traceparent gives the answer and the record its trace id; the span id is the server's own."""
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    answer = await here.post("/predict", json={"data": [ROW]}, headers=headers)
    assert answer.headers["X-Trace-Id"] == TRACE
    record = records(outbox)[-1]
    assert record["traceId"] == TRACE
    assert re.fullmatch(r"[0-9a-f]{16}", record["spanId"])
    assert record["spanId"] != PARENT


@pytest.mark.parametrize(
    "given",
    [
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE[:-1]}x-{PARENT}-01",
        "nonsense",
        "",
    ],
)
async def test_invalid_traceparent(here: Here, outbox: Path, given: str) -> None:
    """An invalid traceparent is ignored: the request gets a trace id of its own."""
    answer = await here.post("/predict", json={"data": [ROW]}, headers={"traceparent": given})
    assert answer.status == 200
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Trace-Id"])
    assert answer.headers["X-Trace-Id"] not in {TRACE, "0" * 32}
    assert records(outbox)[-1]["traceId"] == answer.headers["X-Trace-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/label", 200),
        ("GET", "/metadata", 200),
        ("GET", "/predict/test", 200),
        ("GET", "/nothing", 404),
        ("GET", "/predict", 405),
        ("POST", "/predict", 415),
    ],
)
async def test_trace_id_of_every_answer(here: Here, method: str, path: str, status: int) -> None:
    """Every answer but a probe's carries its trace id, another one each time."""
    first, second = await here.send(method, path), await here.send(method, path)
    assert first.status == second.status == status
    ids = {first.headers["X-Trace-Id"], second.headers["X-Trace-Id"]}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "text/json",
        "application/vnd.example.v1+json",
    ],
)
async def test_content_type_of_json(here: Here, given: str | None) -> None:
    """JSON may be declared as any JSON type, with or without charset, or not at all."""
    more = {} if given is None else {"Content_Type": given}
    (answer,) = answers(await raw(here.port, message("POST", "/predict", BODY, Connection="close", **more)))
    assert answer.status == 200


async def test_charset_is_utf8(here: Here) -> None:
    """JSON is UTF-8 whatever the charset says: another encoding is refused as such."""
    body = BODY.decode().encode("utf-16")
    answer = await here.post("/predict", data=body, headers={"Content-Type": "application/json; charset=utf-16"})
    assert answer.status == 400


def raw_deflate(body: bytes) -> bytes:
    """Compress without the header that deflate has by its specification."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip, identity", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
    ids=range(9),
)
async def test_compressed_body(here: Here, name: str, compress: Any) -> None:  # noqa: ANN401 - a function of bytes
    """A compressed body is taken."""
    headers = {"Content-Encoding": name, "Content-Type": "application/json"}
    answer = await here.post("/predict", data=compress(BODY), headers=headers)
    assert answer.status == 200


async def test_chunked_body(here: Here, outbox: Path) -> None:
    """A body in chunks, whatever their borders, is the same body."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    (answer,) = answers(await raw(here.port, head, chunks[:50], chunks[50:]))
    assert answer.status == 200
    assert len(predictions(outbox)) == 1


async def test_pipelined_requests(here: Here, outbox: Path) -> None:
    """Requests sent at once over one connection are answered in their order, a refused one among them."""
    received = await raw(
        here.port,
        message("POST", "/predict", BODY)
        + message("GET", "/label")
        + message("POST", "/predict/label", b"[]")
        + message("POST", "/predict/label", BODY, Connection="close"),
    )
    first, label, refused, last = answers(received)
    assert [first.status, label.status, refused.status, last.status] == [200, 200, 422, 200]
    assert last.json["prediction"] == "virginica"
    assert [p["prediction.job_id"] for p in predictions(outbox)][::2] == [first.json["job_id"], last.json["job_id"]]


async def test_expect_continue(here: Here) -> None:
    """A client that asks first is told to go on, then answered."""
    head = message("POST", "/predict", BODY, Expect="100-continue", Connection="close")
    go_on, answer = answers(await raw(here.port, head))
    assert go_on.status == 100
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/label", "/predict/test", "/predict/test/label"])
async def test_slash_behind_a_call_that_predicts(here: Here, outbox: Path, path: str) -> None:
    """A slash behind the path is the same call, recorded as that."""
    method = "GET" if "test" in path else "POST"
    async with Caller(here.port) as line:
        for each in (path, f"{path}/"):
            assert (await line.asks(message(method, each, BODY))).status == 200
        refused = await line.asks(message("POST" if "test" in path else "GET", f"{path}/"))
    assert refused.status == 405
    assert method in refused.headers["Allow"]
    assert refused.json["instance"] == f"{path}/"
    assert [p["http.route"] for p in predictions(outbox)] == [path, path]


@pytest.mark.parametrize("path", ["/metadata", "/label", "/health", "/livez", "/readyz"])
async def test_slash_behind_a_call(here: Here, path: str) -> None:
    """A slash behind the path is the same call."""
    assert (await here.get(f"{path}/")).status == (await here.send("HEAD", f"{path}/")).status == 200
    assert (await here.get(f"{path}/")).json.keys() == (await here.get(path)).json.keys()


async def test_http_1_0(here: Here) -> None:
    """A client of HTTP/1.0 is answered and its connection closed."""
    (answer,) = answers(await raw(here.port, b"GET /label HTTP/1.0\r\n\r\n"))
    assert answer.status == 200


async def test_query_is_ignored(here: Here, outbox: Path) -> None:
    """A query changes nothing and is not recorded."""
    answer = await here.post("/predict?token=secret", json={"data": [ROW]})
    assert answer.status == 200
    assert "secret" not in str(records(outbox))


async def test_draining_is_not_ready(here: Here) -> None:
    """From SIGTERM on the server is not ready but alive, and what comes is still answered."""
    here.app[app.HEALTH].terminating = True
    ready = await here.get("/readyz")
    assert ready.status == 503
    assert ready.json["ready"] is False
    assert ready.json["reason"] == "shutting down"
    assert (await here.get("/livez")).status == 200
    assert (await here.post("/predict", json={"data": [ROW]})).status == 200
