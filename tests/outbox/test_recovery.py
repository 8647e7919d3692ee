"""The promise of recovery: cut the files anywhere, every record that was synced is read back, the stream is closed."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor import otlp
from predictor.outbox import Outbox
from predictor.outbox.layout import Cursor, SignalFiles, StreamFiles
from predictor.outbox.ownership import adopt, create
from predictor.outbox.quota import Usage
from predictor.outbox.recovery.repair import CLOSED, close_shipped, repair
from predictor.outbox.recovery.undeclared import Undeclared, leave
from predictor.outbox.writing import last_resort, watermark
from predictor.outbox.writing.segment_file import DiskCalls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from predictor.outbox.recovery.undeclared import UndeclaredRange

HEAD = otlp.head("logs", {"resource": {}}, {"name": "predictor"})
SEGMENT_BYTES = 1000


def line(first: int, count: int = 1, event: str = "prediction") -> bytes:
    """Return a line with `count` records from number `first` on."""
    return otlp.line(HEAD, [item(first + at, event) for at in range(count)])


def item(sequence: int, event: str) -> bytes:
    """Return one record."""
    return otlp.encode({"attributes": otlp.attributes({"prediction.stream.sequence": sequence}), "eventName": event})


def closing(head: bytes, sequence: int, lost: Sequence[UndeclaredRange] = ()) -> bytes:
    """Close a stream as the server would: a record for each range that is lost, then the closing one."""
    assert head == HEAD
    items = [item(sequence + at, f"lost {first}-{last}") for at, (first, last, _) in enumerate(lost)]
    return otlp.line(HEAD, [*items, item(sequence + len(lost), CLOSED)])


def numbers_of(text: bytes) -> range:
    """Return the numbers of the records in a line."""
    return range(otlp.first_sequence(text), otlp.last_sequence(text) + 1)


def runs(numbers: set[int]) -> list[UndeclaredRange]:
    """Return numbers as ranges that went with the disk."""
    firsts = sorted(number for number in numbers if number - 1 not in numbers)
    lasts = sorted(number for number in numbers if number + 1 not in numbers)
    return [(first, last, "disk") for first, last in zip(firsts, lasts, strict=True)]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[StreamFiles]:
    """Return an empty stream."""
    owned = create(tmp_path, "stream", HEAD)
    yield owned.files
    owned.release()


class PowerCut(NamedTuple):
    """What a stream had been through when the power went."""

    batches: list[int]  # records a line
    synced: int  # lines that are safe
    shipped: int  # lines that the sink has
    cuts: list[float]  # of each segment's unsynced bytes, which part stays
    garbage: list[bytes]  # what stands behind that in each


@st.composite
def power_cuts(draw: st.DrawFn) -> PowerCut:
    """Draw a history; some of the garbage looks like lines."""
    batches = draw(st.lists(st.integers(1, 4), max_size=12))
    pieces = st.sampled_from([b"\0" * 5, b"\n", line(90)[:-9], b"\r", b'{"resourceLogs":[', otlp.TAIL])
    # A whole line with a number of its own would be a record; what a power cut leaves is pieces.
    garbage = st.one_of(st.binary(max_size=40), st.lists(pieces, max_size=5).map(b"".join))
    return PowerCut(
        batches,
        draw(st.integers(0, len(batches))),
        draw(st.integers(0, len(batches))),
        draw(st.lists(st.floats(0, 1), min_size=12, max_size=12)),
        draw(st.lists(garbage, min_size=12, max_size=12)),
    )


def write(files: SignalFiles, batches: list[int]) -> list[bytes]:
    """Write a stream of so many records a line with the outbox, and return its lines."""
    outbox = Outbox(files, Usage(files.folder, 1 << 30), fsync="never", segment_bytes=SEGMENT_BYTES)
    written, first = [], 1
    for count in batches:
        written.append(line(first, count))
        outbox.append(written[-1])
        first += count
    outbox.close()
    return written


def place(files: SignalFiles, written: list[bytes], count: int) -> tuple[int, int]:
    """Return the segment and the offset after the first `count` lines."""
    left = sum(map(len, written[:count]))
    for number in files.numbers():
        size = files.segment(number).stat().st_size
        if left <= size:
            return number, left
        left -= size
    return 1, 0


def cut(files: SignalFiles, written: list[bytes], history: PowerCut) -> None:
    """Do to the segments what a power cut may do behind the last sync."""
    safe = place(files, written, history.synced)
    for number, part, garbage in zip(files.numbers(), history.cuts, history.garbage, strict=False):
        path = files.segment(number)
        if number < safe[0]:
            continue
        kept = safe[1] if number == safe[0] else 0
        os.truncate(path, kept + int((path.stat().st_size - kept) * part))
        with path.open("ab") as file:
            file.write(garbage)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(history=power_cuts())
def test_every_synced_record_is_read_back(history: PowerCut) -> None:
    """Whatever lies behind the last sync, synced lines stay, the stream ends closed, and adopting again is idle."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        owned = create(root, "stream", HEAD)
        logs = owned.files.signal("logs")
        written = write(logs, history.batches)
        if history.shipped:
            sequence = sum(history.batches[: history.shipped])
            logs.store_cursor(Cursor(*place(logs, written, history.shipped), sequence))
        cut(logs, written, history)
        owned.release()

        (owned,) = adopt(root, closing)
        found = [text for text in logs.lines() if otlp.well_formed("logs", text)]
        assert found[: history.synced] == written[: history.synced]
        last = found[-1]
        assert otlp.last_event(last) == CLOSED
        numbers = [otlp.last_sequence(text) for text in found]
        shipped, kept = sum(history.batches[: history.shipped]), max(*numbers[:-1], 0, 0)
        gap = [(kept + 1, shipped, "disk")] if 0 < kept < shipped else []  # the sink has them, the files no more
        there = {number for text in found[:-1] for number in numbers_of(text)}
        gap += runs(set(range(shipped + 1, kept)) - there)  # a line is damaged or gone, and a later one is not
        assert last == closing(HEAD, max(kept, shipped) + 1, gap)
        assert list(logs.lines(logs.cursor()))[-1] == last, "the sink will get the closing record"
        end = logs.segment(logs.numbers()[-1]).read_bytes()
        assert end.endswith(last)

        owned.release()
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        (owned,) = adopt(root, closing)
        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
        owned.release()


