"""A server names the streams that ended on its outbox before, signs what it says, and a sink without one is accused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import ended, layout
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify
from predictor.reader.verify.keys import PublicKeys
from predictor.recording.signatures import SigningKeyError
from tests.support import scripted_sink
from tests.support.collector import free_port
from tests.support.server import ROW, serve, until
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.reader.verify.report import VerifyReport


async def _live(outbox: Path, **settings: str) -> bytes:
    """Let a server predict once, ship and end, and return what has arrived."""
    async with scripted_sink.serve() as sink:
        async with serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, PREDICTOR_FLUSH="60s", **settings) as here:
            assert (await here.post("/predict", json={"data": [ROW]})).status == 200
            await until(lambda: not (outbox / "v1" / ended.NAME).exists())
        return b"".join(each.body.strip() + b"\n" for each in sink.accepted if each.path == "/v1/logs")


def _judged(folder: Path, *arrived: bytes, keys: PublicKeys | None = None) -> VerifyReport:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "logs.jsonl").write_bytes(b"".join(arrived))
    return verify(source(str(folder)), TimeRange(), keys=keys)


async def test_a_stream_names_the_one_before_it(outbox: Path, tmp_path: Path) -> None:
    """What a sink lacks of three lives on one outbox is found from the others, and each list is emptied in time."""
    lives = [await _live(outbox) for _ in range(3)]
    assert layout.streams(outbox) == []
    assert len(ended.unnamed(outbox)) == 1  # the last one, which nobody names yet
    whole = _judged(tmp_path / "files", *lives)
    assert whole.sound
    assert [len(verdict.proof.proved) for verdict in whole.verdicts] == [1] * 3
    assert not any(verdict.proof.unproved for verdict in whole.verdicts)
    report = _judged(tmp_path / "files", lives[0], lives[2])
    assert not report.sound
    assert [sentence.endswith("and there is nothing of it") for sentence in report.gone] == [True]


async def test_a_stream_is_named_once_the_sink_has_it(outbox: Path, tmp_path: Path) -> None:
    """Who is named has arrived: a backlog that is still on its way must not look like a loss."""
    nobody = f"http://127.0.0.1:{free_port()}"
    async with serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, PREDICTOR_FLUSH="0s") as here:
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
    (first,) = layout.streams(outbox)
    assert ended.unnamed(outbox) == []
    second = await _live(outbox)
    assert b"prediction.stream.previous" not in second
    third = await _live(outbox)
    assert first.stream_id.encode() in third.partition(b"prediction.stream.previous")[2]
    assert _judged(tmp_path / "files", second, third).sound


async def test_a_killed_stream_is_named_too(outbox: Path) -> None:
    """A stream that another process closed has its last number in the list, and no digest."""
    async with serve(outbox) as here:
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        (stream,) = layout.streams(outbox)
        shutil.copytree(stream.path, outbox.with_name("dead"))
    shutil.rmtree(outbox)
    (outbox / "v1").mkdir(parents=True)
    shutil.copytree(outbox.with_name("dead"), stream.path)
    async with serve(outbox):
        (entry,) = ended.unnamed(outbox)
    assert (entry.stream, entry.digest, entry.kept) == (stream.stream_id, "", True)


async def test_a_server_signs(outbox: Path, tmp_path: Path) -> None:
    """With a key every checkpoint of a server's log is signed by it."""
    private, public = key_pair(tmp_path)
    arrived = await _live(outbox, PREDICTOR_SIGNING_KEY_FILE=str(private))
    keys = PublicKeys([public])
    report = _judged(tmp_path / "files", arrived, keys=keys)
    assert report.sound
    assert report.verdicts[0].proof.signed_by == keys.ids
    other = tmp_path / "other"
    other.mkdir()
    assert not _judged(tmp_path / "files", arrived, keys=PublicKeys([key_pair(other)[1]])).sound


async def test_a_key_that_cannot_be_used_stops_the_start(outbox: Path, tmp_path: Path) -> None:
    """A server that was to sign never runs without doing so."""
    (tmp_path / "key").write_text("none")
    with pytest.raises(SigningKeyError, match="PREDICTOR_SIGNING_KEY_FILE"):
        async with serve(outbox, PREDICTOR_SIGNING_KEY_FILE=str(tmp_path / "key")):
            pass
    assert layout.streams(outbox) == []
