"""The part about the inference protocol: what is sent is what the page says, and wrong answers are seen."""

from __future__ import annotations

import re
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnxruntime as ort
import pytest

from bench import dialects, evidence, image_models, protocol, rounds, running, tables, triton_load, wrk
from bench.model_repository import file_of, repository
from bench.open_inference import OpenInference
from bench.pinned import BenchError
from bench.setting import IMAGES, Setting
from predictor.inference.model import load
from predictor.recording.record_schema import schema_of
from tests.support.external_programs import on_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

V2 = OpenInference()
CORE = running.Cores(0, 0).load


class Seen(ThreadingHTTPServer):
    """Keeps the bodies that come, with where their binary data begins."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), SeenHandler)
        self.asked: list[tuple[str | None, str | None, bytes]] = []

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that wrk leaves."""


class SeenHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Seen

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.headers["Content-Type"], self.headers["Inference-Header-Content-Length"], body))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Yield a server that keeps what was asked."""
    server = Seen()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "setting", sorted({each._replace(client="wrk") for each in protocol.SETTINGS if each.form != "grpc"})
)
def test_wrk_sends_the_requests_as_they_are_made(setting: Setting, seen: Seen, tmp_path: Path) -> None:
    """Every request arrives byte for byte, binary data behind its JSON, with the headers that say where it begins."""
    on_path("wrk")
    questions = dialects.questions(V2, setting, tmp_path)
    wrk.load_with((), f"http://127.0.0.1:{seen.server_port}/", questions.file, 2, 1)
    binary = setting.form == "binary"
    wanted = {
        (
            "application/octet-stream" if binary else "application/json",
            str(len(body.json)) if binary else None,
            body.json + body.binary,
        )
        for body in questions.bodies
    }
    assert wanted == {*seen.asked}


@pytest.mark.parametrize("form", ["json", "binary"])
@pytest.mark.parametrize("model", ["iris", *IMAGES])
def test_an_answer_of_either_form_is_held_to_the_file(model: str, form: str) -> None:
    """Outputs in JSON and behind it are compared with what ONNX Runtime gives for the first request."""
    setting = Setting(1, 1, model, "binary" if form == "binary" else "json")
    expected = V2.expected(setting)
    name, numbers = next(iter(expected.items()))
    output: dict[str, object] = {"name": name, "datatype": "FP32", "shape": [1, len(numbers)]}
    data = np.array(numbers, "<f4").tobytes()
    more = {"data": numbers} if form == "json" else {"parameters": {"binary_data_size": len(data)}}
    answer = msgspec.json.encode({"outputs": [output | more]}) + (b"" if form == "json" else data)
    dialects.check("it", V2.numbers(answer), expected, answer)
    off = {**expected, name: [number + 1 for number in numbers]}
    for wrong in (off, {**expected, name: numbers[1:]}):
        with pytest.raises(BenchError, match="it answers"):
            dialects.check("it", V2.numbers(answer), wrong, answer)
    with pytest.raises(BenchError, match="it answers"):
        dialects.check("it", {}, expected, b'{"outputs":[]}')


def test_json_and_binary_hold_the_same_numbers() -> None:
    """Both forms ask for the same images, to the last bit of float32."""
    (as_json, *_), (binary, *_) = (V2.bodies(Setting(1, 1, "image-5ms", form)) for form in ("json", "binary"))
    assert V2.bodies(Setting(1, 1, "image-5ms", "grpc"))[0].binary == binary.binary
    listed = msgspec.json.decode(as_json.json)["inputs"][0]["data"]
    assert np.array_equal(np.array(listed, np.float32), np.frombuffer(binary.binary, "<f4"))


def test_the_models_of_images_are_served(tmp_path: Path) -> None:
    """The repository holds iris and both images; what the server loads gives what ONNX Runtime gives alone."""
    models = repository(tmp_path)
    image = image_models.images(1)
    for name in IMAGES:
        file = file_of(models, name)
        (scores,) = ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"image": image})
        own = load(file).run_feed({"image": image}).own
        assert own
        assert np.array_equal(own["scores"], scores)
    assert load(models / "iris").description.name == "iris"
    assert not schema_of(load(models / "iris").description).many_rows
    assert schema_of(load(repository(tmp_path, per_request=True) / "iris").description).many_rows


def test_rows_of_one_record_are_counted_each() -> None:
    """A record of many rows counts as many predictions, and a row that is missing in it ends the run."""
    each = replace(next(each for each in protocol.VARIANTS if each.per_request), traced=0.0)
    attributes = [{"key": "prediction.stream.sequence", "value": {"intValue": "7"}}]
    record = {"eventName": "prediction", "attributes": [*attributes, _rows(131)]}
    other = {
        "eventName": "prediction",
        "attributes": [{"key": attributes[0]["key"], "value": {"intValue": "8"}}, _rows(125)],
    }
    scope = {"scope": {"attributes": [{"key": "prediction.stream.id", "value": {"stringValue": "s"}}]}}
    found = evidence.Evidence()
    for one in (record, other, record):  # a copy counts once
        found.add(msgspec.json.encode({"resourceLogs": [{"scopeLogs": [scope | {"logRecords": [one]}]}]}))
    assert found.recorded == 256
    found.check(each, 1, 1, 256)
    with pytest.raises(BenchError, match="256 records for 512"):
        found.check(each, 2, 1, 256)


def _rows(count: int) -> dict[str, object]:
    return {"key": "prediction.rows", "value": {"intValue": str(count)}}


def test_a_server_without_a_form_says_so_in_its_row() -> None:
    """Who has not the binary extension stands in that table with what he answers, and in the others with figures."""
    setting = Setting(8, 1, form="binary")
    (mlserver,) = (each for each in protocol.VARIANTS if each.program == "mlserver")
    assert not mlserver.answers(setting)
    assert mlserver.answers(setting._replace(form="json"))
    assert mlserver.answers(setting._replace(form="grpc"))
    head, _, row = tables.side_by_side([mlserver], setting, rounds.Results({}, {}))
    assert "status 422" in row
    assert row.count("|") == head.count("|")


def test_tritonclient_asks_as_callers_do(tmp_path: Path) -> None:
    """Each caller has its answer before it asks again, and every request is a prediction of this server."""
    try:
        triton_load.version()
    except BenchError as missing:
        pytest.skip(str(missing))
    each = replace(next(each for each in protocol.VARIANTS if each.name == protocol.OFF), repository=False)
    server = running.Running(each, tmp_path, running.Cores(CORE, CORE), None)
    try:
        server.server.go_on()
        load = server.load(Setting(2, 1, form="binary", client="tritonclient"), 1)
    finally:
        server.end()
    assert load.requests > 2
    assert load.errors == 0
    assert 0 < load.p50 <= load.p99


def test_tritonclient_asks_by_grpc(tmp_path: Path) -> None:
    """By gRPC too each caller has its answer before it asks again, and the first one is held to the model's numbers."""
    try:
        triton_load.version()
    except BenchError as missing:
        pytest.skip(str(missing))
    each = next(each for each in protocol.VARIANTS if each.name == protocol.OFF)
    server = running.Running(each, tmp_path, running.Cores(CORE, CORE), None)
    setting = Setting(2, 3, form="grpc", client="tritonclient")
    try:
        server.check(setting)
        load = server.load(setting, 1)
        unknown = setting._replace(model="nothing")
        questions = dialects.questions(V2, setting, tmp_path)
        with pytest.raises(BenchError, match=r"(?s)over gRPC: .*there is no model"):
            triton_load.run_grpc(server._place, unknown.model, questions.file, 1, 1, CORE)
    finally:
        server.end()
    assert load.requests > 2
    assert load.errors == 0
    assert 0 < load.p50 <= load.p99


def test_what_tritonclient_is_refused_ends_the_measurement(seen: Seen, tmp_path: Path) -> None:
    """A server that gives no answer of the protocol is a fault with a reason, not a row of figures."""
    try:
        triton_load.version()
    except BenchError as missing:
        pytest.skip(str(missing))
    questions = dialects.questions(V2, Setting(1, 1), tmp_path)
    with pytest.raises(BenchError, match="tritonclient failed"):
        triton_load.run(f"http://127.0.0.1:{seen.server_port}{questions.path}", questions.file, 1, 1, CORE)


def test_every_setting_has_a_title_of_its_own() -> None:
    """Two tables never have the same heading, and each says model, form and client where they differ."""
    titles = [each.title for each in protocol.SETTINGS]
    assert len({*titles}) == len(titles)
    assert Setting(1, 1).title == "1 connection"
    assert re.search("image-5ms, binary, 8 connections, tritonclient", "\n".join(titles))
    assert re.search("iris, gRPC, 32 connections, 256 rows a request, tritonclient", "\n".join(titles))