def test_number_is_the_highest_though_copies_follow(files: StreamFiles) -> None:
    """Copies that were cut short after a failed fsync do not lower the number of the closing record."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1) + line(2, 3) + line(5))
    logs.segment(2).write_bytes(line(2, 3))
    repair(files, closing)
    assert list(logs.lines())[-1] == line(6, event=CLOSED)


def test_copies_of_a_closed_stream_are_no_reason_to_close_it_again(files: StreamFiles) -> None:
    """A stream whose closing record stands before unfinished copies is closed once only."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1) + line(2) + line(3, event=CLOSED))
    logs.segment(2).write_bytes(line(2) + line(3)[:-7])
    repair(files, closing)
    repair(files, closing)
    assert logs.segment(1).read_bytes().endswith(line(3, event=CLOSED))
    assert logs.segment(2).read_bytes() == line(2)


def test_damaged_line_between_good_ones_stays(files: StreamFiles) -> None:
    """A damaged line with good lines behind it is left for the sink to refuse; behind the last good one all goes.

    Its number is declared as lost: what stood there is gone, whatever the sink says of the rest.
    """
    logs = files.signal("logs")
    damaged = line(2).replace(b"attributes", b"attrib\0tes")
    logs.segment(1).write_bytes(line(1) + damaged + line(3) + damaged + damaged[:5])
    repair(files, closing)
    assert logs.segment(1).read_bytes() == line(1) + damaged + line(3) + closing(HEAD, 4, [(2, 2, "disk")])


@pytest.mark.parametrize("behind", [b"", b"x" * 500], ids=["nothing", "garbage"])
def test_shipped_and_lost_on_disk(files: StreamFiles, behind: bytes) -> None:
    """Where the sink has records that a power cut took from the files, none of their numbers is given again."""
    logs = files.signal("logs")
    logs.segment(2).write_bytes(line(4) + behind)
    logs.store_cursor(Cursor(2, 3 * len(line(4)), 6))
    repair(files, closing)
    last = closing(HEAD, 7, [(5, 6, "disk")])
    assert logs.segment(2).read_bytes() == line(4) + last
    assert list(logs.lines(logs.cursor())) == [line(4), last], "sent again: copies"
    assert logs.numbers() == [2]


@pytest.mark.parametrize(
    "cursor",
    [
        b'{"segment":1,"offset":18446744073709551616,"sequence":2}',
        b'{"segment":1,"offset":0,"sequence":18446744073709551616}',
        b'{"segment":1,"offset":-1,"sequence":2}',
        b'{"segment":0,"offset":0,"sequence":2}',
        b'{"segment":1,"offset":1000000,"sequence":0}',
        b'{"segment":9,"offset":0,"sequence":0}',
        b'{"segment":2,"offset":0,"sequence":0}',
        b'{"segment":9,"offset":100,"sequence":3}',
    ],
)
def test_no_number_is_given_twice_by_a_cursor_that_cannot_be(files: StreamFiles, cursor: bytes) -> None:
    """A damaged cursor passes nothing over: all is sent, and the closing record has a number of its own."""
    logs = files.signal("logs")
    (logs.folder / "cursor").write_bytes(cursor)
    logs.segment(1).write_bytes(line(1) + line(2) + line(3))
    repair(files, closing)
    assert list(logs.lines(logs.cursor())) == [line(1), line(2), line(3), line(4, event=CLOSED)]


