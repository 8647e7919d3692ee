"""`predictor log rejected`: lists what the sink refused, and passes an operator's word on to a running server."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.reader.test_cli import Told
from tests.server.test_start import post
from tests.support import scripted_sink
from tests.support.log_files import Stream, line
from tests.support.rejected_items import WHEN, keep
from tests.support.server import ROOT, Server, run, until
from tests.support.stream_files import line_of_spans

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stream(outbox: Path) -> Stream:
    """Return a stream of which two records, a span and a line without a number were refused."""
    stream = Stream()
    one, *_, ten = [line(stream.id, [record]) for record in stream.predictions(10)]
    keep(outbox, stream.id, "logs-10", ten, status=413, words="request entity too large \x1b[31m")
    keep(outbox, stream.id, "logs-1", one, words=None)
    keep(outbox, stream.id, "traces-00000001-0-0", line_of_spans([1]))
    keep(outbox, stream.id, "logs-00000002-17-0", b"{\n")
    return stream


def test_list(capsys: pytest.CaptureFixture[str], outbox: Path, stream: Stream) -> None:
    """Each item has a row with stream, name, time, status and the sink's words, in the order of their numbers."""
    os.utime(outbox / "v1" / stream.id / "rejected" / "logs-1.json", ns=(WHEN, WHEN))
    told = Told(capsys, "rejected", "--outbox", str(outbox))
    assert (told.status, told.err) == (0, "")
    head, *rows = told.out.splitlines()
    assert head.split("  ")[0] == "stream"
    assert all(row.startswith(stream.id) for row in rows)
    cells = [row.removeprefix(stream.id).split(maxsplit=3) for row in rows]
    when = "2025-10-09T08:55:00.000Z"
    assert cells == [
        ["logs-1", when, "-", "-"],  # kept by a server that left no reason
        ["logs-00000002-17-0", when, "400", "too old"],
        ["logs-10", when, "413", r"request entity too large \x1b[31m"],
        ["traces-00000001-0-0", when, "400", "too old"],
    ]


def test_json(capsys: pytest.CaptureFixture[str], outbox: Path, stream: Stream) -> None:
    """`--json` has one object an item, as docs/reading.md describes it."""
    told = Told(capsys, "rejected", "--outbox", str(outbox), "--json")
    assert [item["sequence"] for item in told.json] == [1, None, 10, None]
    assert [item["signal"] for item in told.json] == ["logs", "logs", "logs", "traces"]
    path = outbox / "v1" / stream.id / "rejected" / "logs-10.json"
    assert told.json[2] == {
        "stream": stream.id,
        "name": "logs-10",
        "signal": "logs",
        "sequence": 10,
        "time": "2025-10-09T08:55:00.000000000Z",
        "status": 413,
        "words": "request entity too large \x1b[31m",
        "endpoint": "http://sink/v1/logs",
        "bytes": path.stat().st_size,
        "file": str(path),
    }
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in page for key in told.json[2])


def test_one_stream(capsys: pytest.CaptureFixture[str], outbox: Path, stream: Stream) -> None:
    """`--stream` lists one; a stream that is not there is a sentence and status 2."""
    keep(outbox, "0199-other", "logs-1", b"{}\n")
    told = Told(capsys, "rejected", "--outbox", str(outbox), "--stream", "0199-other", "--json")
    assert [item["stream"] for item in told.json] == ["0199-other"]
    told = Told(capsys, "rejected", "--outbox", str(outbox), "--stream", "..")
    assert (told.status, told.out, told.err) == (2, "", f"predictor: {outbox}: there is no stream ..\n")
    assert stream.id


def test_nothing_refused(capsys: pytest.CaptureFixture[str], outbox: Path) -> None:
    """An outbox of which nothing was refused is said to be one; whatever else lies in the folder is no item."""
    folder = outbox / "v1" / "0199-a" / "rejected"
    folder.mkdir(parents=True)
    (folder / "logs-1.new").touch()
    (folder / "logs-2.reason.json").touch()
    os.mkfifo(folder / "logs-3.json")
    told = Told(capsys, "rejected", "--outbox", str(outbox))
    assert (told.status, told.out, told.err) == (0, "", f"predictor: nothing that the sink refused is in {outbox}\n")


def test_default_is_the_servers_outbox(outbox: Path, stream: Stream) -> None:
    """Without --outbox it is the one that PREDICTOR_OUTBOX names."""
    told = run("log", "rejected", outbox=outbox)
    assert (told.returncode, told.stdout.count(stream.id)) == (0, 4)


def test_accept(capsys: pytest.CaptureFixture[str], outbox: Path, stream: Stream) -> None:
    """`--accept` leaves an empty file for each stream that is still shipped, and says what follows from it."""
    ended, living, other = (outbox / "v1" / name for name in (stream.id, "0199-living", "0199-other"))
    for folder in (living, other):
        folder.mkdir()
        (folder / "lock").touch()
    told = Told(capsys, "rejected", "--outbox", str(outbox), "--accept", "--stream", "0199-living")
    file = living / "accept-rejections"
    assert (told.status, told.out) == (0, f"stream 0199-living: {file} is made\n")
    assert "believes each refusal of what they hold at this moment" in told.err
    assert "predictor log resend" in told.err
    assert file.read_bytes() == b""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (other / "accept-rejections").exists()
    told = Told(capsys, "rejected", "--outbox", str(outbox), "--accept", "--json")  # again, and for all
    assert (told.status, [made["stream"] for made in told.json]) == (0, ["0199-living", "0199-other"])
    assert not (ended / "accept-rejections").exists()  # only its rejected/ is left


def test_accept_where_nothing_waits(capsys: pytest.CaptureFixture[str], outbox: Path, stream: Stream) -> None:
    """A stream of which only `rejected/` is left is held up by nothing: nothing is made, and that is status 1."""
    told = Told(capsys, "rejected", "--outbox", str(outbox), "--accept", "--stream", stream.id)
    assert (told.status, told.out) == (1, "")
    assert "still to be shipped" in told.err


async def test_a_server_is_told(outbox: Path) -> None:
    """A server whose stream is held up by refusals goes on at the operator's word, and what it set aside is listed."""
    async with scripted_sink.serve() as refusing:
        refusing.script = lambda _: scripted_sink.Answer(400, b"the clock is wrong")
        settings = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": refusing.url, "PREDICTOR_FLUSH": "500ms"}
        server = await asyncio.to_thread(Server(outbox, **settings).start)
        try:
            for _ in range(3):
                assert (await asyncio.to_thread(post, server.port))[0] == 200
            await refusing.until(lambda: len(refusing.requests) > 3)
            listed = await asyncio.to_thread(run, "log", "rejected", outbox=outbox)
            assert "nothing that the sink refused" in listed.stderr
            told = await asyncio.to_thread(run, "log", "rejected", "--accept", outbox=outbox)
            assert told.returncode == 0
            (folder,) = (outbox / "v1").iterdir()
            await until((folder / "rejected" / "logs-4.json").exists)
        finally:
            await asyncio.to_thread(server.terminate)
    listed = await asyncio.to_thread(run, "log", "rejected", "--json", outbox=outbox)
    items = [json.loads(text) for text in listed.stdout.splitlines()]
    assert [item["sequence"] for item in items][:4] == [1, 2, 3, 4]
    assert {(item["status"], item["words"]) for item in items} == {(400, "the clock is wrong")}
    assert not (folder / "accept-rejections").exists()
