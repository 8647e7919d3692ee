"""`predictor load`: what it sends, what it makes of the answers, how it ends, the client component."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from aiohttp import web

from predictor.load import cli, rows
from predictor.load.sender import Plan, send
from predictor.load.tally import LoadTally
from tests.support import bare_models
from tests.support.server import IRIS, ROOT, ROW, Server, interruptible, predictions, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

PLAN: dict[str, Any] = {
    "rate": 200.0,
    "seconds": math.inf,
    "count": 10,
    "call": "predict",
    "every": 10.0,
    "wait": 10.0,
    "keep_connections": True,
}
COMPONENT = ROOT / "kustomize" / "components" / "client" / "deployment.yaml"
RIGHT = {"job_id": "01a2", "prediction": [1.0]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server for those tests that tell its log apart by job."""
    with Server(tmp_path_factory.mktemp("load") / "outbox") as running:
        yield running


def load(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `predictor load ARGUMENTS` to its end."""
    command = [sys.executable, "-m", "predictor", "load", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Run a server that is ready, whose rows are of two numbers and that answers predictions in its own way."""

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"data_sample": [[1.0, 2.0]]})

    app = web.Application()
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metadata", ready)
    app.router.add_post("/predict", answer)
    app.router.add_post("/predict/batch", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def sent(url: str, **plan: object) -> LoadTally:
    """Send a load in this loop and return what was counted."""
    tally = LoadTally()
    await send(Plan(url=url, **PLAN | plan), lambda sample: rows.around(sample, random.Random(1)), tally)
    return tally


@pytest.mark.parametrize("source", [(), ("--model", str(IRIS)), ("--rows", str(IRIS / "rows.csv"))])
def test_all_is_answered_and_in_the_log(source: tuple[str, ...], server: Server) -> None:
    """Every request is a prediction of the mix, seven rows, two labels and a batch of eight in ten, and in the log."""
    before = len(predictions(server.outbox))
    done = load("--rate", "200", "--count", "30", "--json", *source, server.url)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["requests"], summary["failed"], summary["not_sent"]) == (30, 0, 0)
    assert summary["outcomes"] == {"200": 30}
    assert summary["rows"] == 27 + 3 * 8
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"] <= summary["latency_ms"]["max"]
    logged = predictions(server.outbox)[before:]
    assert sorted(Counter(each["prediction.job_id"] for each in logged).values()) == [1] * 27 + [8] * 3
    assert Counter(each["http.route"] for each in logged) == {"/predict": 21, "/predict/label": 6, "/predict/batch": 24}


def test_the_client_components_own_command(server: Server) -> None:
    """The command of the client's pod runs from the image's files, toward a server here, and ends with the pod."""
    (container,) = yaml.safe_load(COMPONENT.read_text())["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert "COPY predictor/demo/iris /srv/models/iris" in (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["predictor"]' in (ROOT / "Dockerfile").read_text()
    arguments = [re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], each) for each in container["args"]]
    arguments = [each.replace("/srv/", f"{ROOT}/").replace("http://api:8000", server.url) for each in arguments]
    assert server.url in arguments
    before = len(predictions(server.outbox))
    command = [sys.executable, "-m", "predictor", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        wait_for_rows(server.outbox, before + 10)
        client.send_signal(signal.SIGTERM)
        summary, said = client.communicate(timeout=60)
    assert client.returncode == 0, said
    assert re.match(r"\d+ requests in [\d.]+ s, [\d.]+ a second; \d+ rows predicted and logged\n +\d+  200\n", summary)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_the_summary(number: signal.Signals, server: Server) -> None:
    """SIGTERM and Ctrl-C stop the sending; what is on its way is awaited, and every request sent is summed up."""
    before = len(predictions(server.outbox))
    command = [sys.executable, "-m", "predictor", "load", "--rate", "100", "--call", "predict", "--json", server.url]
    with subprocess.Popen(command, cwd=ROOT, env=interruptible(os.environ), stdout=subprocess.PIPE) as client:
        wait_for_rows(server.outbox, before + 5)
        client.send_signal(number)
        out, _ = client.communicate(timeout=60)
    assert client.returncode == 0
    summary = json.loads(out)
    assert summary["requests"] == summary["outcomes"]["200"] == len(predictions(server.outbox)) - before


async def test_a_second_signal_ends_it_at_once() -> None:
    """Who does not want to wait for answers that do not come presses Ctrl-C again."""
    asked, opened = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        await opened.wait()
        return web.json_response(RIGHT)

    async with answering(answer) as url:
        command = [
            sys.executable,
            "-m",
            "predictor",
            "load",
            "--count",
            "1",
            "--call",
            "predict",
            "--every",
            "0.1s",
            url,
        ]
        client = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=interruptible(os.environ), stderr=asyncio.subprocess.PIPE
        )
        assert client.stderr
        await asked.wait()
        client.send_signal(signal.SIGINT)
        for _ in range(3):  # lines of progress: by the last one the signal has been seen
            await client.stderr.readline()
        client.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            await client.stderr.read()
            assert await client.wait() == 130
        opened.set()


