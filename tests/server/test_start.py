"""The command line and the start: what a person sees, and the one sentence with which a start fails."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import predictor
from predictor.config.settings import table
from tests.support import model_folders
from tests.support.server import IRIS, ROOT, ROW, Server, environment, predictions, records, run

if TYPE_CHECKING:
    from pathlib import Path

BODY = json.dumps({"data": [ROW]})


def post(port: int, body: str = BODY) -> tuple[int, bytes]:
    """Post to /predict and return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def failed(outbox: Path, *arguments: str, **settings: str) -> str:
    """Return the sentence with which a start fails; it is the last line, and there is no traceback."""
    ended = run(*arguments, outbox=outbox, **settings)
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    *before, sentence = ended.stderr.splitlines()
    assert not [line for line in before if json.loads(line)["level"] == "error"]
    assert sentence.startswith("predictor: ")
    return sentence.removeprefix("predictor: ")


def test_bad_setting(outbox: Path) -> None:
    """A bad setting stops the start and check alike, with the settings' own sentence, before anything is touched."""
    wanted = "PREDICTOR_DEADLINE is 'soon', wanted a time such as 250ms, 10s or 5m, at least 0.001 s"
    assert failed(outbox, PREDICTOR_DEADLINE="soon") == wanted
    assert failed(outbox, "check", PREDICTOR_DEADLINE="soon") == wanted
    assert not outbox.exists()


def test_service_link(outbox: Path) -> None:
    """In a pod with service links the sentence names the cause."""
    sentence = failed(outbox, PREDICTOR_PORT="tcp://10.0.0.7:8000")
    assert "enableServiceLinks: false" in sentence


def test_port_in_use(outbox: Path) -> None:
    """A port that is taken is named with its settings; the stream that was begun is closed again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = failed(outbox, PREDICTOR_PORT=str(port))
    assert sentence == (
        f"cannot listen on 127.0.0.1 port {port} (PREDICTOR_HOST, PREDICTOR_PORT): Address already in use"
    )
    assert [each["eventName"] for each in records(outbox)] == ["prediction.stream.opened", "prediction.stream.closed"]


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 64])
def test_host_that_is_not_here(outbox: Path, host: str) -> None:
    """An address that this machine does not have is named with its settings."""
    assert failed(outbox, PREDICTOR_HOST=host).startswith(f"cannot listen on {host} port 0 (PREDICTOR_HOST, PREDICTOR_")


def test_no_model(outbox: Path, tmp_path: Path) -> None:
    """A model folder that is not there is named with its setting."""
    sentence = failed(outbox, PREDICTOR_MODEL=str(tmp_path / "gone"))
    folder = tmp_path / "gone"
    assert sentence == (
        f"PREDICTOR_MODEL is '{folder}', wanted an ONNX file or a folder of models: "
        f"{folder}/model.toml cannot be read: No such file or directory"
    )
    assert not outbox.exists()


def test_wrong_model(outbox: Path, tmp_path: Path) -> None:
    """A model whose description does not fit its file stops the start with the difference."""
    folder = tmp_path / "m"
    folder.mkdir()
    for file in IRIS.glob("*.onnx"):
        (folder / file.name).write_bytes(file.read_bytes())
    text = (IRIS / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(text.partition('[[features]]\nname = "petal_width"')[0], encoding="utf-8")
    assert "is 4 wide, but the description has 3 features" in failed(outbox, PREDICTOR_MODEL=str(folder))


@pytest.mark.parametrize("below", [".", "log"])
def test_outbox_is_a_file(tmp_path: Path, below: str) -> None:
    """An outbox that cannot be a folder is named with its setting."""
    (tmp_path / "file").touch()
    outbox = tmp_path / "file" / below
    sentence = failed(outbox)
    assert sentence.startswith(f"PREDICTOR_OUTBOX is '{outbox}', wanted a folder that can be written: ")


def test_outbox_cannot_be_written(outbox: Path) -> None:
    """An outbox in which nothing can be made is named with its setting."""
    outbox.mkdir()
    (outbox / "v1").touch()  # works for root as well, who may write everywhere
    assert failed(outbox).startswith(
        f"PREDICTOR_OUTBOX is '{outbox}', wanted a folder that can be written: {outbox}/v1"
    )


def test_bad_certificate(outbox: Path, tmp_path: Path) -> None:
    """A file that holds no certificate is named with the endpoint it is for, without the password in its URL."""
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:s3cret@127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
    }
    sentence = failed(outbox, **settings)
    assert sentence.startswith(f"the certificates for https://127.0.0.1:9/v1/logs cannot be used ({tmp_path}/ca.pem)")


def test_help_and_version(outbox: Path) -> None:
    """The command line explains itself; an unknown verb is an error that names those there are."""
    shown = run("--help", outbox=outbox)
    assert shown.returncode == 0
    assert "serve" in shown.stdout
    assert "check" in shown.stdout
    version = run("--version", outbox=outbox)
    assert version.stdout == f"predictor {predictor.__version__}\n"
    wrong = run("predict", outbox=outbox)
    assert wrong.returncode == 2
    assert "serve" in wrong.stderr
    assert not outbox.exists()


def test_help_lists_all_settings(outbox: Path) -> None:
    """`predictor serve --help` lists every setting with its default: who has the package alone has no other list."""
    shown = run("serve", "--help", outbox=outbox).stdout
    for row in table():
        assert f"\n  {row.variable}={row.default}\n" in shown


def test_demo(outbox: Path) -> None:
    """Without a model the demo is served; one line says so, and how to serve one's own."""
    with Server(outbox, PREDICTOR_MODEL="") as server:
        server.wait_for(lambda line: "it stays there" in line)  # the last line
        listens, demo = [json.loads(line)["message"] for line in server.stderr_lines[:2]]
        assert post(server.port)[0] == 200
    assert listens.startswith("iris@")
    assert demo.startswith("this is the demo")
    assert "predictor serve model.onnx" in demo


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("model.onnx", "'model.onnx' is not a verb; to serve it: predictor serve model.onnx"),
        (str(IRIS), f"{str(IRIS)!r} is not a verb; to serve it: predictor serve {IRIS}"),
        (
            "predict",
            "'predict' is not a verb; wanted one of serve, check, init, load, log, openapi, healthcheck, completion",
        ),
    ],
)
def test_what_is_no_verb(given: str, answer: str, outbox: Path) -> None:
    """An unknown verb is answered with those there are, a model in the place of a verb with what to type instead."""
    wrong = run(given, outbox=outbox)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"predictor: {answer}")
    assert len(wrong.stderr.splitlines()) == 1


