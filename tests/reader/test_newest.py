"""The newest records are found from the end of the log, whatever its size."""

from __future__ import annotations

import gzip
import io
import os
import time
from typing import TYPE_CHECKING

import pytest

from predictor.reader.list import newest
from predictor.reader.sources import backwards, files, loki
from predictor.reader.sources.backwards import blocks
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, lay_out, line, lines

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.reader.record import Entry


def found(where: str, limit: int, window: TimeRange | None = None) -> tuple[list[tuple[str, int]], int]:
    """Return stream and number of the newest records, and how many were read for them."""
    read: list[Entry] = []
    kept = newest(source(where), window or TimeRange(), limit, lambda entry: entry.event == "prediction", read.append)
    return [entry[:2] for entry in kept], len(read)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"one\n", b"one", b"a\nbb\nccc\n", b"a\n\n\nbb\n" + b"c" * 50 + b"\nd", b"x" * 20 + b"\n"]
)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_blocks(text: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks from the end hold every line once and whole, wherever a block is cut, and say where they begin."""
    monkeypatch.setattr(backwards, "_BYTES", size)
    read = [*blocks(io.BytesIO(text))]
    assert [line for _, block in reversed(read) for line in block] == text.splitlines(keepends=True)
    assert all(block and text[at:].startswith(b"".join(block)) for at, block in read)


@pytest.mark.parametrize("kind", ["outbox", "files"])
def test_from_the_end(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest few of a large log cost a part of it; those of all streams and a filter's are right all the same."""
    monkeypatch.setattr(backwards, "_BYTES", 1 << 14)
    monkeypatch.setattr(files, "_SURE", 1 << 15)
    one, other = Stream(BASE), Stream(BASE + SECOND // 4)
    written = [(one.id, record) for record in one.predictions(300)] + [(other.id, r) for r in other.predictions(300)]
    written.sort(key=lambda each: int(each[1]["timeUnixNano"]))
    where = lay_out(kind, tmp_path, [line(stream, [record]) for stream, record in written])
    latest, read = found(where, 5)
    assert latest == [(other.id, number) for number in range(296, 301)]
    assert read < 150
    every, read = found(where, 10_000)
    assert (sorted(every), read) == (sorted((each.id, n) for each in (one, other) for n in range(1, 301)), 600)
    assert found(where, 1, TimeRange(None, BASE + 100_000_000))[0] == [(one.id, 99)]


def test_late_records_of_a_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an outage held back and a Collector wrote last does not hide the younger records before it."""
    monkeypatch.setattr(backwards, "_BYTES", 1 << 12)
    fresh, late = Stream(BASE + 3600 * SECOND), Stream(BASE)
    where = lay_out("files", tmp_path, [*lines(fresh, fresh.predictions(10)), *lines(late, late.predictions(200))])
    assert found(where, 3)[0] == [(fresh.id, number) for number in (8, 9, 10)]


def test_compressed(tmp_path: Path) -> None:
    """A compressed file is read as a whole, and an older one is left alone once there are enough."""
    old, new = Stream(BASE), Stream(BASE + 3600 * SECOND)
    folder = tmp_path / "files"
    folder.mkdir()
    for name, stream in (("logs.jsonl.2.gz", old), ("logs.jsonl.1.gz", new)):
        (folder / name).write_bytes(gzip.compress(b"".join(lines(stream, stream.predictions(20)))))
        os.utime(folder / name, ns=(stream.now, stream.now + SECOND))
    assert found(str(folder), 2) == ([(new.id, 19), (new.id, 20)], 20)
    assert found(str(folder), 30)[1] == 40


def test_pages_of_loki(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loki is asked for its newest page first, and for one more only while there are too few."""
    monkeypatch.setattr(loki, "_PAGE", 4)
    stream = Stream(time.time_ns() - 60 * SECOND)
    with Loki() as server:
        server.add(*lines(stream, stream.predictions(20)))
        assert found(server.url, 3) == ([(stream.id, number) for number in (18, 19, 20)], 4)
        assert {each["direction"] for each in server.queries if "event_name" not in each["query"]} == {"backward"}
        assert found(server.url, 20)[0] == [(stream.id, number) for number in range(1, 21)]
        same = Stream(time.time_ns() - 30 * SECOND)
        records = [record | {"timeUnixNano": str(same.now)} for record in same.predictions(6)]
        server.add(*lines(same, records))
        with pytest.raises(SourceError, match="records or more at one nanosecond"):
            found(server.url, 20)
