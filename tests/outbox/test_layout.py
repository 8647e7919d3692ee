"""The promises of the read side: complete lines only, in order, and a cursor that is old or new but never torn."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.outbox.layout import LAYOUT, Cursor, LineSlice, SignalFiles, StreamFiles, replace_file, streams


def test_reads_complete_lines_only(files: SignalFiles) -> None:
    """A line that is still being written is not read, and reading goes on where it begins."""
    files.segment(1).write_bytes(b"one\ntwo\nthr")
    assert files.read(1, 0, 100) == LineSlice([b"one\n", b"two\n"], 1, 8)
    assert files.read(1, 8, 100) == LineSlice([], 1, 8)
    with files.segment(1).open("ab") as file:
        file.write(b"ee\n")
    assert files.read(1, 8, 100) == LineSlice([b"three\n"], 1, 14)


def test_line_longer_than_the_limit_is_read(files: SignalFiles) -> None:
    """The limit holds back further lines, never the first one."""
    files.segment(1).write_bytes(b"a long line\nnext\n")
    assert files.read(1, 0, 4) == LineSlice([b"a long line\n"], 1, 12)
    assert files.read(1, 12, 4) == LineSlice([b"next\n"], 1, 17)


def test_a_line_ends_at_its_newline_only(files: SignalFiles) -> None:
    """Other characters that end lines elsewhere are bytes like any other, even in a damaged line."""
    files.segment(1).write_bytes(b"a\rb\x0b\x0c\x1c\xc2\x85\r\nc\n")
    assert files.read(1, 0, 100).lines == [b"a\rb\x0b\x0c\x1c\xc2\x85\r\n", b"c\n"]


def test_passes_over_torn_and_missing_segments(files: SignalFiles) -> None:
    """A segment that is gone, or ends in a torn line and has a successor, does not stop the reader."""
    files.segment(2).write_bytes(b"two\ntorn")
    files.segment(5).write_bytes(b"five\n")
    (files.folder / "copy of 1.jsonl").write_bytes(b"no segment\n")
    assert files.numbers() == [2, 5]
    assert list(files.lines()) == [b"two\n", b"five\n"]
    assert files.read(2, 4, 100) == LineSlice([b"five\n"], 5, 5)
    assert files.read(6, 9, 100) == LineSlice([], 6, 9)


def test_only_files_are_segments(files: SignalFiles) -> None:
    """What has a segment's name and is no file, or a name that no segment has, is passed over."""
    files.segment(2).write_bytes(b"two\n")
    files.segment(3).mkdir()
    os.mkfifo(files.segment(4))
    for name in ("1.jsonl", "٣.jsonl", f"{'9' * 30}.jsonl"):
        (files.folder / name).touch()
    assert files.numbers() == [2]
    assert list(files.lines()) == [b"two\n"]


def test_cursor_beyond_the_end_goes_on_in_the_next_segment(files: SignalFiles) -> None:
    """A cursor beyond the end of a segment that a power cut has shortened means that all of it was shipped."""
    files.segment(1).write_bytes(b"one\n")
    assert list(files.lines(Cursor(1, 100))) == []
    files.segment(2).write_bytes(b"two\n")
    assert list(files.lines(Cursor(1, 100))) == [b"two\n"]


def test_backlog_counts_what_lies_after_the_cursor(files: SignalFiles) -> None:
    """The backlog is the bytes after the cursor, never less than nothing."""
    for number in (1, 2, 3):
        files.segment(number).write_bytes(b"x" * 9 + b"\n")
    assert files.backlog(Cursor()) == 30
    assert files.backlog(Cursor(2, 4)) == 16
    assert files.backlog(Cursor(3, 40)) == 0
    assert SignalFiles(files.folder / "none").backlog(Cursor()) == 0


def test_cursor_is_what_was_stored(files: SignalFiles) -> None:
    """A stored cursor is found again; one that is missing or damaged is the beginning."""
    assert files.cursor() == Cursor(1, 0, 0)
    files.segment(3).write_bytes(b"fourteen byte\n")
    files.store_cursor(Cursor(3, 14, 15))
    assert files.cursor() == Cursor(3, 14, 15)
    assert (files.folder / "cursor").read_bytes() == b'{"segment":3,"offset":14,"sequence":15}'
    (files.folder / "cursor").write_bytes(b'{"segment":3,"off')
    assert files.cursor() == Cursor()
    (files.folder / "cursor").unlink()
    os.mkfifo(files.folder / "cursor")
    assert files.cursor() == Cursor()


