"""The promises of ownership: one owner at a time, nobody's stream is forgotten, nothing is removed unshipped."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from predictor import otlp
from predictor.core.operator_log import Throttle
from predictor.outbox import ended, layout, ownership
from predictor.outbox.layout import Cursor, StreamFiles, streams
from predictor.outbox.ownership import Owned, adopt, create
from predictor.outbox.writing.segment_file import DiskCalls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.outbox.recovery.undeclared import UndeclaredRange

HEAD = otlp.head("logs", {"resource": {}}, {"name": "predictor"})
STREAM = "01970000-0000-7000-8000-000000000001"
CLOSED = "prediction.stream.closed"


def line(sequence: int, event: str = "prediction") -> bytes:
    """Return a line with one record."""
    attribute = {"key": "prediction.stream.sequence", "value": {"intValue": str(sequence)}}
    return otlp.line(HEAD, [otlp.encode({"attributes": [attribute], "eventName": event})])


def closing(head: bytes, sequence: int, lost: Sequence[UndeclaredRange] = ()) -> bytes:
    """Close a stream as the server would."""
    assert head == HEAD
    assert not lost
    return line(sequence, CLOSED)


def dead(root: Path, *lines: bytes, stream_id: str = STREAM) -> StreamFiles:
    """Leave a stream as a killed process would."""
    owned = create(root, stream_id, HEAD)
    if lines:
        owned.files.signal("logs").segment(1).write_bytes(b"".join(lines))
    owned.release()
    return owned.files


def one(owned: list[Owned]) -> Owned:
    """Return the only one."""
    (stream,) = owned
    return stream


def tree(root: Path) -> dict[str, bytes]:
    """Return what all files hold, but for the list of what has ended."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ended.NAME)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def _talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_throttle", Throttle(0))


class Unwritable(DiskCalls):
    """A disk that takes nothing more."""

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        """Refuse."""
        raise OSError(errno.ENOSPC, f"No space left on device for {len(data)} bytes in {fd}")


def test_create_makes_a_private_directory_with_its_head(tmp_path: Path) -> None:
    """A stream's files are its owner's alone, and its lock holds what the closing record needs."""
    owned = create(tmp_path / "outbox", STREAM, HEAD)
    files = owned.files
    assert files.path == tmp_path / "outbox" / "v1" / STREAM
    assert files.lock.read_bytes() == HEAD
    modes = {path.name: path.stat().st_mode & 0o777 for path in (files.path, *files.path.iterdir())}
    assert modes == {STREAM: 0o700, "lock": 0o600, "logs": 0o700, "traces": 0o700}
    assert not owned.adopted
    owned.release()


def test_create_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that could not be completed is not left half made, and its id can be tried again."""

    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, f"No space left on device: {fd}")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space"):
            create(tmp_path, STREAM, HEAD)
    assert layout.streams(tmp_path) == []
    create(tmp_path, STREAM, HEAD).release()


HOLDER = """
import sys
from pathlib import Path
from predictor.outbox.ownership import create
owned = create(Path(sys.argv[1]), sys.argv[2], bytes.fromhex(sys.argv[3]))
print("owned", flush=True)
sys.stdin.read()
"""


def test_living_stream_is_never_adopted(tmp_path: Path) -> None:
    """While its process lives a stream belongs to it; when that is killed, to the first who comes, and to one only."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), STREAM, HEAD.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"owned\n"
        before = tree(tmp_path)
        assert adopt(tmp_path, closing) == []
        assert tree(tmp_path) == before
        process.kill()
    owned = one(adopt(tmp_path, closing))
    assert owned.adopted
    assert adopt(tmp_path, closing) == []
    owned.release()
    one(adopt(tmp_path, closing)).release()