def test_a_cursor_that_cannot_be_does_not_become_true(files: StreamFiles) -> None:
    """The closing record must not bring the files to where a damaged cursor stands: it is replaced."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1) + line(2))
    last = closing(HEAD, 4, [(3, 3, "disk")])
    logs.store_cursor(Cursor(1, len(line(1) + line(2) + last), 3))
    repair(files, closing)
    assert list(logs.lines(logs.cursor())) == [line(1), line(2), last]
    logs.store_cursor(Cursor(2, 0, 1))
    repair(files, closing)
    assert (logs.folder / "cursor").read_bytes() == b'{"segment":1,"offset":0,"sequence":1}'


def test_what_was_left_undeclared_is_declared(files: StreamFiles) -> None:
    """Losses that a process could not declare before its end are declared before its stream is closed, once."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1) + line(2))
    leave(files, Undeclared(9, [(3, 7, "bytes"), (9, 9, "disk")]))
    repair(files, closing)
    assert list(logs.lines())[-1] == closing(HEAD, 10, [(3, 7, "bytes"), (9, 9, "disk"), (8, 8, "disk")])
    assert not files.undeclared.exists()
    leave(files, Undeclared(9, [(3, 7, "bytes")]))  # as if the first repair had been killed before the removal
    repair(files, closing)
    assert len(list(logs.lines())) == 3
    assert not files.undeclared.exists()


def test_damaged_words_on_losses_stop_nothing(files: StreamFiles) -> None:
    """A stream is closed although what it left undeclared cannot be read."""
    files.undeclared.write_bytes(b'{"sequence":9,"lost":[[3')
    repair(files, closing)
    assert list(files.signal("logs").lines()) == [line(1, event=CLOSED)]


def test_closing_record_takes_the_place_of_what_was_shipped(files: StreamFiles) -> None:
    """On a full disk a stream that was shipped is closed in the place of its records, under the number after them."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1, 9))
    logs.segment(2).write_bytes(line(10, 9) + line(19)[:-9])
    leave(files, Undeclared(25, [(19, 25, "disk")]))
    close_shipped(files, closing)
    last = closing(HEAD, 26, [(19, 25, "disk")])
    assert (logs.numbers(), logs.segment(2).read_bytes()) == ([2], last)
    for _ in range(2):
        repair(files, closing)
        close_shipped(files, closing)
        assert list(logs.lines(logs.cursor())) == [last]
    assert not files.undeclared.exists()


def test_stream_too_short_for_its_closing_record(files: StreamFiles) -> None:
    """Where less was written than the closing record takes there is no place for it, and nothing is touched."""
    logs = files.signal("logs")
    with pytest.raises(OSError, match="No space left"):
        close_shipped(files, closing)
    logs.segment(1).write_bytes(b"short\n")
    with pytest.raises(OSError, match="No space left"):
        close_shipped(files, closing)
    assert logs.segment(1).read_bytes() == b"short\n"


def test_kill_in_the_middle_of_closing_in_place(files: StreamFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed before it has cut what was shipped leaves a stream that is closed once."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1, 9) + line(10, 9))

    def cut(_: int, __: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", cut)
        with pytest.raises(KeyboardInterrupt):
            close_shipped(files, closing)
    repair(files, closing)
    found = [text for text in logs.lines() if otlp.well_formed("logs", text)]
    assert found == [line(19, event=CLOSED), line(10, 9)]


def test_a_name_that_is_taken_is_no_segment(files: StreamFiles) -> None:
    """Where a FIFO has the next segment's name the closing record goes to the one after it."""
    logs = files.signal("logs")
    os.mkfifo(logs.segment(1))
    repair(files, closing)
    assert logs.numbers() == [2]
    assert list(logs.lines(logs.cursor())) == [line(1, event=CLOSED)]


def test_shipped_stream_is_not_closed_again(files: StreamFiles) -> None:
    """A closed stream whose every line was shipped stays as it is until it is removed."""
    logs = files.signal("logs")
    content = line(1) + line(2, event=CLOSED)
    logs.segment(1).write_bytes(content)
    logs.store_cursor(Cursor(1, len(content), 2))
    repair(files, closing)
    assert logs.segment(1).read_bytes() == content


