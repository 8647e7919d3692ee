"""`predictor log verify` of windows: adjacent ones find together what the whole finds, whatever clocks do."""

from __future__ import annotations

import random
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.command import sentences
from predictor.reader.verify.completeness import verify
from tests.reader.test_cli import Told
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, lay_out, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from predictor.reader.verify.report import VerifyReport
    from tests.support.log_files import Record

    PutAway: TypeAlias = Callable[[str, Sequence[bytes]], str]

LATER = BASE + 9 * 3600 * SECOND
START = BASE - 60 * SECOND
MINUTE = 60 * SECOND


@pytest.fixture(params=["outbox", "files", "loki"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PutAway]:
    """Return what puts lines into a source of each kind, by a name, and returns where they are."""
    with Loki() as loki:

        def away(name: str, texts: Sequence[bytes]) -> str:
            if request.param == "loki":
                loki.entries.clear()
                loki.add(*texts)
                return loki.url
            return lay_out(request.param, tmp_path / name, texts)

        yield away


def judge(where: str, start: int | None, end: int | None) -> VerifyReport:
    """Return the report on a window."""
    return verify(source(where), TimeRange(start, end), now_ns=LATER)


def missing(reports: Sequence[VerifyReport]) -> set[tuple[str, int]]:
    """Return the numbers that are missing, by stream."""
    return {
        (verdict.stream.id, number)
        for report in reports
        for verdict in report.verdicts
        for first, last in verdict.missing
        for number in range(first, last + 1)
    }


def log(stream: Stream, rng: random.Random, records: int = 40) -> list[Record]:
    """Return the records of a stream with pauses between a moment and a quarter of an hour."""
    made = [stream.opened()]
    for _ in range(records):
        stream.now += rng.choice([0, 0, 5 * SECOND, 40 * SECOND, 3 * MINUTE, 14 * MINUTE])
        made.append(stream.prediction())
    return [*made, stream.closed()]


_SEEDS = [(put, seed) for put, seeds in (("outbox", 6), ("files", 6), ("loki", 2)) for seed in range(seeds)]
"""Loki takes thousands of queries for each; what is judged is the same."""


@pytest.mark.parametrize(("put", "seed"), _SEEDS, indirect=["put"])
def test_windows_add_up(put: PutAway, seed: int) -> None:
    """Wherever windows meet, and whatever is removed beside it, they find together the numbers that the whole finds."""
    rng = random.Random(seed)
    texts: list[bytes] = []
    witness = Stream(START + SECOND, seed)  # it reaches back to before the others
    texts += lines(witness, [witness.opened(), witness.closed()])
    for place in range(3):
        stream = Stream(BASE + place * 10 * MINUTE, place)
        gone = set(rng.sample(range(1, 40), 9)) | {20, 21, 22}
        texts += lines(stream, [r for number, r in enumerate(log(stream, rng), 1) if number not in gone])
    where = put("log", texts)
    whole = judge(where, START, None)
    assert len(missing([whole])) >= 27
    edges = sorted(rng.sample(range(BASE + MINUTE, BASE + 150 * MINUTE), 4))
    parts = [judge(where, start, end) for start, end in zip([START, *edges], [*edges, None], strict=True)]
    assert missing(parts) == missing([whole])


def test_a_hole_at_the_edge(put: PutAway) -> None:
    """What is missing between the last record before a window and the first one in it is missing."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(3)]
    edge = stream.now + 30 * MINUTE
    stream.now += 60 * MINUTE
    records += [*stream.predictions(3), stream.closed()]
    where = put("log", lines(stream, [*records[:3], *records[5:]]))
    assert judge(where, START, edge).sound
    assert [*sentences(judge(where, edge, None))] == [f"stream {stream.id}: missing 4-5"]


@pytest.mark.parametrize("step", [-90 * MINUTE, -26 * 60 * MINUTE, 90 * MINUTE])
def test_clock_steps(put: PutAway, step: int) -> None:
    """A clock that is set back or forward under a server makes nothing missing, in any window."""
    stream = Stream(BASE + 3600 * SECOND)
    records = [stream.opened()]
    for number in range(60):
        if number == 30:
            stream.now += step
        stream.now += 2 * MINUTE
        records.append(stream.prediction())
    where = put("log", lines(stream, [*records, stream.closed()]))
    assert judge(where, None if "http" not in where else START - 48 * 3600 * SECOND, None).sound
    for start in range(0, 180, 20):
        edge = BASE + start * MINUTE
        for window in ((START, edge), (edge, None), (edge, edge + 45 * MINUTE)):
            report = judge(where, *window)
            assert report.sound, [*sentences(report)]


def test_explained_outside_the_window(put: PutAway) -> None:
    """What is declared lost, or counted as refused, after a window is not missing in it; what is not, is."""
    stream = Stream()
    records = [stream.opened(), stream.status(), *stream.predictions(8)]
    edge = stream.now + 5 * MINUTE
    stream.now += 10 * MINUTE
    records += [stream.lost(4, 5), stream.status(lost=2, rejected=1), stream.closed()]
    kept = [record for number, record in enumerate(records, 1) if number not in {4, 5, 7}]
    report = judge(put("a", lines(stream, kept)), START, edge)
    assert report.sound, [*sentences(report)]
    kept = [record for number, record in enumerate(records, 1) if number not in {4, 5, 7, 8}]
    assert not judge(put("b", lines(stream, kept)), START, edge).sound


class Clock:
    """The time of a run."""

    now = LATER

    def __call__(self) -> int:
        """Return Unix nanoseconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of `verify`."""
    found = Clock()
    monkeypatch.setattr("predictor.reader.verify.command.time_ns", found)
    return found


@pytest.mark.parametrize("put", ["files", "loki"], indirect=True)
def test_state(put: PutAway, tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    """A run with --state goes on from the last one: what is missing across the two is found, and told once."""
    stream = Stream(time.time_ns() - 3600 * SECOND)
    records = [stream.opened(), *stream.predictions(3), stream.status()]
    arguments = ("--state", str(tmp_path / "state.json"), "--allow-empty")
    path = tmp_path / "log"
    where = put("log", lines(stream, records))
    clock.now = stream.now + SECOND
    assert Told(capsys, "verify", "--from", where, *arguments).status == 0
    stream.now += 5 * MINUTE
    records += [*stream.predictions(4), stream.status()]
    shutil.rmtree(path, ignore_errors=True)
    put("log", lines(stream, [*records[:5], *records[7:]]))  # 6 and 7 are gone
    clock.now = stream.now + SECOND
    told = Told(capsys, "verify", "--from", where, *arguments)
    assert (told.status, told.out.splitlines()[-1]) == (1, f"stream {stream.id}: missing 6-7")
    clock.now += SECOND
    assert Told(capsys, "verify", "--from", where, *arguments).status == 0


def test_state_of_the_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    """A stream of which a later run sees nothing new is judged by its silence, told once, and goes on where it was."""
    stream = Stream()
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"".join(lines(stream, [stream.opened(), *stream.predictions(3), stream.status()])))
    arguments = ("verify", "--from", str(path), "--state", str(tmp_path / "state.json"), "--allow-empty")
    clock.now = stream.now + SECOND
    assert Told(capsys, *arguments).status == 0
    clock.now += 5 * MINUTE
    assert Told(capsys, *arguments).status == 0
    clock.now += 10 * MINUTE
    told = Told(capsys, *arguments)
    assert told.status == 1
    assert f"stream {stream.id}: ended without a word after record 5; what it held then is unknown" in told.out
    clock.now += MINUTE
    assert Told(capsys, *arguments).status == 0
    late = [*stream.predictions(2), stream.closed()]  # they have waited on a disk, and have the time of their requests
    with path.open("ab") as file:
        file.writelines(lines(stream, [late[0], late[2]]))
    told = Told(capsys, *arguments)
    assert told.status == 1
    assert f"stream {stream.id}: missing 7" in told.out.splitlines()


def test_state_without_records(tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    """A run that sees no record proves nothing, even if a stream may still go on: status 2 without --allow-empty."""
    stream = Stream()
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"".join(lines(stream, [stream.opened(), stream.status()])))
    arguments = ("verify", "--from", str(path), "--state", str(tmp_path / "state.json"))
    clock.now = stream.now + SECOND
    assert Told(capsys, *arguments).status == 0
    clock.now += MINUTE
    assert Told(capsys, *arguments).status == 2


def test_state_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state of another source, or none at all, is refused by a sentence; so is an end, since it goes on to now."""
    stream = Stream()
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    for path in (one, other):
        path.write_bytes(b"".join(lines(stream, [stream.opened(), stream.closed()])))
    state = tmp_path / "state.json"
    assert Told(capsys, "verify", "--from", str(one), "--state", str(state)).status == 0
    told = Told(capsys, "verify", "--from", str(other), "--state", str(state))
    assert (told.status, told.out) == (2, "")
    assert "wanted one file a source" in told.err
    told = Told(capsys, "verify", "--from", str(one), "--state", str(state), "--until", "2030-01-01T00:00:00Z")
    assert (told.status, told.err) == (2, "predictor: --state goes on from the last run to now; wanted no --until\n")
    state.write_text("[]")
    assert "it holds no state of `verify`" in Told(capsys, "verify", "--from", str(one), "--state", str(state)).err
