"""The streams in a process's care: one that cannot be read must not keep the others from theirs."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING

from predictor.server import owned_streams
from tests.support.stream_files import line, make

if TYPE_CHECKING:
    from pathlib import Path


def damaged(whole: bytes) -> bytes:
    """Return a line whose end, from within the time of writing on, is zeros: what a power cut may leave."""
    at = whole.index(b'"observedTimeUnixNano":"') + 30
    return whole[:at] + bytes(len(whole) - at - 1) + b"\n"


def oldest(path: Path, *lines: bytes) -> int:
    """Return when the oldest record that is not shipped was written."""
    return owned_streams._oldest_unshipped(SimpleNamespace(files=make(path, b"".join(lines))))  # type: ignore[arg-type]


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    """The age of what waits is that of the first record that can be read."""
    assert oldest(tmp_path / "a", line([1])) > 0
    assert oldest(tmp_path / "b", damaged(line([1])), line([2])) == oldest(tmp_path / "a2", line([2]))
    assert oldest(tmp_path / "c", damaged(line([1]))) == 0


def test_nothing_of_its_own_is_older_than_the_process(tmp_path: Path) -> None:
    """A wall clock that is set makes the backlog no older than the process, unless another one has left it."""
    held = owned_streams.OwnedStreams(tmp_path, (), lambda _: None)
    owned = SimpleNamespace(files=make(tmp_path, line([1])), adopted=False)  # written in 2001, by its record
    held.streams = [owned]  # type: ignore[list-item]
    assert held.oldest_unshipped() < 1000
    owned.adopted = True
    assert held.oldest_unshipped() > 1e8


def test_a_stream_that_cannot_be_read_is_not_drained(tmp_path: Path) -> None:
    """A disk error while asking whether all is shipped means no, and stops nobody."""

    def drained(_: object) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    held = owned_streams.OwnedStreams.__new__(owned_streams.OwnedStreams)
    held._shippers = [SimpleNamespace(drained=drained)]  # type: ignore[list-item]
    assert not held._drained(SimpleNamespace(secured=True, files=make(tmp_path, line([1]))))  # type: ignore[arg-type]