def wait_for_rows(outbox: Path, number: int) -> None:
    """Return when so many rows are in the log."""

    async def wait() -> None:
        await until(lambda: len(predictions(outbox)) >= number)

    asyncio.run(wait())


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ({"status": 503}, "503"),
        ({"text": "no JSON"}, "200, but no prediction"),
        ({"text": json.dumps({"job_id": "1"})}, "200, but no prediction"),
        ({"text": json.dumps({"prediction": [1.0]})}, "200, but no prediction"),
        ({"text": json.dumps(RIGHT), "headers": {"X-Prediction-Logged": "false"}}, "200, but not logged"),
        ({"text": json.dumps(RIGHT)}, "200"),
    ],
)
async def test_what_is_no_logged_prediction_has_failed(
    response: dict[str, Any], outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a 200 with a prediction that is not said to be unlogged counts; each kind of failure is shown once."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(**response)

    async with answering(answer) as url:
        tally = await sent(url)
    assert json.loads(tally.as_json())["outcomes"] == {outcome: 10}
    assert tally.failed == (0 if outcome == "200" else 10)
    assert capsys.readouterr().err.count(f"POST /predict: {outcome}") == (0 if outcome == "200" else 1)


async def test_a_batch_has_as_many_predictions_as_rows() -> None:
    """A batch that comes back with fewer predictions has failed."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"job_id": "1", "predictions": [[1.0]] * 7})

    async with answering(answer) as url:
        tally = await sent(url, call="batch", count=2)
    assert json.loads(tally.as_json())["outcomes"] == {"200, but no prediction": 2}


async def test_a_connection_that_is_dropped_has_failed() -> None:
    """A server that closes without an answer is counted by what happened, and has no latency."""

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    async with answering(answer) as url:
        tally = await sent(url, count=3)
    assert tally.failed == 3
    assert tally.percentile(50) is None


async def test_a_slow_server_is_not_spared_and_not_flooded() -> None:
    """While as many wait as are sent in a second, at least 64, what is due is counted as not sent."""
    opened = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await opened.wait()
        return web.json_response(RIGHT)

    tally = LoadTally()
    async with answering(answer) as url:
        plan = Plan(url=url, **PLAN | {"rate": 400.0, "count": 420})
        whole = asyncio.create_task(send(plan, lambda sample: rows.around(sample, random.Random(1)), tally))
        await until(lambda: tally.sent + tally.left_out == 420)
        assert (tally.sent, tally.left_out) == (400, 20)
        opened.set()
        await whole
    assert tally.failed == 0


@pytest.mark.parametrize(
    ("keep", "connections"),
    [(True, 1), (False, 5)],
)
async def test_connections_are_kept_or_new(
    keep: bool,  # noqa: FBT001 - a parameter of the case
    connections: int,
) -> None:
    """Connections are kept, or with --new-connections each request has its own, so that a Service spreads them."""
    seen = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        seen.add(request.transport.get_extra_info("peername"))
        return web.json_response(RIGHT)

    async with answering(answer) as url:
        await sent(url, keep_connections=keep, count=5, rate=20.0)
    assert len(seen) == connections


async def test_a_time_bounds_it() -> None:
    """With --for it ends after rate times seconds requests."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(RIGHT)

    async with answering(answer) as url:
        tally = await sent(url, count=None, seconds=0.1)
    assert tally.sent == 20


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--wait", "0s", "http://127.0.0.1:9"], "http://127.0.0.1:9 is not ready: Connection refused"),
        (["--rate", "0", "http://x"], "'0', wanted a number above 0"),
        (["--for", "soon", "http://x"], "'soon', wanted a time such as"),
        (["127.0.0.1:8000"], "'127.0.0.1:8000', wanted a URL such as http://"),
        (["--for", "1s", "--count", "1", "http://x"], "not allowed with argument"),
    ],
)
def test_what_cannot_begin_is_one_sentence(arguments: list[str], sentence: str) -> None:
    """A load that cannot begin ends with status 2 and says why in its last line."""
    done = load(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b,c,d\n1,2,3,4\n1,2,3\n", "line 3: '1,2,3', wanted a row of 4 numbers"),
        ("1,2,3,nan\n1,2,3,4\n1,x,3,4\n", "line 3: '1,x,3,4'"),
        ("[1,2]\n", "line 1: '[1,2]'"),
        ("", "has no rows"),
    ],
)
def test_rows_that_do_not_fit(text: str, sentence: str, tmp_path: Path, server: Server) -> None:
    """A file with a line that is no row of the model's width is refused before anything is sent."""
    before = len(predictions(server.outbox))
    (tmp_path / "rows").write_text(text)
    done = load("--rows", str(tmp_path / "rows"), "--count", "1", server.url)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(predictions(server.outbox)) == before


