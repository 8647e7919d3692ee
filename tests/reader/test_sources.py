"""The local sources: an outbox that a server writes to, a Collector's files, rotated, gzipped, torn."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import sys
from itertools import takewhile
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from predictor.reader.record import LaterSchema
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.files import Files
from predictor.reader.sources.outbox import OutboxSource
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify
from tests.server.test_start import post
from tests.support import collector
from tests.support.log_files import BASE, SECOND, Stream, lay_out, line, lines
from tests.support.server import Server, predictions, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from predictor.reader.record import Entry

ALL = TimeRange()


def numbers(found: Iterator[Entry | None]) -> list[int]:
    """Return the numbers of the records up to the first pause, or of all."""
    return [entry.sequence for entry in takewhile(lambda entry: entry is not None, found) if entry]


@pytest.mark.parametrize("url", ["http://user:secret@loki:3100", "http://user:1/secret@loki", "http://secret loki"])
def test_url_with_a_password_is_not_repeated(url: str) -> None:
    """A URL of Loki that holds a password, or cannot be used, is refused, and no part of it is repeated."""
    with pytest.raises(SourceError) as told:
        source(url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "arguments", [("load", "http://user:1/secret@server"), ("log", "show", "x", "--grafana", "a:secret@b")]
)
def test_url_on_the_command_line_is_not_repeated(outbox: Path, arguments: tuple[str, ...]) -> None:
    """A URL that a verb cannot use is not repeated on stderr, since a password may be in it."""
    done = run(*arguments, outbox=outbox)
    assert done.returncode == 2
    assert "wanted a URL such as" in done.stderr
    assert "secret" not in done.stderr


def test_outbox_while_a_server_writes(outbox: Path) -> None:
    """All that was answered can be read at once, while the server writes; and following sees what comes after."""
    with Server(outbox) as server:
        followed = source(str(outbox)).follow(ALL)
        assert numbers(followed) == [1]
        for count in range(1, 4):
            assert post(server.port)[0] == 200
            assert numbers(source(str(outbox)).read(ALL)) == list(range(1, count + 3))
            assert numbers(followed) == ([2, 3] if count == 1 else [count + 2])  # 2: what the model is
        assert verify(source(str(outbox)), ALL).sound
    assert numbers(followed) == [6]
    read = [entry for entry in source(str(outbox)).read(ALL) if entry.event == "prediction"]
    assert [entry.attributes for entry in read] == predictions(outbox)


def test_follows_streams_that_begin_later(outbox: Path) -> None:
    """Who follows an outbox sees the streams of servers that start later."""
    first, second = Stream(), Stream(BASE + SECOND)
    lay_out("outbox", outbox.parent, lines(first, [first.opened(), first.prediction()]))
    followed = source(str(outbox)).follow(ALL)
    assert numbers(followed) == [1, 2]
    lay_out("outbox", outbox.parent, lines(second, [second.opened()]))
    assert numbers(followed) == [1]


def test_outbox_shipped_while_it_is_read(outbox: Path) -> None:
    """A stream that is shipped to its end, and removed, while it is read is not called incomplete."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(5)])
    lay_out("outbox", outbox.parent, written[2:])
    folder = outbox / "v1" / stream.id
    (folder / "logs" / "cursor").write_text('{"segment":1,"offset":0,"sequence":2}')
    where = source(str(outbox))
    report = verify(where, ALL, progress=lambda _: shutil.rmtree(folder, ignore_errors=True))
    assert report.verdicts[0].stream.records == 4
    assert report.sound


def test_segments_of_before(outbox: Path) -> None:
    """Segments that nobody has written to since the window began are not even opened."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(4)]
    lay_out("outbox", outbox.parent, lines(stream, records[:3]))
    logs = outbox / "v1" / stream.id / "logs"
    (logs / "00000002.jsonl").write_bytes(b"".join(lines(stream, records[3:])))
    (logs / "00000001.jsonl").write_bytes(b"damaged\n")
    os.utime(logs / "00000001.jsonl", ns=(BASE, BASE + 2_500_000))
    where = source(str(outbox))
    assert (
        numbers(where.read(TimeRange(BASE + 3_000_000))) == numbers(where.follow(TimeRange(BASE + 3_000_000))) == [4, 5]
    )
    assert not where.damaged
    assert numbers(where.read(TimeRange(BASE + 2_000_000))) == [4, 5]
    assert len(where.damaged) == 1


@pytest.mark.parametrize("wanted", ["0199c0de-0000-7000-8000-00000000000b", 'odd"é'])
def test_exactly(outbox: Path, wanted: str) -> None:
    """One job's records are found whatever its id looks like."""
    stream = Stream()
    lay_out("outbox", outbox.parent, lines(stream, [*stream.predictions(3), stream.prediction(job=wanted)]))
    found = source(str(outbox)).read(ALL, {"prediction.job_id": wanted})
    assert [entry.sequence for entry in found if entry.job_id == wanted] == [4]