@pytest.mark.parametrize("call", ["open", "ftruncate", "write", "fsync", "sync_directory"])
def test_repair_that_fails_can_be_done_again(files: StreamFiles, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Whichever call fails, no good line is harmed, and the next repair ends as the first should have."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1) + line(2)[:-9])
    disk = DiskCalls()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if call == "sync_directory":
        monkeypatch.setattr("predictor.outbox.recovery.repair.sync_directory", fail)
    else:
        monkeypatch.setattr(disk, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        repair(files, closing, disk=disk)
    assert next(iter(logs.lines())) == line(1)
    monkeypatch.undo()
    repair(files, closing)
    assert list(logs.lines()) == [line(1), line(2, event=CLOSED)]


def test_a_gap_in_the_files_is_declared(files: StreamFiles) -> None:
    """Numbers that went with a segment are declared before the stream is closed, unless the files declare them."""
    logs = files.signal("logs")
    declaring = otlp.line(
        HEAD,
        [
            otlp.encode(
                {
                    "attributes": otlp.attributes(
                        {
                            "prediction.stream.sequence": 12,
                            "prediction.stream.lost.first": 9,
                            "prediction.stream.lost.last": 10,
                        }
                    ),
                    "eventName": "prediction.stream.lost",
                }
            )
        ],
    )
    logs.segment(1).write_bytes(line(1, 3))
    logs.segment(3).write_bytes(line(7, 2) + line(11) + declaring)
    repair(files, closing)
    assert list(logs.lines())[-1] == closing(HEAD, 13, [(4, 6, "disk")])


def test_no_gap_is_declared_before_what_nobody_knows(files: StreamFiles) -> None:
    """Without a cursor the segments before the oldest one may have been shipped and removed: no word on their numbers.

    With one, what lies between it and the oldest segment is gone.
    """
    logs = files.signal("logs")
    logs.segment(4).write_bytes(line(40))
    repair(files, closing)
    assert list(logs.lines()) == [line(40), line(41, event=CLOSED)]


def test_what_may_be_at_the_sink_gets_no_second_content(files: StreamFiles) -> None:
    """Without fsync the closing record comes after the highest number that may have been sent; the gap is declared."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1, 3))
    watermark.store(logs, 7)
    watermark.store(logs, 30)
    repair(files, closing)
    assert list(logs.lines()) == [line(1, 3), closing(HEAD, 31, [(4, 30, "disk")])]


@pytest.mark.parametrize("text", [b"", b"17", b"x" * 20, bytes(20)])
def test_a_damaged_watermark_is_none(files: StreamFiles, text: bytes) -> None:
    """What cannot be a number of ours closes the stream where it ends."""
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1))
    (logs.folder / "highest").write_bytes(text)
    repair(files, closing)
    assert list(logs.lines()) == [line(1), line(2, event=CLOSED)]


def test_what_was_rescued_is_taken_back(files: StreamFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that a process could only write to another folder are in the stream again before it is closed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    logs = files.signal("logs")
    logs.segment(1).write_bytes(line(1) + line(2))
    path = last_resort.rescue([line(2), line(3, 2), b"damaged\n"], files.stream_id)
    repair(files, closing)
    assert list(logs.lines()) == [line(1), line(2), line(2), line(3, 2), line(5, event=CLOSED)]
    assert not path.exists()


def test_a_stream_is_closed_without_a_temporary_folder(files: StreamFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder for temporary files can be written to, as in a container with a read-only root, all else goes on.

    Nothing can have been rescued there, and a rescue says so by an OSError.
    """
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("os.path.abspath", lambda _path: "/proc/none")  # where the standard library looks
    files.signal("logs").segment(1).write_bytes(line(1))
    with pytest.raises(FileNotFoundError, match="No usable temporary directory"):
        last_resort.rescue([line(2)], files.stream_id)
    repair(files, closing)
    assert list(files.signal("logs").lines()) == [line(1), line(2, event=CLOSED)]


@pytest.mark.parametrize("kind", ["link", "fifo", "of another"])
def test_what_others_left_is_not_taken(
    files: StreamFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In a folder where anybody may write, only a file of the server's own user is believed to be its own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / f"predictor-{files.stream_id}.jsonl"
    if kind == "link":
        (tmp_path / "theirs").write_bytes(line(1))
        path.symlink_to(tmp_path / "theirs")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(line(1))
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    repair(files, closing)
    assert list(files.signal("logs").lines()) == [line(1, event=CLOSED)]
    assert os.path.lexists(path)