def test_adoption_closes_a_stream(tmp_path: Path) -> None:
    """The closing record carries the number after the last one, and all adopted streams come oldest first."""
    first = dead(tmp_path, line(1), line(2), stream_id="b")
    second = dead(tmp_path, stream_id="a")
    third = dead(tmp_path, line(1), line(2, CLOSED), stream_id="c")
    owned = adopt(tmp_path, closing)
    assert [stream.files for stream in owned] == [second, first, third]
    assert [list(stream.files.signal("logs").lines()) for stream in owned] == [
        [line(1, CLOSED)],
        [line(1), line(2), line(3, CLOSED)],
        [line(1), line(2, CLOSED)],
    ]
    for stream in owned:
        stream.release()


def test_adopting_twice_changes_nothing(tmp_path: Path) -> None:
    """A second adoption finds a closed stream and leaves every byte as it is."""
    dead(tmp_path, line(1), line(2)[:-5])
    one(adopt(tmp_path, closing)).release()
    before = tree(tmp_path)
    one(adopt(tmp_path, closing)).release()
    assert tree(tmp_path) == before


def test_full_disk_delays_the_closing_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that cannot be closed is shipped all the same, not removed, and closed by a later adoption."""
    files = dead(tmp_path, line(1))
    owned = one(adopt(tmp_path, closing, disk=Unwritable()))
    assert owned.incomplete
    assert "No space left on device" in caplog.text
    logs = files.signal("logs")
    assert list(logs.lines()) == [line(1)]
    logs.store_cursor(Cursor(1, len(line(1)), 1))  # shipped
    owned.remove()
    owned = one(adopt(tmp_path, closing))
    assert not owned.incomplete
    assert list(logs.lines(logs.cursor())) == [line(2, CLOSED)]
    owned.remove()
    assert not files.path.exists()


def test_adoption_frees_the_reserve_first(tmp_path: Path) -> None:
    """On a full disk the closing record has the place that the dead process had reserved."""
    files = dead(tmp_path, line(1))
    files.reserve.write_bytes(b"\0" * 100)
    owned = one(adopt(tmp_path, closing))
    assert not files.reserve.exists()
    owned.release()


def test_damaged_lock_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stream whose lock does not hold the beginning of a line gets no closing record, and is shipped."""
    files = dead(tmp_path, line(1))
    files.lock.write_bytes(b"")
    owned = one(adopt(tmp_path, lambda head, sequence, _: head + b"%d" % sequence))
    assert owned.incomplete
    assert "lock does not hold" in caplog.text
    assert list(files.signal("logs").lines()) == [line(1)]
    owned.release()


def test_remove_keeps_what_was_rejected(tmp_path: Path) -> None:
    """A shipped stream is removed, all but its rejected records, and what is left is nobody's to adopt."""
    files = dead(tmp_path, line(1))
    owned = one(adopt(tmp_path, closing))
    files.rejected.mkdir()
    (files.rejected / "logs-1.json").write_bytes(b"{}")
    owned.remove()
    owned.remove()
    assert tree(tmp_path) == {f"v1/{STREAM}/rejected/logs-1.json": b"{}"}
    assert adopt(tmp_path, closing) == []
    (files.rejected / "logs-1.json").unlink()


@pytest.mark.parametrize("rejected", [False, True])
def test_remove_that_was_killed_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, rejected: bool) -> None:
    """A removal that was cut short is finished by the next adoption, which must not close the stream once more."""
    files = dead(tmp_path, line(1))
    if rejected:
        files.rejected.mkdir()
        (files.rejected / "one").touch()
    owned = one(adopt(tmp_path, closing))

    def killed(_: StreamFiles) -> None:
        raise OSError(errno.EIO, "killed here")

    with monkeypatch.context() as patch:
        patch.setattr(ownership, "_remove_shipped", killed)
        with pytest.raises(OSError, match="killed here"):
            owned.remove()
    files.signal("logs").segment(1).unlink()
    assert adopt(tmp_path, closing) == []
    assert set(tree(tmp_path)) == ({f"v1/{STREAM}/rejected/one"} if rejected else set())