def test_files_and_folders_that_are_not_there(tmp_path: Path, server: Server) -> None:
    """A file or a model folder that is not there is named in the sentence."""
    for option in ("--rows", "--model"):
        done = load(option, str(tmp_path / "nowhere"), "--count", "1", server.url)
        assert done.returncode == 2
        assert str(tmp_path / "nowhere") in done.stderr


def test_rows_of_a_file(tmp_path: Path) -> None:
    """CSV with and without a header and JSON arrays are the same rows, and all of them are drawn."""
    wanted: list[list[rows.Value]] = [[1.0, 2.5], [3.0, -4.0]]
    for text in ("1,2.5\n3,-4\n", "x,y\n1,2.5\n\n3,-4", "[1, 2.5]\n[3, -4]\n"):
        (tmp_path / "rows").write_text(text)
        assert rows.read(tmp_path / "rows", 2) == wanted
    draw = rows.listed(wanted, random.Random(1))
    assert {tuple(draw()) for _ in range(50)} == {(1.0, 2.5), (3.0, -4.0)}


def test_rows_of_a_model() -> None:
    """Rows lie within what the model saw in training, and the same seed draws the same ones."""
    limits = rows.trained(IRIS, 4)
    assert limits == [(4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.4)]
    first, again = (rows.within(limits, random.Random(7)) for _ in range(2))
    for _ in range(100):
        row = first()
        assert row == again()
        assert all(low <= value <= high for value, (low, high) in zip(row, limits, strict=True))
    with pytest.raises(ValueError, match=r"takes rows of 4 values, the server rows of 3"):
        rows.trained(IRIS, 3)


def test_rows_around_a_sample() -> None:
    """Rows differ from the sample by a fifth at most, and where it is zero they differ too."""
    draw = rows.around([*ROW, 0.0], random.Random(3))
    drawn = np.array([draw() for _ in range(100)], np.float64)
    near = np.array([*ROW, 0.0])
    assert (np.abs(drawn - near) <= 0.2 * np.where(near, np.abs(near), 1) + 1e-12).all()
    assert len(set(drawn[:, 4])) > 90


def test_rows_around_a_sample_of_any_types() -> None:
    """Integers stay whole, and what is no number stays as it is."""
    draw = rows.around([100, "Bern", True, None], random.Random(3))
    drawn = [draw() for _ in range(100)]
    assert {type(row[0]) for row in drawn} == {int}
    assert len({row[0] for row in drawn}) > 10
    assert {tuple(row[1:]) for row in drawn} == {("Bern", True, None)}