def test_files_of_a_collector(outbox: Path, tmp_path: Path) -> None:
    """What a real Collector wrote through its file exporter is read as it was in the outbox."""
    port = collector.free_port()
    collector.binary()
    logs = tmp_path / "logs.jsonl"
    running = collector.start(collector.to_files(port, logs, tmp_path / "traces.jsonl"), tmp_path, port)
    try:
        with Server(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=running.url, OTEL_TRACES_SAMPLER="always_on") as server:
            job_ids = [json.loads(post(server.port)[1])["job_id"] for _ in range(5)]
    finally:
        running.stop()
    assert (tmp_path / "traces.jsonl").stat().st_size, "spans are in the same folder and are no records"
    for where in (logs, tmp_path):
        found = [*source(str(where)).read(ALL)]
        assert [entry.job_id for entry in found if entry.event == "prediction"] == job_ids
        report = verify(source(str(where)), ALL)
        assert (report.sound, report.verdicts[0].state) == (True, "complete")


def test_rotated_and_gzipped(tmp_path: Path) -> None:
    """All files of a folder are one log, rotated ones before the newest, gzipped ones too."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(4), stream.closed()])
    (tmp_path / "logs-2025-10-08T00-00-00.000.jsonl.gz").write_bytes(gzip.compress(b"".join(written[:2])))
    (tmp_path / "logs-2025-10-09T00-00-00.000.jsonl").write_bytes(b"".join(written[2:4]))
    (tmp_path / "logs.jsonl").write_bytes(b"".join(written[4:]))
    (tmp_path / "notes.txt").write_text("not a log")
    assert numbers(source(str(tmp_path)).read(ALL)) == [1, 2, 3, 4, 5, 6]
    assert numbers(source(str(tmp_path / "logs.jsonl")).read(ALL)) == [5, 6]


@pytest.mark.parametrize(
    "names",
    [
        ("logs.jsonl.2", "logs.jsonl.1", "logs.jsonl"),
        ("logs.log.10.gz", "logs.log.2.gz", "logs.log"),
        ("logs.json-20251008.zst", "logs.json-20251009", "logs.json"),
    ],
)
def test_rotated_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    """What logrotate makes of a name is read, the oldest first, gzip and zstd included."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(5)])
    for place, name in enumerate(names):
        text = b"".join(written[2 * place : 2 * place + 2])
        (tmp_path / name).write_bytes(
            compressed(name, text[: len(text) // 3]) + compressed(name, text[len(text) // 3 :])
        )
    where = source(str(tmp_path))
    assert numbers(where.read(ALL)) == [1, 2, 3, 4, 5, 6]
    assert not where.damaged
    assert not where.passed_over


@pytest.mark.parametrize("name", ["a.jsonl", "a.log"])
def test_what_is_no_regular_file(tmp_path: Path, name: str) -> None:
    """A pipe or a socket with the name of a log is passed over, and not waited for."""
    stream = Stream()
    (tmp_path / "logs.jsonl").write_bytes(line(stream.id, [stream.opened()]))
    os.mknod(tmp_path / name, stat.S_IFSOCK | 0o600)
    where = source(str(tmp_path))
    assert numbers(where.read(ALL)) == [1]
    assert where.passed_over == [f"{tmp_path / name} was not read: it is not a regular file"]


@pytest.mark.parametrize("name", ["collector.log", "collector.log.1.gz"])
def test_the_log_of_another_program(tmp_path: Path, name: str) -> None:
    """A program's own .log beside the records is passed over, and is no damage."""
    stream = Stream()
    (tmp_path / "logs.log").write_bytes(line(stream.id, [stream.opened()]))
    (tmp_path / name).write_bytes(compressed(name, b'{"level":"info","msg":"started"}\n'))
    where = source(str(tmp_path))
    assert numbers(where.read(ALL)) == [1]
    assert not where.damaged
    assert where.passed_over == [f"{tmp_path / name} was not read: it holds no OTLP JSON lines"]


def test_zstd_that_was_cut_off(tmp_path: Path) -> None:
    """A .zst that ends in its middle is damage, and what is before is read."""
    stream = Stream()
    text = b"".join(lines(stream, stream.predictions(300)))
    (tmp_path / "a.jsonl.zst").write_bytes(compressed(".zst", text)[:-20])
    where = source(str(tmp_path))
    assert len(numbers(where.read(ALL))) < 300
    assert [each.partition(": ")[0] for each in where.damaged][-1] == str(tmp_path / "a.jsonl.zst")


def test_zstd_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow a .zst is not passed over in silence: the reading ends with the command that installs it."""
    (tmp_path / "a.jsonl.zst").write_bytes(compressed(".zst", b""))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match=r"-m pip install 'pyarrow>="):
        [*source(str(tmp_path)).read(ALL)]


def test_last_line_without_its_end(tmp_path: Path) -> None:
    """A last line that lacks nothing but its newline is read."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(2)])
    (tmp_path / "logs.jsonl").write_bytes(b"".join(written)[:-1])
    assert numbers(source(str(tmp_path)).read(ALL)) == [1, 2, 3]


@pytest.mark.parametrize(
    "value", [{"intValue": True}, {"intValue": "seven"}, {"boolValue": "yes"}, {"doubleValue": "x"}]
)
@pytest.mark.parametrize("kind", ["outbox", "files"])
def test_one_bad_attribute(tmp_path: Path, kind: str, value: dict[str, object]) -> None:
    """An attribute that cannot be read costs its record, which is named with the line, and not the line."""
    stream = Stream()
    records = stream.predictions(3)
    records[1]["attributes"].append({"key": "prediction.batch.size", "value": value})
    where = source(lay_out(kind, tmp_path, [line(stream.id, records)]))
    assert numbers(where.read(ALL)) == [1, 3]
    assert len(where.damaged) == 1


def compressed(name: str, text: bytes) -> bytes:
    """Return text as a file of that name has it."""
    if name.endswith(".zst"):
        packed: bytes = pa.compress(text, codec="zstd", asbytes=True)
        return packed
    return gzip.compress(text) if name.endswith(".gz") else text


def test_gzip_at_work(tmp_path: Path) -> None:
    """A file beside its own half-made gzip is read once; a gzip that was cut off is damage and no crash."""
    stream = Stream()
    written = b"".join(lines(stream, [stream.opened(), *stream.predictions(300)]))
    (tmp_path / "a.jsonl").write_bytes(written)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(written)[:1000])
    where = source(str(tmp_path))
    assert len(numbers(where.read(ALL))) == 301
    assert not where.damaged
    (tmp_path / "a.jsonl").unlink()
    assert len(numbers(where.read(ALL))) < 301
    (damage,) = where.damaged
    assert damage.startswith(f"{tmp_path / 'a.jsonl.gz'}: ")


def test_torn_tail(tmp_path: Path) -> None:
    """A last line without its end may still be being written: it is no damage, and is read once it is whole."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(2)])
    path = tmp_path / "logs.jsonl"
    path.write_bytes(written[0] + written[1][:50])
    where = source(str(path))
    followed = where.follow(ALL)
    assert numbers(where.read(ALL)) == numbers(followed) == [1]
    with path.open("ab") as file:
        file.write(written[1][50:] + written[2])
    assert numbers(followed) == [2, 3]
    assert not where.damaged


def test_follows_over_rotation(tmp_path: Path) -> None:
    """Who follows a file, or its folder, sees the end of the old file, all of the new one, and nothing twice."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(5)])
    path = tmp_path / "logs.jsonl"
    path.write_bytes(written[0])
    followed = [source(str(where)).follow(ALL) for where in (path, tmp_path)]
    assert [numbers(each) for each in followed] == [[1], [1]]
    with path.open("ab") as file:
        file.write(written[1])
    path.rename(tmp_path / "logs-2025.jsonl")
    path.write_bytes(written[2])
    assert [sorted(numbers(each)) for each in followed] == [[2, 3], [2, 3]]
    with path.open("ab") as file:
        file.write(written[3])
    assert [numbers(each) for each in followed] == [[4], [4]]
    path.write_bytes(written[4])  # cut and begun anew in its place
    assert [numbers(each) for each in followed] == [[5], [5]]


def test_rotation_while_reading(tmp_path: Path) -> None:
    """A file that is renamed while its folder is read is read once, and the one in its place too."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(3)])
    (tmp_path / "a.jsonl").write_bytes(written[0])
    (tmp_path / "b.jsonl").write_bytes(written[1])
    found = source(str(tmp_path)).read(ALL)
    assert next(found).sequence == 1
    (tmp_path / "b.jsonl").rename(tmp_path / "b-2025.jsonl")
    (tmp_path / "b.jsonl").write_bytes(written[2])
    assert sorted(entry.sequence for entry in found) == [2, 3]


def test_damaged_lines(tmp_path: Path) -> None:
    """A line that cannot be read is named by its place, and its neighbours are read."""
    stream = Stream()
    written = lines(stream, stream.predictions(3))
    (tmp_path / "logs.jsonl").write_bytes(written[0] + b"{\x00\n" + written[2])
    where = source(str(tmp_path))
    assert numbers(where.read(ALL)) == [1, 3]
    (damage,) = where.damaged
    assert damage.startswith(f"{tmp_path / 'logs.jsonl'}:2: not a line of OTLP JSON logs")


@pytest.mark.parametrize("cut", [1, 20, 300, -3, -1])
@pytest.mark.parametrize("kind", ["resourceLogs", "resourceSpans"])
def test_line_after_a_torn_one(tmp_path: Path, cut: int, kind: str) -> None:
    """Where a killed Collector's next life writes on in the same line, all that is whole is read; that is no damage."""
    stream = Stream()
    written = [text.replace(b"resourceLogs", kind.encode()) for text in lines(stream, stream.predictions(3))]
    (tmp_path / "logs.jsonl").write_bytes(written[0] + written[1][:cut] + written[1] + written[2])
    where = source(str(tmp_path))
    expected = [1, 2, 2, 3] if cut == -1 else [1, 2, 3]  # but for its newline the cut line was whole
    assert numbers(where.read(ALL)) == numbers(where.follow(ALL)) == (expected if kind == "resourceLogs" else [])
    assert not where.damaged


def test_window(tmp_path: Path) -> None:
    """A window holds its start and not its end."""
    stream = Stream()
    records = stream.predictions(5)
    (tmp_path / "logs.jsonl").write_bytes(line(stream.id, records))
    times = [int(record["timeUnixNano"]) for record in records]
    assert numbers(source(str(tmp_path)).read(TimeRange(times[1], times[3]))) == [2, 3]


@pytest.mark.parametrize("name", ["nothing", "empty", "."])
def test_nothing_to_read(tmp_path: Path, name: str) -> None:
    """A place that holds no log is refused by a sentence that says what was wanted."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="nothing to read; wanted an outbox, a file of OTLP JSON lines"):
        source(str(tmp_path / name))


def test_later_schema(tmp_path: Path) -> None:
    """Records of a later version are named once, with the least number, and the others are read."""
    stream = Stream()
    known, *later = stream.opened(), stream.prediction(), stream.prediction()
    written = [line(stream.id, [known]), *(line(stream.id, [each], schema=2) for each in later)]
    (tmp_path / "logs.jsonl").write_bytes(b"".join(written))
    where = source(str(tmp_path))
    assert numbers(where.read(ALL)) == [1]
    assert where.later == {stream.id: LaterSchema(stream.id, 2, 2)}
    assert where.damaged == [f"{tmp_path}: {where.later[stream.id]}"]


def test_kinds(outbox: Path) -> None:
    """What a place is, is seen from what is there."""
    stream = Stream()
    lay_out("outbox", outbox.parent, lines(stream, [stream.opened()]))
    assert isinstance(source(str(outbox)), OutboxSource)
    assert isinstance(source(str(outbox / "v1" / stream.id / "logs")), Files)
    assert source(str(outbox)).name == str(outbox)