def test_greeting(outbox: Path) -> None:
    """The start says where it listens, what to try, where the log is and what becomes of it; and all of it is true."""
    with Server(outbox, command=("-m", "predictor", "serve")) as server:
        server.wait_for(lambda line: "it stays there" in line)  # the last line
        listens, tries, page, log, stays = [json.loads(line)["message"] for line in server.stderr_lines[:5]]
        words = shlex.split(tries.removeprefix("try: "))
        status, body = post(server.port, words[words.index("-d") + 1])
    assert listens.endswith(f"listens on {server.url}")
    assert words[0] == "curl"
    assert page.startswith(f"{server.url}/ shows")
    assert words[-1] == f"{server.url}/predict"
    assert status == 200
    (record,) = predictions(outbox)
    assert record["prediction.job_id"] == json.loads(body)["job_id"]
    assert f"the prediction log is in {outbox}," in log
    assert records(outbox)[0]["stream"] in log
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in stays


def test_what_to_know_of_a_model(outbox: Path, tmp_path: Path) -> None:
    """What is not as one expects of a model is said at the start, before the greeting."""
    with Server(outbox, PREDICTOR_MODEL=str(model_folders.zipmap(tmp_path / "m"))) as server:
        first, second = [json.loads(line)["message"] for line in server.stderr_lines[:2]]
    assert first == "classifier.onnx: it takes one row at a time, so rows run one by one"
    assert second.startswith("zipmap@1 listens on ")


def test_greeting_with_an_endpoint(outbox: Path) -> None:
    """With an endpoint the start says that the log is shipped; the shipper's trouble names the URL without secrets."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=s3cret",
        "PREDICTOR_FLUSH": "0",
    }
    with Server(outbox, **settings) as server:
        assert server.wait_for(lambda line: "it is shipped by OTLP/HTTP to http://127.0.0.1:9/v1/logs, and" in line)
        assert server.wait_for(lambda line: "http://127.0.0.1:9/v1/logs" in line)
    assert "s3cret" not in "".join(server.stderr_lines)


def test_lines_are_json(outbox: Path) -> None:
    """Off a terminal every line of stderr is one JSON object, and predictions are not among them."""
    with Server(outbox) as server:
        assert post(server.port)[0] == 200
        assert server.terminate() == 0
    lines = [json.loads(line) for line in server.stderr_lines]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert not [line for line in lines if "job=" in line["message"]]


def test_display(outbox: Path) -> None:
    """With PREDICTOR_DISPLAY=on each prediction is a line of stderr, the body of its record."""
    with Server(outbox, PREDICTOR_DISPLAY="on") as server:
        assert post(server.port)[0] == 200
        shown = server.wait_for(lambda line: "job=" in line)
    (record,) = (record for record in records(outbox) if record["eventName"] == "prediction")
    assert shown == record["body"]["stringValue"]


def test_terminal(outbox: Path) -> None:
    """On a terminal a person reads plain lines: the greeting, then each prediction."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "predictor"], cwd=ROOT, env=environment(outbox), stderr=theirs, stdout=subprocess.DEVNULL
    )
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8", newline="\r\n") as terminal:
        lines = [terminal.readline().strip() for _ in range(5)]
        port = int(lines[0].rsplit(":", 1)[1])
        assert post(port)[0] == 200
        shown = terminal.readline().strip()
        process.terminate()
        assert process.wait(30) == 0
    assert re.fullmatch(r"iris@\S+ listens on http://127.0.0.1:\d+", lines[0])
    assert lines[1].startswith("try: curl ")
    assert re.fullmatch(r"virginica 0\.\d{3} iris@\S+ job=\S+ \d+\.\d ms", shown)


def test_log_off(outbox: Path) -> None:
    """Without the log predictions are answered and nothing is written; the start warns of it."""
    with Server(outbox, PREDICTOR_LOG="off") as server:
        assert post(server.port)[0] == 200
        assert server.wait_for(lambda line: "PREDICTOR_LOG=off" in line and '"warning"' in line)
    assert not outbox.exists()


def test_sdk_disabled(outbox: Path) -> None:
    """OTEL_SDK_DISABLED=true leaves a working server with its log and the ids in it."""
    with Server(outbox, OTEL_SDK_DISABLED="true") as server:
        assert post(server.port)[0] == 200
    record = records(outbox)[2]
    assert re.fullmatch(r"[0-9a-f]{32}", record["traceId"])
    assert int(record["traceId"], 16) != 0
    assert not record.get("flags")
