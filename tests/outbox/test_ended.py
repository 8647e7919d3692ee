"""`ended.jsonl`: which streams have ended on an outbox, noted before their folders go, until a later one names them."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pytest

from predictor.core.operator_log import Throttle
from predictor.outbox import ended, layout, ownership
from predictor.outbox.ownership import adopt, create
from tests.outbox.test_ownership import CLOSED, HEAD, STREAM, closing, dead, line, one

if TYPE_CHECKING:
    from pathlib import Path

_OTHER = "01970000-0000-7000-8000-000000000002"
_DIGEST = b'{"key":"prediction.stream.digest","value":{"stringValue":"ab12"}},'


def _sealed(sequence: int) -> bytes:
    return line(sequence, CLOSED).replace(b'{"attributes":[', b'{"attributes":[' + _DIGEST)


def test_a_stream_is_noted_before_its_folder_goes(tmp_path: Path) -> None:
    """Whoever removes a shipped stream notes its id, last number and digest first."""
    dead(tmp_path, line(1), _sealed(2))
    one(adopt(tmp_path, closing)).remove()
    assert layout.streams(tmp_path) == []
    (entry,) = ended.unnamed(tmp_path)
    assert (entry.stream, entry.last, entry.digest, entry.kept) == (STREAM, 2, "ab12", False)


def test_a_crashed_stream_has_no_digest(tmp_path: Path) -> None:
    """The closing record that the next process writes is no checkpoint."""
    files = dead(tmp_path, line(1), line(2))
    owned = one(adopt(tmp_path, closing))
    ended.enter(files, kept=True)
    owned.release()
    (entry,) = ended.unnamed(tmp_path)
    assert (entry.last, entry.digest, entry.kept) == (3, "", True)


def test_a_stream_of_which_only_the_cursor_is_left(tmp_path: Path) -> None:
    """Its last number is the cursor's, where its segments were shipped and removed."""
    files = dead(tmp_path)
    files.signal("logs").store_cursor(layout.Cursor(3, 0, 41))
    ended.enter(files, kept=False)
    assert ended.unnamed(tmp_path)[0].last == 41


def test_a_stream_is_noted_once(tmp_path: Path) -> None:
    """A stream that is kept is adopted at each start, and named by one later stream only."""
    files = dead(tmp_path, _sealed(1))
    ended.enter(files, kept=True)
    ended.named(tmp_path, {STREAM})
    assert not (tmp_path / "v1" / ended.NAME).exists()
    ended.enter(files, kept=True)
    assert ended.unnamed(tmp_path) == []


def test_what_is_named_is_taken_out(tmp_path: Path) -> None:
    """Who names some leaves the others; a line that a crash has cut is passed over, and later ones are read."""
    for stream in (STREAM, _OTHER):
        ended.enter(dead(tmp_path, _sealed(1), stream_id=stream), kept=False)
        with (tmp_path / "v1" / ended.NAME).open("ab") as file:
            file.write(b'{"stream":"cut')
    assert [each.stream for each in ended.unnamed(tmp_path)] == [STREAM, _OTHER]
    ended.named(tmp_path, {STREAM})
    assert [each.stream for each in ended.unnamed(tmp_path)] == [_OTHER]


def test_a_full_disk_keeps_no_shipped_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no room for the note a shipped stream goes all the same, which makes some, and that is said."""
    monkeypatch.setattr(ownership, "_throttle", Throttle(0))
    caplog.set_level(logging.ERROR)
    dead(tmp_path, _sealed(1))
    owned = one(adopt(tmp_path, closing))

    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{fd}: {len(data)}")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        owned.remove()
    assert layout.streams(tmp_path) == []
    assert "no later stream names it" in caplog.text


def test_another_error_keeps_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the note cannot be written for another reason the stream stays, and is taken over again."""
    dead(tmp_path, _sealed(1))
    owned = one(adopt(tmp_path, closing))

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(fd))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="Input/output"):
            owned.remove()
    one(adopt(tmp_path, closing)).remove()
    assert [each.stream for each in ended.unnamed(tmp_path)] == [STREAM]


def test_a_living_stream_is_not_noted(tmp_path: Path) -> None:
    """Only what has ended is."""
    owned = create(tmp_path, STREAM, HEAD)
    assert adopt(tmp_path, closing) == []
    assert ended.unnamed(tmp_path) == []
    owned.release()
