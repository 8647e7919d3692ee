"""`predictor log resend`: what the sink refused gets another try, and what it takes now is removed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from predictor.config.otel_env import Endpoint
from predictor.reader.rejected import resend
from predictor.reader.rejected.files import items
from predictor.shipping.otlp_http import Delivery
from tests.reader.test_cli import Told
from tests.server.test_start import post
from tests.support import scripted_sink
from tests.support.collector import free_port, start, to_sink
from tests.support.log_files import Stream, line
from tests.support.rejected_items import keep, names
from tests.support.server import ROOT, Server, run
from tests.support.stream_files import line_of_spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from predictor.outbox.layout import StreamFiles


@pytest.fixture
async def taking() -> AsyncIterator[scripted_sink.Sink]:
    """Run a sink that takes everything until it is told otherwise."""
    async with scripted_sink.serve() as running:
        yield running


def kept(outbox: Path, count: int = 3) -> tuple[StreamFiles, list[bytes]]:
    """Return a stream of which that many records were refused, and their lines."""
    stream = Stream()
    texts = [line(stream.id, [record]) for record in stream.predictions(count)]
    for number, text in enumerate(texts, 1):
        files = keep(outbox, stream.id, f"logs-{number}", text)
    return files, texts


async def sent(outbox: Path, where: scripted_sink.Sink, *more: str, **settings: str) -> CompletedProcess[str]:
    """Run the verb at a sink."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": where.url} | settings
    return await asyncio.to_thread(run, "log", "resend", *more, outbox=outbox, **settings)


async def test_accepted(outbox: Path, taking: scripted_sink.Sink) -> None:
    """Records and spans arrive byte for byte at their endpoints, in order, and nothing of them is left."""
    files, texts = kept(outbox, 12)
    keep(outbox, files.stream_id, "traces-00000001-0-0", spans := line_of_spans([1]))
    ended = await sent(outbox, taking, OTEL_EXPORTER_OTLP_HEADERS="authorization=s3cret")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"stream {files.stream_id}: 13 accepted and removed\n13 accepted, 0 left\n"
    assert [(request.path, request.body) for request in taking.accepted] == [
        *[("/v1/logs", text) for text in texts],
        ("/v1/traces", spans),
    ]
    for request in taking.requests:
        assert {name.lower(): value for name, value in request.headers.items()}["authorization"] == "s3cret"
    assert not files.path.exists()  # only rejected/ had been left of it


async def test_beside_a_server(outbox: Path, taking: scripted_sink.Sink) -> None:
    """Of a stream that a server still has only what was refused is touched."""
    files, _ = kept(outbox)
    files.signal("logs").folder.mkdir()
    segment = files.signal("logs").segment(1)
    segment.write_bytes(b"{}\n")
    files.lock.touch()
    assert (await sent(outbox, taking)).returncode == 0
    assert (segment.read_bytes(), files.lock.exists(), names(files)) == (b"{}\n", True, [])


async def test_refused_again(outbox: Path, taking: scripted_sink.Sink) -> None:
    """What is refused again is left with the newest words of the sink, which are said, and the status is 1."""
    files, _ = kept(outbox)
    taking.script = lambda request: (
        scripted_sink.Answer(400, b"still too old") if request.sequences == [2] else scripted_sink.OK
    )
    ended = await sent(outbox, taking)
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == [
        f"stream {files.stream_id}: logs-2 is left: 400 still too old",
        f"stream {files.stream_id}: 2 accepted and removed",
        "2 accepted, 1 left",
    ]
    assert names(files) == ["logs-2.json", "logs-2.reason.json"]
    reason = json.loads((files.rejected / "logs-2.reason.json").read_text())
    assert (reason["status"], reason["words"]) == (400, "still too old")
    assert reason["endpoint"] == "http://sink/v1/logs"
    assert reason["time_unix_ns"] > 1_760_000_100 * 10**9


async def test_json(outbox: Path, taking: scripted_sink.Sink) -> None:
    """`--json` says how many were accepted and which are left, as docs/reading.md describes it."""
    files, _ = kept(outbox)
    taking.script = lambda request: scripted_sink.Answer(422, b"no") if request.sequences == [3] else scripted_sink.OK
    ended = await sent(outbox, taking, "--json")
    assert ended.returncode == 1
    left = {"stream": files.stream_id, "name": "logs-3", "status": 422, "words": "no"}
    assert json.loads(ended.stdout) == {"accepted": 2, "left": [left]}
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in page for key in ("accepted", "left", *left))


async def test_one_stream(outbox: Path, taking: scripted_sink.Sink) -> None:
    """`--stream` sends one stream's items only."""
    files, _ = kept(outbox)
    other = keep(outbox, "0199-other", "logs-1", b"{}\n")
    assert (await sent(outbox, taking, "--stream", "0199-other")).returncode == 0
    assert (len(names(files)), other.path.exists()) == (6, False)


async def test_a_signal_without_an_endpoint(outbox: Path, taking: scripted_sink.Sink) -> None:
    """What has no endpoint is left and said; the other signal is sent."""
    files, _ = kept(outbox)
    keep(outbox, files.stream_id, "traces-00000001-0-0", line_of_spans([1]))
    ended = await sent(outbox, taking, OTEL_TRACES_EXPORTER="none")
    assert ended.returncode == 1
    assert "traces-00000001-0-0 is left: no endpoint is set for traces" in ended.stdout
    assert names(files) == ["traces-00000001-0-0.json", "traces-00000001-0-0.reason.json"]


def test_no_endpoint(outbox: Path) -> None:
    """Without any endpoint nothing is tried: a sentence that names the variable, and status 2."""
    files, _ = kept(outbox)
    ended = run("log", "resend", outbox=outbox)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("predictor: OTEL_EXPORTER_OTLP_ENDPOINT: it is not set; wanted")
    assert len(names(files)) == 6


