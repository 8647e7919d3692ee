"""Files that go under a running server: what was acknowledged arrives, or is declared, and the server goes on."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.resources import Resource

from predictor.config.settings import load as load_settings
from predictor.outbox.ownership import adopt
from predictor.outbox.writing import last_resort
from predictor.server.app import LOG_SERVICE
from predictor.server.log_service import LogService
from predictor.server.owned_streams import OwnedStreams
from tests.support import scripted_sink
from tests.support.ledger import Load, check, records_of
from tests.support.power_cut import ext4
from tests.support.server import Here, Server, serve, until
from tests.support.stream_files import line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.ledger import Record
    from tests.support.power_cut import Ext4


def stream(outbox: Path) -> Path:
    """Return the folder of the only stream."""
    (folder,) = (outbox / "v1").iterdir()
    return folder


def newest(outbox: Path, signal: str = "logs") -> Path:
    """Return the segment that is being written."""
    return max((stream(outbox) / signal).glob("*.jsonl"))


def newer(outbox: Path, before: Path) -> bool:
    """Tell whether there is a later segment of the same stream and signal."""
    return any(path > before for path in outbox.glob(f"v1/*/{before.parent.name}/*.jsonl"))


def arrived(takes: scripted_sink.Sink) -> list[Record]:
    """Return the log records that the sink accepted, copies included."""
    logs = (request for request in takes.accepted if request.path == "/v1/logs")
    return [record for request in logs for record in records_of(request.parsed)]


@asynccontextmanager
async def served(outbox: Path, takes: scripted_sink.Sink, **settings: str) -> AsyncIterator[Here]:
    """Run a server that ships to `takes`."""
    async with serve(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=takes.url, PREDICTOR_FLUSH="60s", **settings) as here:
        yield here


async def ready(here: Here) -> bool:
    """Tell whether the server takes traffic and says nothing of its outbox."""
    answer = await here.get("/readyz")
    return answer.status == 200 and answer.json["outbox_problem"] is None


def remove_segment(outbox: Path) -> None:
    """Remove the segment that is being written."""
    newest(outbox).unlink()


def remove_logs(outbox: Path) -> None:
    """Remove the folder of the records' segments."""
    shutil.rmtree(newest(outbox).parent)


def remove_stream(outbox: Path) -> None:
    """Remove the folder of the stream."""
    shutil.rmtree(stream(outbox))


def remove_outbox(outbox: Path) -> None:
    """Remove all of it."""
    shutil.rmtree(outbox)


def move_outbox(outbox: Path) -> None:
    """Rename it, as someone does who wants to look at it in peace."""
    outbox.rename(outbox.with_name("moved"))


def replace_segment(outbox: Path) -> None:
    """Put a copy in the place of the segment, as `sed -i` does."""
    path = newest(outbox)
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)


REMOVALS = (remove_segment, remove_logs, remove_stream, remove_outbox, move_outbox, replace_segment)


@pytest.mark.parametrize("fsync", ["second", "batch", "never"])
@pytest.mark.parametrize("remove", REMOVALS, ids=lambda each: each.__name__)
async def test_what_the_removed_file_held_arrives(outbox: Path, fsync: str, remove: Callable[[Path], None]) -> None:
    """With the sink away, then back: every row that was acknowledged before and after a removal is there, once."""
    async with scripted_sink.serve() as takes:
        takes.script = lambda _: scripted_sink.Answer(503)
        async with served(outbox, takes, PREDICTOR_OUTBOX_FSYNC=fsync) as here, Load(here.url, rest=0.01) as load:
            await load.more(50)
            before = newest(outbox)
            remove(outbox)
            await until(lambda: newer(outbox, before))
            await load.more(50)
            takes.script = lambda _: scripted_sink.OK
        found = check(load.ledger, arrived(takes))
    assert list(found.streams.values()) == ["shutdown"]
    assert found.lost == 0
    assert set(load.ledger.refusals) <= {"outbox-full"}