def test_two_may_finish_the_same_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that finds things gone already, since another process finishes it too, is no error."""
    files = dead(tmp_path, line(1))
    files.reserve.touch()
    owned = one(adopt(tmp_path, closing))
    rmtree = shutil.rmtree

    def other_first(path: Path) -> None:
        rmtree(path)
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", other_first)
    owned.remove()
    assert owned.lock is None
    monkeypatch.undo()
    assert adopt(tmp_path, closing) == []
    assert not files.path.exists()


def test_segments_without_a_lock_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Segments whose lock somebody removed are neither adopted nor removed, and that is said."""
    files = dead(tmp_path, line(1))
    files.lock.unlink()
    before = tree(tmp_path)
    assert adopt(tmp_path, closing) == []
    assert tree(tmp_path) == before
    assert "no lock" in caplog.text


def test_lock_that_cannot_be_opened_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that cannot be adopted is said and passed over."""
    (tmp_path / "v1" / "a").mkdir(parents=True)
    (tmp_path / "v1" / "a" / "lock").symlink_to("lock")  # ELOOP, for root too
    dead(tmp_path, line(1), stream_id="b")
    owned = one(adopt(tmp_path, closing))
    assert owned.files.stream_id == "b"
    assert re.search(r"/a cannot be adopted: Too many levels", caplog.text)
    owned.release()


@pytest.mark.parametrize("name", ["lock", "logs/00000001.jsonl", "logs/cursor", "traces/00000001.jsonl", "undeclared"])
def test_fifo_does_not_hold_the_start(tmp_path: Path, name: str) -> None:
    """A FIFO in the place of any file of a stream delays nobody, and the other streams are adopted."""
    files = dead(tmp_path, line(1), stream_id="a")
    (files.path / name).unlink(missing_ok=True)
    os.mkfifo(files.path / name)
    (tmp_path / "v1" / ".made").mkdir()
    os.mkfifo(tmp_path / "v1" / ".made" / "lock")
    dead(tmp_path, line(1), stream_id="b")
    code = f"""
from pathlib import Path
from test_ownership import adopt, closing
owned = adopt(Path({str(tmp_path)!r}), closing)
print(*(each.files.stream_id for each in owned), *(len(list(each.files.signal("logs").lines())) for each in owned))
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30, check=True)
    lines = "1" if name == "logs/00000001.jsonl" else "2"
    assert ended.stdout.split() == (["b", "2"] if name == "lock" else ["a", "b", lines, "2"])


def test_unfinished_directories_are_removed(tmp_path: Path) -> None:
    """What a process left that died while making its stream goes; what is being made now stays."""
    folder = tmp_path / "v1"
    for name in (".dead", ".empty", ".living"):
        (folder / name).mkdir(parents=True)
    (folder / ".dead" / "lock").touch()
    (folder / ".dead" / "logs").mkdir()
    with (folder / ".living" / "lock").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        assert adopt(tmp_path, closing) == []
        assert [path.name for path in folder.iterdir()] == [".living"]
    assert streams(tmp_path) == []


def test_lock_of_another_file_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was removed between the opening and the locking of its lock is not adopted."""
    files = dead(tmp_path, line(1))
    flock = fcntl.flock

    def remove_first(fd: int, operation: int) -> None:
        flock(fd, operation)
        if files.lock.exists() and os.path.samestat(os.fstat(fd), files.lock.stat()):
            files.lock.unlink()
            files.lock.write_bytes(HEAD)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_first)
        assert adopt(tmp_path, closing) == []
    assert list(files.signal("logs").lines()) == [line(1)]


def test_no_outbox_is_nothing_to_adopt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Adopting where there is no outbox yet finds nothing and says nothing."""
    caplog.set_level(logging.DEBUG)
    assert adopt(tmp_path / "none", closing) == []
    assert caplog.messages == []