def test_nothing_to_send(outbox: Path) -> None:
    """Where nothing was refused that is said, and is status 0, whether there is an endpoint or not."""
    (outbox / "v1").mkdir(parents=True)
    ended = run("log", "resend", outbox=outbox)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"predictor: nothing that the sink refused is in {outbox}\n"


async def test_a_way_that_fails(outbox: Path, taking: scripted_sink.Sink) -> None:
    """An endpoint that gives no word on a record is tried several times, then all that is left stays as it is."""
    files, _ = kept(outbox, 4)
    taking.answers(scripted_sink.OK, *[scripted_sink.Answer(503, b"try later", {"Retry-After": "7"})] * 99)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    delivery = Delivery(Endpoint(f"{taking.url}/v1/logs"))
    result = await resend.resend([*items(files)], {"logs": delivery}, sleep=sleep)
    await delivery.close()
    assert waits == [7, 7, 7, 7]  # as long as the sink asks for
    assert len(taking.requests) == 1 + 5
    assert [(left.item.name, left.status) for left in result.left] == [
        ("logs-2", None),
        ("logs-3", None),
        ("logs-4", None),
    ]
    assert result.left[0].words == "503 Service Unavailable try later"
    assert result.left[2].words.startswith("not tried after that: 503")
    assert names(files)[0] == "logs-2.json"
    assert json.loads((files.rejected / "logs-2.reason.json").read_text())["words"] == "too old"


async def test_one_answered_500(outbox: Path, taking: scripted_sink.Sink) -> None:
    """An item that is answered 500 again and again does not hold up the next ones, but five in a row are the way."""
    files, _ = kept(outbox, 12)

    async def sleep(_: float) -> None:
        """Wait for nothing."""

    taking.script = lambda request: (
        scripted_sink.Answer(500, b"413") if request.sequences[0] in {2, *range(4, 13)} else scripted_sink.OK
    )
    delivery = Delivery(Endpoint(f"{taking.url}/v1/logs"))
    result = await resend.resend([*items(files)], {"logs": delivery}, sleep=sleep)
    await delivery.close()
    assert result.accepted.total() == 2
    words = {left.item.sequence: left.words for left in result.left}
    assert words[2] == words[8] == "500 Internal Server Error 413"
    assert words[9].startswith("not tried after that: 500")


async def test_what_is_gone_meanwhile(outbox: Path, taking: scripted_sink.Sink) -> None:
    """An item that somebody else removed is neither sent nor left."""
    files, _ = kept(outbox)
    listed = [*items(files)]
    (files.rejected / "logs-2.json").unlink()
    delivery = Delivery(Endpoint(f"{taking.url}/v1/logs"))
    result = await resend.resend(listed, {"logs": delivery})
    await delivery.close()
    assert (result.accepted.total(), result.left) == (2, [])


async def test_many_left(outbox: Path, taking: scripted_sink.Sink) -> None:
    """A sink that refuses everything is twenty sentences and a number."""
    kept(outbox, 30)
    taking.script = lambda _: scripted_sink.Answer(400, b"no")
    ended = await sent(outbox, taking)
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 22
    assert ended.stdout.splitlines()[-2:] == ["and 10 more are left", "0 accepted, 30 left"]


def test_progress_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, outbox: Path
) -> None:
    """On a terminal a bar shows how far it is, also where nobody answers, and leaves nothing on stdout."""
    kept(outbox)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(resend, "_WAITS", ())
    for name in ("PREDICTOR_OUTBOX", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    told = Told(capsys, "resend", "--outbox", str(outbox))
    assert told.status == 1
    assert "sending" in told.err
    assert "sending" not in told.out
    assert "Connection refused" in told.out


async def test_from_a_server_to_its_sink(outbox: Path, tmp_path: Path) -> None:
    """What a sink behind a real Collector refused is listed, lacking there, sent again and then there."""
    async with scripted_sink.serve() as behind:
        good: list[bool] = []
        status = b"\x08\x03\x12\x09not today"  # google.rpc.Status, as Loki answers
        refusal = scripted_sink.Answer(400, status, {"Content-Type": "application/x-protobuf"})
        behind.script = lambda request: scripted_sink.OK if good or 3 not in request.sequences else refusal
        port, stored = free_port(), tmp_path / "stored.jsonl"

        async def verified() -> CompletedProcess[str]:
            stored.write_bytes(b"".join(request.body + b"\n" for request in behind.accepted))
            where = ("--from", str(stored), "--outbox", str(outbox))
            return await asyncio.to_thread(run, "log", "verify", *where, outbox=outbox)

        collector = await asyncio.to_thread(start, to_sink(port, behind.url), tmp_path, port)
        try:
            where = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{collector.url}/v1/logs"}
            server = await asyncio.to_thread(Server(outbox, **where).start)
            try:
                for _ in range(5):
                    assert (await asyncio.to_thread(post, server.port))[0] == 200
                await behind.until(lambda: {1, 2, 4, 5, 6} <= set(behind.sequences))
            finally:
                assert await asyncio.to_thread(server.terminate) == 0
            listed = await asyncio.to_thread(run, "log", "rejected", outbox=outbox)
            assert "logs-3" in listed.stdout
            assert "not today" in listed.stdout
            lacking = await verified()
            assert lacking.returncode == 1
            assert "the sink lacks 3, which it refused" in lacking.stdout
            good.append(True)
            assert (await asyncio.to_thread(run, "log", "resend", outbox=outbox, **where)).returncode == 0
            whole = await verified()
            assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "nothing is missing")
        finally:
            await asyncio.to_thread(collector.stop)