async def test_a_removed_segment_is_no_trouble_for_long(outbox: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A removal is one line on stderr without a traceback, and /readyz is green again when the rows are safe."""
    async with serve(outbox) as here, Load(here.url, rest=0.01) as load:
        await load.more(20)
        before = newest(outbox)
        before.unlink()
        await until(lambda: newer(outbox, before))
        await load.more(20)
        assert await ready(here)
    assert "was removed under the server" in caplog.text
    assert not any(record.exc_info for record in caplog.records)
    check(load.ledger, *(outbox / "v1").glob("*/logs/*.jsonl"))


async def test_complete_segments_that_are_removed_are_declared(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went with a closed file before the sink had it is declared as lost, number by number, and nothing else."""
    monkeypatch.setattr("predictor.server.log_service._SEGMENT_BYTES", 20_000)
    async with scripted_sink.serve() as takes:
        takes.script = lambda _: scripted_sink.Answer(503)
        async with served(outbox, takes) as here:
            async with Load(here.url, rest=0.005):
                await until(lambda: len(list((stream(outbox) / "logs").glob("*.jsonl"))) > 12)
            book = here.app[LOG_SERVICE]
            await until(lambda: book.outbox.unsynced == [])
            held = book._shippers["logs"].reached(book._files)
            segments = sorted((stream(outbox) / "logs").glob("*.jsonl"))
            gone = {
                record.sequence
                for path in segments[5:8]
                for line in path.read_bytes().splitlines()
                for record in records_of(json.loads(line))
            }
            for path in segments[5:8]:
                path.unlink()
            wanted = {number for number in gone if number > held}
            await until(lambda: book.stream.lost == len(wanted))
            takes.script = lambda _: scripted_sink.OK
    records = arrived(takes)
    declared = {
        number
        for record in records
        if record.attributes["event.name"] == "prediction.stream.lost"
        for number in range(
            record.attributes["prediction.stream.lost.first"], record.attributes["prediction.stream.lost.last"] + 1
        )
    }
    assert declared == wanted
    there = {record.sequence for record in records}
    assert there | declared == set(range(1, max(there) + 1))
    assert not there & declared


async def test_the_lock_is_sound_again(outbox: Path) -> None:
    """A lock that was removed is made again with its content, locked, so that nobody takes over a living stream."""
    async with serve(outbox) as here:
        lock = stream(outbox) / "lock"
        head = lock.read_bytes()
        lock.unlink()
        await until(lambda: lock.exists() and lock.read_bytes() == head)
        with lock.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert adopt(outbox, lambda *_: b"") == []
        assert await ready(here)


async def test_nobody_closes_a_stream_that_was_moved_away(outbox: Path) -> None:
    """A moved outbox has no end: who finds it cannot write a closing record, for the stream goes on where it was."""
    async with serve(outbox) as here, Load(here.url, rest=0.01) as load:
        await load.more(20)
        moved = outbox.with_name("moved")
        move_outbox(outbox)
        await until(lambda: any(outbox.glob("v1/*/lock")))
        assert (stream(moved) / "lock").read_bytes() == b""
        assert adopt(moved, lambda *_: b"no line") == [], "its old lock is still held"
        await load.more(20)
    (left,) = adopt(moved, lambda head, *_: head)
    assert left.incomplete
    left.release()


async def test_the_cursor_is_stored_again(outbox: Path) -> None:
    """A cursor that was removed is there again although nothing new was shipped: a crash would begin at number 1."""
    async with scripted_sink.serve() as takes, served(outbox, takes) as here:
        await here.post("/predict", json={"data": [[1, 2, 3, 4]]})
        cursor = stream(outbox) / "logs" / "cursor"
        await until(lambda: cursor.exists() and b'"sequence":3}' in cursor.read_bytes())
        cursor.unlink()
        await until(lambda: cursor.exists() and b'"sequence":3}' in cursor.read_bytes())


async def test_spans_go_on_in_a_new_segment(outbox: Path) -> None:
    """A removed segment of spans is written once more like one of records."""
    async with scripted_sink.serve() as takes:
        takes.script = lambda _: scripted_sink.Answer(503)
        async with served(outbox, takes) as here, Load(here.url, rest=0.01) as load:
            await load.more(20)
            before = newest(outbox, "traces")
            await until(lambda: before.stat().st_size > 0)
            before.unlink()
            await until(lambda: newer(outbox, before))
            await until(lambda: newest(outbox, "traces").stat().st_size > 0)
            takes.script = lambda _: scripted_sink.OK


async def test_a_folder_that_cannot_be_made_again_is_said(outbox: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where something stands in the folder's place, stderr and /readyz name it, and it is mended when that goes."""
    async with serve(outbox) as here:
        await asyncio.to_thread(shutil.rmtree, outbox)
        await asyncio.to_thread(outbox.write_text, "a file")
        await until(lambda: here.app[LOG_SERVICE].problem is not None)
        answer = await here.get("/readyz")
        assert str(outbox) in answer.json["outbox_problem"]
        assert str(outbox) in caplog.text
        assert not any(record.exc_info for record in caplog.records)
        await asyncio.to_thread(outbox.unlink)
        await until(lambda: here.app[LOG_SERVICE].problem is None)
        assert (await here.post("/predict", json={"data": [[1, 2, 3, 4]]})).status == 200


@pytest.mark.parametrize("step", ["restore", "adopt", "remove_shipped"])
async def test_no_error_of_the_disk_ends_the_upkeep(
    outbox: Path, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that may not be read (chmod 000) is one sentence a minute; status, adoption and syncs go on."""
    monkeypatch.setattr("predictor.server.log_service._STATUS_TICKS", 1)
    monkeypatch.setattr("predictor.server.log_service._ADOPT_TICKS", 1)
    tried = 0

    async def forbidden(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(outbox))

    async with scripted_sink.serve() as takes, served(outbox, takes) as here:
        with monkeypatch.context() as patch:
            patch.setattr(OwnedStreams, step, forbidden)
            await until(lambda: tried > 1)
            said = here.app[LOG_SERVICE].stream.sequence
            assert (await here.post("/predict", json={"data": [[1, 2, 3, 4]]})).status == 200
            await until(lambda: here.app[LOG_SERVICE].stream.sequence > said + 1)
            assert "Permission denied" in (await here.get("/readyz")).json["outbox_problem"]
        await until(lambda: here.app[LOG_SERVICE].problem is None)
    sentences = [record for record in caplog.records if "Permission denied" in record.getMessage()]
    assert len(sentences) == 1
    assert not any(record.exc_info for record in caplog.records)


async def test_a_read_only_disk_ends_with_the_rows_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that were acknowledged and that nothing here takes any more are in a file elsewhere, which stderr names."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    with ext4(tmp_path / "disk") as disk:
        outbox = disk.path / "outbox"
        async with scripted_sink.serve() as takes:
            async with served(outbox, takes) as here:
                async with Load(here.url, rest=0.005) as load:
                    await load.more(100)
                    disk.fail()
                    await load.refused("outbox-full", 5)
                assert (await here.get("/readyz")).status == 503
                book = here.app[LOG_SERVICE]
                assert "Read-only file system" in (await here.get("/readyz")).json["outbox_problem"]
            (rescued,) = elsewhere.iterdir()
            assert str(rescued) in caplog.text
            records = [record for line in rescued.read_bytes().splitlines() for record in records_of(json.loads(line))]
            ours = {"prediction", "prediction.model"}
            assert book.unwritten == sum(record.attributes["event.name"] in ours for record in records) > 0
            found = {
                (record.attributes["prediction.job_id"], record.attributes["prediction.index"])
                for record in [*records, *arrived(takes)]
                if record.attributes["event.name"] == "prediction"
            }
        assert load.ledger.answers.keys() <= found
        disk.restore()
        async with scripted_sink.serve() as again, served(outbox, again):
            pass
        assert list(elsewhere.iterdir()) == [], "the next start takes them back"
        check(load.ledger, [*arrived(takes), *arrived(again)])
    assert not any(record.exc_info for record in caplog.records)


def test_an_end_that_leaves_rows_unwritten_is_not_status_0(tmp_path: Path) -> None:
    """A server whose disk fails, and stays so, ends with status 3 and says how many acknowledged rows are where."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with ext4(tmp_path / "disk") as disk:
        server = Server(disk.path / "outbox", TMPDIR=str(elsewhere)).start()
        asyncio.run(_ask_and_fail(server, disk))
        assert server.terminate() == 3
        (line,) = [line for line in server.stderr_lines if "could not be written to the outbox" in line]
        assert str(elsewhere) in line
        assert not any("Traceback" in line for line in server.stderr_lines)


async def _ask_and_fail(server: Server, disk: Ext4) -> None:
    async with Load(server.url, rest=0.005) as load:
        await load.more(100)
        disk.fail()
        await load.refused("outbox-full", 5)


def test_what_cannot_be_rescued_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A rescue leaves a private file and never overwrites one; where it fails, the numbers that are lost are said."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = last_resort.rescue([b"one\n", b"two\n"], "stream")
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        last_resort.rescue([b"three\n"], "stream")
    book = LogService(load_settings({"PREDICTOR_OUTBOX": str(tmp_path / "outbox")}), Resource({}))
    book.outbox = SimpleNamespace(unsynced=[line([7]), line([8, 9])])  # type: ignore[assignment]
    (tmp_path / f"predictor-{book.stream.stream_id}.jsonl").touch()
    book._rescue()
    assert book.unwritten == 3
    assert "3 acknowledged records" in caplog.text
    assert "(7 to 9) are lost" in caplog.text