def test_rows_of_a_file_of_any_types(tmp_path: Path) -> None:
    """JSON arrays may hold what rows may hold: texts, integers, truths and what is missing."""
    (tmp_path / "rows").write_text('["Bern", 3, true, null]\n')
    assert rows.read(tmp_path / "rows", 4) == [["Bern", 3, True, None]]


def test_each_row_has_a_key_of_its_own() -> None:
    """Where a row has a caller's key no two that are sent have the same."""
    draw = rows.keyed(lambda: ["A", 1.5], 0)
    assert [draw() for _ in range(2)] == [["A-1", 1.5], ["A-2", 1.5]]
    draw = rows.keyed(lambda: [1.5, 7], 1)
    assert [draw() for _ in range(2)] == [[1.5, 1], [1.5, 2]]
    assert rows.keyed(lambda: [1.5], None)() == [1.5]


@pytest.mark.parametrize("make", [bare_models.churn, bare_models.price])
def test_a_model_of_any_table(outbox: Path, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """Texts, integers and a key are drawn as the model takes them, and no label is asked of a regression."""
    make(tmp_path / "m" / "m.onnx")
    key = '[[features]]\nname = "order"\nrole = "key"\nsample = "A"\n'
    (tmp_path / "m" / "model.toml").write_text(f'name = "m"\nversion = "1"\n{key}')
    with Server(outbox, PREDICTOR_MODEL=str(tmp_path / "m")) as server:
        done = load("--rate", "200", "--count", "20", "--json", server.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"200": 20}
    logged = predictions(outbox)
    assert len({each["prediction.key"] for each in logged}) == len(logged) > 20


def test_percentiles_are_right_in_bounded_memory() -> None:
    """Percentiles are within 2 % of the true ones, whatever the number of answers, in a bounded number of counts."""
    tally = LoadTally()
    generator = random.Random(5)
    latencies = [generator.lognormvariate(-6, 1) for _ in range(20_000)]
    for seconds in latencies:
        tally.count("200", 1, seconds)
    latencies.sort()
    for percent in (50, 95, 99):
        assert tally.percentile(percent) == pytest.approx(latencies[math.ceil(200 * percent) - 1], rel=0.021)
    assert tally.percentile(100) == latencies[-1]
    tally.count("200", 1, 0.0)
    tally.count("200", 1, 600.0)
    assert len(tally._latencies) < 1100


def test_summary_and_progress() -> None:
    """Progress is one line with the rate and the failures; the summary names each outcome and what was not sent."""
    now = [0.0]
    tally = LoadTally(lambda: now[0])
    tally.begin()
    now[0] = 2.0
    tally.sent, tally.left_out = 5, 2
    for outcome in ("200", "200", "503", "Connection refused"):
        tally.count(outcome, 1, 0.004 if outcome[0] in "25" else None)
    assert tally.progress() == (
        "2 s: 5 requests, 2.5 a second, 2 failed, latency p50 4 ms, p95 4 ms, p99 4 ms, max 4 ms"
    )
    assert tally.summary().splitlines() == [
        "5 requests in 2.0 s, 2.5 a second; 2 rows predicted and logged",
        "        2  200",
        "        1  503",
        "        1  Connection refused",
        "        2  not sent: too many others waited for their answer",
        "latency p50 4 ms, p95 4 ms, p99 4 ms, max 4 ms",
    ]


async def test_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of progress comes at the time that was asked for."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(RIGHT)

    async with answering(answer) as url:
        await sent(url, every=0.01)
    assert re.search(r"^\d+ s: \d+ requests, ", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize(("failed", "left_out", "status"), [(0, 0, 0), (1, 0, 1), (0, 10, 0), (0, 11, 1)])
def test_exit_status(
    failed: int, left_out: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is 1 if a request failed, or if more than one in a hundred was not sent."""

    async def count(_plan: Plan, _source: object, tally: LoadTally) -> None:
        tally.sent, tally.left_out = 1000, left_out
        for _ in range(failed):
            tally.count("503", 1)

    monkeypatch.setattr("predictor.load.sender.send", count)
    assert cli.main(["http://127.0.0.1:9"]) == status
    assert capsys.readouterr().out.startswith("1000 requests")
