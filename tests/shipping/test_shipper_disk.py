"""The shipper on a disk that is full or fails: shipping goes on."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec
import pytest

from predictor.outbox import layout
from predictor.outbox.layout import Cursor
from predictor.outbox.recovery.repair import repair
from predictor.shipping import backlog
from predictor.shipping.flow_control import SendWindow
from tests.support.scripted_sink import serve
from tests.support.shipper_rig import Rig, end, ones, stored
from tests.support.stream_files import line, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


async def test_cursor_that_cannot_be_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk shipping goes on and accepted segments go, or nothing would ever make room."""

    def full(_: Path, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layout, "replace_file", full)
    files = make(rig.root, line([1]), line([2]))
    assert await rig.ship(files) == 0
    assert rig.sink.sequences == [1, 2]
    assert files.signal("logs").numbers() == [2]
    assert "cannot store" in caplog.text
    monkeypatch.undo()
    rig.new()
    await rig.ship(files)
    assert rig.sink.sequences == [1, 2, 2]  # a copy


async def test_segments_wait_for_the_cursor(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a disk that fails accepted segments stay until the cursor is stored: it alone would know the last number.

    `make chaos` found it: a stream was closed with a number that had been given to a prediction.
    """

    def fails(_: Path, __: bytes) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(layout, "replace_file", fails)
    files = make(rig.root, line([1]), line([2]), b"half a li")
    assert await rig.ship(files) == len("half a li")
    assert rig.sink.sequences == [1, 2]
    assert files.signal("logs").numbers() == [1, 2, 3]
    assert "cannot store" in caplog.text
    monkeypatch.undo()
    closing: list[int] = []

    def close(_: bytes, number: int, __: object) -> bytes:
        closing.append(number)
        return line([number])

    files.lock.touch()
    repair(files, close)
    assert closing == [3]


async def test_full_disk_has_room_for_the_cursor(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full but for what accepted segments take: they go, and the cursor is stored at once."""
    files = make(rig.root, line([1]), line([2]))
    replace = layout.replace_file

    def full(path: Path, content: bytes) -> None:
        if 1 in files.signal("logs").numbers():
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(path, content)

    monkeypatch.setattr(layout, "replace_file", full)
    assert await rig.ship(files) == 0
    assert files.signal("logs").cursor() == Cursor(2, len(line([2])), sequence=2)


async def test_stream_that_cannot_be_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that fails under one stream does not stop the others."""
    bad, good = rig.stream(ones(1), "0192-a"), rig.stream([[2]], "0192-b")
    read = backlog.Backlog.read

    def failing(self: backlog.Backlog, limit: int = backlog.READ) -> backlog.ReadLines:
        if self.files == bad:
            raise OSError(errno.EIO, "Input/output error")
        return read(self, limit)

    monkeypatch.setattr(backlog.Backlog, "read", failing)
    assert await rig.ship(bad, good) == len(line([1]))
    assert rig.sink.sequences == [2]
    assert f"cannot read {bad.path}: Input/output error" in caplog.text


def test_backlog_is_known_without_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer does not stop the status: what was read is counted."""
    walk = backlog.Backlog("logs", rig.stream(ones(2)), lambda: 0.0)
    walk.take(walk.read())

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(layout.SignalFiles, "backlog", failing)
    assert walk.size() == 2 * len(line([1]))


@pytest.mark.parametrize(
    "cursor",
    [
        b'{"segment":1,"offset":18446744073709551616,"sequence":2}',
        b'{"segment":18446744073709551616,"offset":0,"sequence":2}',
        b'{"segment":1,"offset":100000000,"sequence":2}',
        b'{"segment":7,"offset":0,"sequence":2}',
        b'{"segment":1,"offset":-1,"sequence":2}',
    ],
)
async def test_cursor_that_cannot_be_passes_nothing_over(rig: Rig, cursor: bytes) -> None:
    """A damaged cursor stops no shipping and leaves nothing out: all is sent again."""
    files = rig.stream(ones(5))
    (files.signal("logs").folder / "cursor").write_bytes(cursor)
    assert await rig.ship(files) == 0
    assert rig.sink.sequences == [1, 2, 3, 4, 5]
    assert stored(files) == end(files)


async def test_stream_without_files(rig: Rig) -> None:
    """A stream whose signal has no folder yet, or no more, is drained."""
    files = make(rig.root, signal="traces")
    assert await rig.ship(files) == 0
    assert rig.shipper.drained(files)


def test_window_opens_no_wider_than_it_must() -> None:
    """However long all goes well, the number of pieces stays a number that a body can hold."""
    window = SendWindow()
    window.failed()
    for _ in range(100):
        window.accepted(window.pieces)
    assert window.pieces == 1 << 16


def test_window_opens_after_a_refusal() -> None:
    """Once the refused item is found it slows its successors down no longer than an outage would."""
    window = SendWindow()
    window.refused(1, 100, 400)
    window.passed_over()
    window.accepted(1)
    assert window.pieces == 2


def test_cursor_waits_for_the_whole_line(rig: Rig) -> None:
    """While a part of a line is not settled, the cursor and its number stay before the line."""
    walk = backlog.Backlog("logs", rig.stream([[1], [2, 3, 4, 5]]), lambda: 0.0)
    walk.take(walk.read())
    walk.settle(1)
    before = walk.cursor
    assert walk.halve()
    assert walk.halve()
    for _ in range(2):
        walk.settle(1)
        assert walk.cursor == before
    walk.settle(1)
    assert walk.cursor == Cursor(1, len(line([1]) + line([2, 3, 4, 5])), sequence=5)


def test_cursor_file_is_the_published_one(rig: Rig) -> None:
    """The cursor on disk has the three published fields."""
    files = rig.stream(ones(1))
    walk = backlog.Backlog("logs", files, lambda: 0.0)
    walk.take(walk.read())
    walk.settle(1)
    walk.store()
    raw = (files.signal("logs").folder / "cursor").read_bytes()
    assert msgspec.json.decode(raw) == {"segment": 1, "offset": len(line([1])), "sequence": 1}
