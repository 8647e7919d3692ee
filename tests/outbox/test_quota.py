"""The promises of the bound and of the ring: all bytes count, the oldest go, nobody prunes for another."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pytest

from predictor import otlp
from predictor.core.operator_log import Throttle
from predictor.outbox import quota, retention
from predictor.outbox.layout import Cursor, SignalFiles
from predictor.outbox.ownership import Owned, adopt, create
from predictor.outbox.quota import OwnBound, Usage, bound_spans
from predictor.outbox.retention import prune
from predictor.outbox.segment_age import Elapsed, Watch, ages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = otlp.head("logs", {"resource": {}}, {"name": "predictor"})
NOW = 1_000_000.0
LONG = Elapsed(NOW, NOW, trusted=True)
"""All that the files can tell lies within the life of the process."""


def line(sequence: int, event: str = "prediction") -> bytes:
    """Return a line with one record."""
    attribute = {"key": "prediction.stream.sequence", "value": {"intValue": str(sequence)}}
    return otlp.line(HEAD, [otlp.encode({"attributes": [attribute], "eventName": event})])


SIZE = len(line(1))


def closing(_: bytes, sequence: int, __: object = ()) -> bytes:
    """Close a stream."""
    return line(sequence, "prediction.stream.closed")


@pytest.fixture
def held() -> Iterator[list[Owned]]:
    """Return a list whose streams are released in the end."""
    owned: list[Owned] = []
    yield owned
    for stream in owned:
        stream.release()


def stream(root: Path, name: str, segments: int, *, age: float = 0) -> Owned:
    """Make a stream with so many segments of one line each, and a reserve as its writer has one."""
    owned = create(root, name, HEAD)
    owned.files.reserve.touch()
    for number in range(1, segments + 1):
        path = owned.files.signal("logs").segment(number)
        path.write_bytes(line(number))
        os.utime(path, (NOW - age, NOW - age))
    return owned


def numbers(owned: Owned) -> list[int]:
    """Return which segments of logs a stream has."""
    return owned.files.signal("logs").numbers()


def test_usage_counts_everything_under_the_root(tmp_path: Path) -> None:
    """All files of all streams count but spans, hidden ones too, and what this process adds counts at once."""
    spans = (("v1/a/traces/1", 70), ("v1/a/rejected/traces-1.json", 7))
    for name, size in (("v1/a/logs/1", 100), ("v1/a/rejected/x", 20), ("v1/.b/lock", 3), *spans):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    usage = Usage(tmp_path, 200)
    assert usage.used == 0
    assert usage.scan() == usage.used == 123
    usage.add(50)
    assert usage.used == 173
    assert usage.room(27)
    assert not usage.room(28)
    usage.add(-50)
    assert usage.scan() == 123
    assert Usage(tmp_path / "none", 1).scan() == 0


def test_usage_counts_what_is_added_while_it_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written during a scan is never forgotten: at worst it counts twice until the next one."""
    usage = Usage(tmp_path, 100)
    usage.add(10)

    def scan(_: Path) -> int:
        usage.add(5)
        return 10

    monkeypatch.setattr(quota, "_tree_size", scan)
    usage.scan()
    assert usage.used == 15


def test_usage_tolerates_what_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a directory that another process removes during the scan counts nothing and stops nothing."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").write_bytes(b"x")
    (tmp_path / "stays").write_bytes(b"x" * 7)
    scandir = os.scandir

    class Vanishing:
        """Entries of a directory whose files go as soon as they are listed."""

        def __init__(self, folder: Path) -> None:
            self.entries = list(scandir(folder))

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            for name in ("gone", "folder"):
                path = tmp_path / name
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink(missing_ok=True)
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            """Nothing is open."""

    def vanishing(folder: Path) -> Vanishing:
        return Vanishing(folder)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert Usage(tmp_path, 1).scan() == 7


def test_own_bound_counts_what_others_removed(tmp_path: Path) -> None:
    """Nothing is dropped if the shipper has made room meanwhile, and the newest never is."""
    files = SignalFiles(tmp_path)
    own = OwnBound(files, 40)
    for number in (2, 3):
        files.segment(number).write_bytes(b"x" * 20)
    own.add(50)
    assert files.numbers() == [2, 3]
    files.segment(4).write_bytes(b"x" * 90)
    own.add(90)
    assert files.numbers() == [4]