def record(sequence: int) -> bytes:
    """Return a line with that number."""
    return b'{"key":"prediction.stream.sequence","value":{"intValue":"%d"}}\n' % sequence


SIZE = len(record(1))


@pytest.mark.parametrize(
    ("cursor", "fits"),
    [
        (Cursor(2, SIZE, 4), True),
        (Cursor(2, 2 * SIZE, 5), True),
        (Cursor(2, SIZE, 5), True),  # copies come again after a failed fsync
        (Cursor(3, 0, 5), True),
        (Cursor(3, 0, 4), False),
        (Cursor(1, 0, 3), True),  # removed, as on a full disk, before the cursor was stored
        (Cursor(2, 2 * SIZE, 4), False),
        (Cursor(2, SIZE + 1, 4), False),
        (Cursor(2, 3 * SIZE, 6), False),
        (Cursor(4, 0, 5), False),
        (Cursor(3, SIZE, 5), False),
        (Cursor(1, SIZE, 5), False),
        (Cursor(1 << 60, 0, 5), False),
        (Cursor(2, 1 << 70, 5), False),
        (Cursor(2, -SIZE, 5), False),
    ],
)
def test_cursor_fits_the_files(files: SignalFiles, cursor: Cursor, *, fits: bool) -> None:
    """A cursor stands between two lines of the files, and says no less than the line before; else all is sent again.

    The number it holds is kept, if it can be one.
    """
    files.segment(2).write_bytes(record(4) + record(5))
    files.store_cursor(cursor)
    allowed = max(cursor.segment, cursor.offset) < 1 << 53 and cursor.offset >= 0
    assert files.cursor() == (cursor if fits else Cursor(sequence=cursor.sequence if allowed else 0))


def test_cursor_whose_process_goes_on(files: SignalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that comes while segments are shipped and removed finds the cursor of now, not the beginning."""
    files.segment(1).write_bytes(record(1))
    files.store_cursor(Cursor(1, SIZE, 1))
    numbered = SignalFiles.number_before

    def shipped(self: SignalFiles, cursor: Cursor) -> int | None:
        if cursor.segment == 1:
            self.segment(2).write_bytes(record(2))
            self.store_cursor(Cursor(2, SIZE, 2))
            self.segment(1).unlink()
        return numbered(self, cursor)

    monkeypatch.setattr(SignalFiles, "number_before", shipped)
    assert files.cursor() == Cursor(2, SIZE, 2)


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_replacing_a_file_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """If the new content cannot be written, synced or renamed, the old one stays and the error is told."""
    path = tmp_path / "cursor"
    replace_file(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "rename" else os, call, fail)
        with pytest.raises(OSError, match="Input/output"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_replacing_a_file_survives_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes a part only is gone on with."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))
    replace_file(tmp_path / "cursor", b"12345")
    assert (tmp_path / "cursor").read_bytes() == b"12345"


def test_streams_come_oldest_first(tmp_path: Path) -> None:
    """Streams are the directories that are complete, in the order of their ids."""
    assert streams(tmp_path) == []
    folder = tmp_path / LAYOUT
    for name in ("b", "a", ".half-made"):
        (folder / name).mkdir(parents=True)
    (folder / "file").touch()
    assert streams(tmp_path) == [StreamFiles(folder / "a"), StreamFiles(folder / "b")]
    assert [files.stream_id for files in streams(tmp_path)] == ["a", "b"]


@given(
    contents=st.lists(st.lists(st.binary(max_size=9).filter(lambda text: b"\n" not in text), max_size=5), max_size=4),
    limit=st.integers(1, 30),
)
def test_any_limit_reads_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[bytes]], limit: int
) -> None:
    """However much is read at once, every line comes once and in order, and positions lead from one to the next."""
    files = SignalFiles(tmp_path_factory.mktemp("any"))
    for number, lines in enumerate(contents, start=1):
        files.segment(number).write_bytes(b"".join(line + b"\n" for line in lines))
    segment, offset, found = 1, 0, []
    while (batch := files.read(segment, offset, limit)).lines:
        found += batch.lines
        assert sum(map(len, batch.lines)) <= limit or len(batch.lines) == 1
        _, segment, offset = batch
    assert found == [line + b"\n" for lines in contents for line in lines]