def test_spans_of_all_streams_share_a_bound(tmp_path: Path) -> None:
    """The oldest spans go, those that dead processes left first, and never what is being written."""
    old, new = (SignalFiles(tmp_path / name) for name in ("old", "new"))
    for files in (old, new):
        files.folder.mkdir()
        for number in (1, 2):
            files.segment(number).write_bytes(b"x" * 20)
    assert bound_spans([old, new], 80) == 80
    assert bound_spans([old, new], 45) == 40
    assert (old.numbers(), new.numbers()) == ([], [1, 2])
    assert bound_spans([old, new], 5) == 20
    assert new.numbers() == [2]


def test_oldest_segments_go_first(tmp_path: Path, held: list[Owned]) -> None:
    """Over `keep_bytes` whole segments go, the oldest stream's first, until the rest is within it."""
    held += [stream(tmp_path, "a", 3), stream(tmp_path, "b", 3)]
    assert prune(held, tmp_path, keep_bytes=6 * SIZE, keep_age=100, elapsed=LONG) == 0
    assert prune(held, tmp_path, keep_bytes=4 * SIZE, keep_age=100, elapsed=LONG) == 2 * SIZE
    assert [numbers(owned) for owned in held] == [[3], [1, 2, 3]]
    assert prune(held, tmp_path, keep_bytes=3 * SIZE - 1, keep_age=100, elapsed=LONG) == 2 * SIZE
    assert [numbers(owned) for owned in held] == [[3], [3]], "what is being written stays"
    assert prune(held, tmp_path, keep_bytes=0, keep_age=100, elapsed=LONG) == 0


def test_cursor_says_from_which_number_is_kept(tmp_path: Path, held: list[Owned]) -> None:
    """What the ring let go is not missing: the cursor names the first segment and the last number before it."""
    held.append(stream(tmp_path, "a", 4))
    logs = held[0].files.signal("logs")
    prune(held, tmp_path, keep_bytes=2 * SIZE, keep_age=100, elapsed=LONG)
    assert logs.cursor() == Cursor(3, 0, 2)
    assert list(logs.lines(logs.cursor())) == [line(3), line(4)]
    logs.store_cursor(Cursor(4, SIZE, 4))  # as a shipper would
    prune(held, tmp_path, keep_bytes=SIZE, keep_age=100, elapsed=LONG)
    assert logs.cursor() == Cursor(4, SIZE, 4)
    assert logs.numbers() == [4]


def test_damaged_segment_goes_too(tmp_path: Path, held: list[Owned]) -> None:
    """A segment whose last number cannot be told is let go like any other."""
    held.append(stream(tmp_path, "a", 3))
    logs = held[0].files.signal("logs")
    damaged = line(2).replace(b'"intValue":"2"', b'"intValue":"?"')
    logs.segment(2).write_bytes(damaged)
    prune(held, tmp_path, keep_bytes=SIZE, keep_age=1e9, elapsed=LONG)
    assert logs.cursor() == Cursor(3, 0, 1)


def test_old_segments_go_by_age(tmp_path: Path, held: list[Owned]) -> None:
    """Segments last written before `keep_age` go whatever their number of bytes, and a closed stream with its last."""
    held += [stream(tmp_path, "a", 2, age=101), stream(tmp_path, "b", 2, age=99)]
    assert prune(held, tmp_path, keep_bytes=1 << 30, keep_age=100, elapsed=LONG) == SIZE
    assert [numbers(owned) for owned in held] == [[2], [1, 2]]


def test_adopted_stream_goes_whole(tmp_path: Path, held: list[Owned]) -> None:
    """Of an adopted, closed stream nothing is being written: when its last segment goes, so does its directory."""
    stream(tmp_path, "a", 2).release()
    held += [stream(tmp_path, "b", 2), *adopt(tmp_path, closing)]
    dead = held[1]
    last = dead.files.signal("logs").segment(2).stat().st_size
    assert prune(held, tmp_path, keep_bytes=2 * SIZE + last, keep_age=1e9, elapsed=LONG) == SIZE
    assert numbers(dead) == [2]
    assert dead.files.path.exists()
    assert prune(held, tmp_path, keep_bytes=SIZE, keep_age=1e9, elapsed=LONG) == last + SIZE
    assert not dead.files.path.exists()
    assert dead.lock is None
    assert prune(held, tmp_path, keep_bytes=SIZE, keep_age=1e9, elapsed=LONG) == 0


def test_processes_do_not_prune_for_each_other(tmp_path: Path, held: list[Owned]) -> None:
    """Each process removes its own part only, and together they remove what one would have removed."""
    held += [stream(tmp_path, "a", 3), stream(tmp_path, "b", 3)]
    first, second = held
    assert prune([second], tmp_path, keep_bytes=4 * SIZE, keep_age=1e9, elapsed=LONG) == 0
    assert prune([first], tmp_path, keep_bytes=4 * SIZE, keep_age=1e9, elapsed=LONG) == 2 * SIZE
    assert prune([second], tmp_path, keep_bytes=4 * SIZE, keep_age=1e9, elapsed=LONG) == 0
    assert prune([second], tmp_path, keep_bytes=3 * SIZE, keep_age=1e9, elapsed=LONG) == SIZE
    assert [numbers(owned) for owned in held] == [[3], [2, 3]]


def test_full_disk_does_not_stop_the_ring(tmp_path: Path, held: list[Owned], monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no room for the cursor, the segments go first and the cursor is stored in their place."""
    held.append(stream(tmp_path, "a", 3))
    store = SignalFiles.store_cursor

    def full(files: SignalFiles, cursor: Cursor) -> None:
        if len(files.numbers()) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        store(files, cursor)

    monkeypatch.setattr(SignalFiles, "store_cursor", full)
    assert prune(held, tmp_path, keep_bytes=SIZE, keep_age=1e9, elapsed=LONG) == 2 * SIZE
    assert held[0].files.signal("logs").cursor() == Cursor(3, 0, 2)


def test_segment_that_vanishes_is_not_counted(
    tmp_path: Path, held: list[Owned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that another process removes while the ring is counted stops nothing."""
    held.append(stream(tmp_path, "a", 2))
    monkeypatch.setattr(SignalFiles, "numbers", lambda _: [1, 2, 3])
    assert sum(1 for _ in retention._segments(held[0].files, LONG)) == 2


DAY = 86400.0
WEEK = 7 * DAY


class Clocks:
    """A wall clock that a test sets, and one that nobody sets."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.wall, self.steady = 1e9, 5000.0
        self.watch = Watch(WEEK, wall=lambda: self.wall, steady=lambda: self.steady)

    def go(self, seconds: float, *, ahead: float = 0.0) -> Elapsed:
        """Let time pass, in looks an hour apart as at a quiet server, and set the wall clock forward by `ahead`."""
        self.wall += ahead
        elapsed = self.watch.look()
        while seconds > 0:
            step = min(seconds, 3600.0)
            seconds, self.wall, self.steady = seconds - step, self.wall + step, self.steady + step
            elapsed = self.watch.look()
        return elapsed


def left(owned: Owned, root: Path, elapsed: Elapsed) -> list[int]:
    """Return which segments are left after what is too old has gone."""
    prune([owned], root, keep_bytes=1 << 30, keep_age=WEEK, elapsed=elapsed)
    return numbers(owned)


def written(owned: Owned, number: int, at: float) -> None:
    """Write a segment that was last written at a time of the wall clock."""
    path = owned.files.signal("logs").segment(number)
    path.write_bytes(line(number))
    os.utime(path, (at, at))


def test_clock_that_is_ahead_for_a_moment_removes_nothing(
    tmp_path: Path, held: list[Owned], caplog: pytest.LogCaptureFixture
) -> None:
    """Three seconds eight days ahead cost no record, and it is said that the clock was set."""
    held.append(owned := create(tmp_path, "a", HEAD))
    clocks = Clocks()
    for number in range(1, 7):
        clocks.go(DAY)
        written(owned, number, clocks.wall)
    assert left(owned, tmp_path, clocks.go(3, ahead=8 * DAY)) == [1, 2, 3, 4, 5, 6]
    written(owned, 7, clocks.wall)
    assert left(owned, tmp_path, clocks.go(0, ahead=-8 * DAY)) == [1, 2, 3, 4, 5, 6, 7]
    assert "the wall clock was set by +691200 s" in caplog.text
    written(owned, 8, clocks.wall)
    assert left(owned, tmp_path, clocks.go(6 * DAY)) == [1, 2, 3, 4, 5, 6, 7, 8]
    written(owned, 9, clocks.wall)
    assert left(owned, tmp_path, clocks.go(2 * DAY)) == [7, 8, 9], "older than a week, whatever the clock was"
    assert left(owned, tmp_path, clocks.go(8 * DAY)) == [9]


def test_start_with_a_clock_that_is_ahead_removes_nothing(tmp_path: Path, held: list[Owned]) -> None:
    """What was written before a stretch without any record is not too old for that stretch alone."""
    held.append(owned := create(tmp_path, "a", HEAD))
    for day in range(6):
        written(owned, day + 1, 1e9 - (13 - day) * DAY)  # the last 8 days ago, by the clock of now
    clocks = Clocks()
    written(owned, 7, clocks.wall)
    assert left(owned, tmp_path, clocks.go(1)) == [1, 2, 3, 4, 5, 6, 7]
    assert left(owned, tmp_path, clocks.go(3 * DAY)) == [3, 4, 5, 6, 7], "the first is 8 days old, the second 7, surely"
    assert left(owned, tmp_path, clocks.go(5 * DAY)) == [7]


def test_age_is_known_from_before_the_start(tmp_path: Path, held: list[Owned]) -> None:
    """A server that starts often lets go what is too old: what was written since shows that time has passed."""
    held.append(owned := create(tmp_path, "a", HEAD))
    for day in range(10):
        written(owned, day + 1, 1e9 - (9.5 - day) * DAY)
    assert left(owned, tmp_path, Clocks().go(0)) == [4, 5, 6, 7, 8, 9, 10]


def test_clock_that_was_behind_makes_nothing_older(tmp_path: Path, held: list[Owned]) -> None:
    """What was written while the clock was behind is no older than the segment before it, and not in the future."""
    held.append(owned := create(tmp_path, "a", HEAD))
    written(owned, 1, 1e9 - 2 * DAY)
    written(owned, 2, 1e9 - 30 * DAY)
    written(owned, 3, 1e9 - DAY)
    written(owned, 4, 1e9 + 300 * DAY)
    written(owned, 5, 1e9)
    clocks = Clocks()
    assert left(owned, tmp_path, clocks.go(0)) == [1, 2, 3, 4, 5]
    written(owned, 6, 1e9 + 7 * DAY)
    assert left(owned, tmp_path, clocks.go(7.5 * DAY)) == [6]


def test_a_clock_that_is_adjusted_was_not_set() -> None:
    """A clock that is slewed by seconds an hour, or a machine that slept, is witnessed all the same."""
    clocks = Clocks()
    for _ in range(48):
        clocks.wall += 30
        elapsed = clocks.go(3600)
    assert elapsed.trusted
    assert elapsed.witnessed == 48 * 3600
    assert ages([elapsed.now - 7200], elapsed, WEEK) == {elapsed.now - 7200: 7200}


def test_what_goes_is_said(
    tmp_path: Path, held: list[Owned], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes for its bytes before its age is a warning, what goes for its age a word, each once an hour."""
    monkeypatch.setattr(retention, "_throttle", Throttle(3600, clock=lambda: 0.0))
    caplog.set_level(logging.INFO)
    held += [stream(tmp_path, "a", 4, age=7200), stream(tmp_path, "b", 3, age=200)]
    prune(held, tmp_path, keep_bytes=6 * SIZE, keep_age=9000, elapsed=LONG)
    prune(held, tmp_path, keep_bytes=5 * SIZE, keep_age=9000, elapsed=LONG)
    prune(held, tmp_path, keep_bytes=1 << 30, keep_age=100, elapsed=LONG)
    early, aged = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    assert early.startswith(
        f"WARNING {SIZE} bytes of records, the newest 2.0 h old, are removed by PREDICTOR_KEEP_BYTES"
    )
    assert aged == f"INFO {3 * SIZE} bytes of records, the newest 0.1 h old, are removed by PREDICTOR_KEEP_AGE"


def test_order_is_that_of_the_writing(tmp_path: Path, held: list[Owned]) -> None:
    """Over `keep_bytes` the oldest segment of all goes, not all of the stream whose id is the lowest."""
    held += [stream(tmp_path, "a", 3, age=10), stream(tmp_path, "b", 3, age=20)]
    prune(held, tmp_path, keep_bytes=4 * SIZE, keep_age=100, elapsed=LONG)
    assert [numbers(owned) for owned in held] == [[1, 2, 3], [3]]
