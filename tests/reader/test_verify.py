"""`predictor log verify`: finds every fault that is planted, and nothing in a log that is whole."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.check import opened_ns
from predictor.reader.verify.command import sentences
from predictor.reader.verify.completeness import verify
from tests.support.log_files import BASE, SECOND, Stream, changed, lay_out, line, lines, said

if TYPE_CHECKING:
    from predictor.reader.verify.report import VerifyReport
    from tests.support.log_files import Record

LATER = BASE + 3600 * SECOND


@pytest.fixture(params=["outbox", "files"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return a kind of source."""
    return str(request.param)


def whole(stream: Stream, count: int = 9) -> list[Record]:
    """Return a stream that is complete: opened, predictions, closed."""
    return [stream.opened(), *stream.predictions(count), stream.closed()]


def judge(kind: str, folder: Path, written: list[bytes], window: TimeRange | None = None) -> VerifyReport:
    """Return the report on a log."""
    return verify(source(lay_out(kind, folder, written)), window or TimeRange(), now_ns=LATER)


def only(report: VerifyReport) -> str:
    """Return the one thing that is wrong."""
    assert not report.sound
    (sentence,) = sentences(report)
    return sentence


def test_whole(kind: str, tmp_path: Path) -> None:
    """Complete streams are complete, side by side too, and nothing is said of them."""
    one, other = Stream(), Stream(BASE + SECOND)
    report = judge(kind, tmp_path, [*lines(one, whole(one)), *lines(other, whole(other))])
    assert report.sound
    assert not [*sentences(report)]
    assert [(each.state, each.first, each.stream.last) for each in report.verdicts] == [("complete", 1, 11)] * 2


def test_copies(kind: str, tmp_path: Path) -> None:
    """What was sent again, in whatever order and in other lines, is counted and is no fault."""
    stream = Stream()
    records = whole(stream)
    report = judge(
        kind, tmp_path, [*lines(stream, records), line(stream.id, records[3:7]), *lines(stream, records[:2])]
    )
    assert report.sound
    assert report.verdicts[0].stream.copies == 6
    assert report.verdicts[0].stream.records == 11


@pytest.mark.parametrize(("gone", "missing"), [({4}, "4"), ({1}, "1"), ({2, 3, 4, 9}, "2-4, 9")])
def test_removed(kind: str, tmp_path: Path, gone: set[int], missing: str) -> None:
    """Records that somebody removed are missing, by their numbers."""
    stream = Stream()
    records = [record for number, record in enumerate(whole(stream), 1) if number not in gone]
    assert only(judge(kind, tmp_path, lines(stream, records))) == f"stream {stream.id}: missing {missing}"


@pytest.mark.parametrize("change", [{"label": "virginica"}, {"confidence": 0.81}, {"input__sepal_length": 9.5}])
def test_altered(kind: str, tmp_path: Path, change: dict[str, str | float]) -> None:
    """One number with two contents is an altered record, whichever attribute differs."""
    stream = Stream()
    records = whole(stream)
    written = [*lines(stream, records), line(stream.id, [changed(records[5], **change)])]
    assert only(judge(kind, tmp_path, written)) == f"stream {stream.id}: altered, one number with two contents: 6"


def test_cut(kind: str, tmp_path: Path) -> None:
    """A stream without its end ended without a word: that the records before are there is no proof of what followed."""
    stream = Stream()
    report = judge(kind, tmp_path, lines(stream, whole(stream)[:7]))
    told = f"stream {stream.id}: ended without a word after record 7; what it held then is unknown"
    assert only(report) == told
    assert (report.verdicts[0].state, report.verdicts[0].stream.last) == ("silent", 7)


def test_silence_with_a_backlog(tmp_path: Path) -> None:
    """Three status periods after a status with a backlog nobody can say that a stream is whole, and not before."""
    stream = Stream()
    written = lines(stream, [stream.opened(), *stream.predictions(2), stream.status(backlog=900)])
    where = source(lay_out("files", tmp_path, written))
    soon = verify(where, TimeRange(), now_ns=stream.now + 180 * SECOND)
    assert (soon.sound, soon.verdicts[0].state) == (True, "open")
    late = verify(where, TimeRange(), now_ns=stream.now + 181 * SECOND)
    assert only(late) == (
        f"stream {stream.id}: ended without a word after record 4, which reported 900 bytes that the sink had not "
        "accepted; what it held then is unknown"
    )


def test_silence_after_a_record(tmp_path: Path) -> None:
    """Who has written a record says a status within a minute: three minutes of silence after one are an end."""
    stream = Stream()
    where = source(lay_out("files", tmp_path, lines(stream, [stream.opened(), stream.status(), stream.prediction()])))
    assert verify(where, TimeRange(), now_ns=stream.now + 180 * SECOND).sound
    assert not verify(where, TimeRange(), now_ns=stream.now + 181 * SECOND).sound


def test_silence_of_the_idle(tmp_path: Path) -> None:
    """Who has nothing pending says so every ten minutes: eleven minutes of silence are an end, and no less."""
    stream = Stream()
    where = source(lay_out("files", tmp_path, lines(stream, [stream.opened(), stream.prediction(), stream.status()])))
    assert verify(where, TimeRange(), now_ns=stream.now + 660 * SECOND).sound
    late = verify(where, TimeRange(), now_ns=stream.now + 661 * SECOND)
    assert only(late) == f"stream {stream.id}: ended without a word after record 3; what it held then is unknown"


def test_an_old_figure_accuses_nobody(tmp_path: Path) -> None:
    """A backlog of which a status told is not held against a stream that spoke later: that status is overtaken."""
    stream = Stream()
    records = [stream.opened(), stream.prediction(), stream.status(backlog=91_836), stream.prediction()]
    sentence = only(judge("files", tmp_path, lines(stream, records)))
    assert "91836" not in sentence
    assert "after record 4; what it held then is unknown" in sentence


def test_the_lock_tells_who_writes(tmp_path: Path) -> None:
    """In an outbox a silent stream is open while a process has its lock, and has ended at once when none has."""
    stream = Stream()
    where = lay_out("outbox", tmp_path, lines(stream, [stream.opened(), stream.status()]))
    (folder,) = Path(where).glob("v1/*")
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        report = verify(source(where), TimeRange(), now_ns=LATER)
        assert (report.sound, report.verdicts[0].state) == (True, "open")
    report = verify(source(where), TimeRange(), now_ns=stream.now)
    assert (report.sound, report.verdicts[0].state) == (False, "silent")


def test_the_lock_of_the_outbox_behind_a_sink(tmp_path: Path) -> None:
    """A sink that is far behind makes nobody silent whose outbox is at hand and locked."""
    stream = Stream()
    written = lines(stream, [stream.opened(), stream.status()])
    where, outbox = lay_out("files", tmp_path, written), lay_out("outbox", tmp_path, written)
    (folder,) = Path(outbox).glob("v1/*")
    assert not verify(source(where), TimeRange(), now_ns=LATER, outbox=Path(outbox), wait=lambda: None).sound
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert verify(source(where), TimeRange(), now_ns=LATER, outbox=Path(outbox), wait=lambda: None).sound


def test_silence_after_a_past_window(tmp_path: Path) -> None:
    """Whether a stream fell silent at the end of a past window is looked up after it, as the whole log tells it."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(2), stream.status(backlog=900)]
    end = stream.now + 120 * SECOND
    assert "ended without a word after record 4" in only(
        judge("files", tmp_path / "a", lines(stream, records), TimeRange(None, end))
    )
    stream.now = end + 3000 * SECOND
    later = [*records, stream.prediction()]
    report = judge("files", tmp_path / "b", lines(stream, later), TimeRange(None, end))
    assert (report.sound, report.verdicts[0].state) == (True, "open")


def test_crash(kind: str, tmp_path: Path) -> None:
    """A stream that the next process closed is complete, and said to have crashed."""
    stream = Stream()
    report = judge(kind, tmp_path, lines(stream, [stream.opened(), *stream.predictions(3), stream.closed("crash")]))
    assert report.sound
    assert (report.verdicts[0].state, report.verdicts[0].stream.closed) == ("complete", "crash")


def test_beyond_the_end(kind: str, tmp_path: Path) -> None:
    """Nothing has a higher number than the closing record."""
    stream = Stream()
    records = [*whole(stream, 2), stream.prediction()]
    sentence = only(judge(kind, tmp_path, lines(stream, records)))
    assert sentence == f"stream {stream.id}: closed by record 4, and yet it has numbers up to 5"


def test_row_with_two_numbers(kind: str, tmp_path: Path) -> None:
    """A row that was recorded twice is found, across streams too; two rows of one job are no such thing."""
    one, other = Stream(), Stream(BASE + SECOND)
    job = str(said(one.prediction())["prediction.job_id"])
    one = Stream()
    records = [one.opened(), one.prediction(job=job), one.prediction(job=job, index=1), one.closed()]
    again = [other.opened(), other.prediction(job=job), other.closed()]
    report = judge(kind, tmp_path, [*lines(one, records), *lines(other, again)])
    assert only(report) == f"job {job} row 0 has more than one number"


def test_declared_lost(kind: str, tmp_path: Path) -> None:
    """Numbers that the server itself declares lost are not missing; the others are."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(6), stream.lost(3, 5), stream.closed()]
    kept = [record for number, record in enumerate(records, 1) if number not in {3, 4, 5}]
    assert judge(kind, tmp_path / "a", lines(stream, kept)).sound
    kept = [record for number, record in enumerate(records, 1) if number not in {3, 4, 5, 6}]
    assert only(judge(kind, tmp_path / "b", lines(stream, kept))) == f"stream {stream.id}: missing 6"


def test_refused_by_the_sink(kind: str, tmp_path: Path) -> None:
    """As many missing records as the server says were refused are explained, and no more."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(5), stream.status(rejected=1), stream.closed()]
    report = judge(kind, tmp_path / "a", lines(stream, [*records[:2], *records[3:]]))
    assert report.sound
    assert (report.verdicts[0].refused, report.verdicts[0].missing) == (1, [(3, 3)])
    sentence = only(judge(kind, tmp_path / "b", lines(stream, [*records[:2], *records[4:]])))
    assert sentence == f"stream {stream.id}: missing 3-4 (1 of them refused by the sink)"


def test_refused_after_adoption(kind: str, tmp_path: Path) -> None:
    """What the sink refused of a dead server's stream is told by the one that shipped it."""
    dead, heir = Stream(), Stream(BASE + SECOND)
    left = [dead.opened(), *dead.predictions(3), dead.closed("crash")]
    told = [heir.opened(), heir.status(rejected=1), heir.closed()]
    written = [*lines(dead, [*left[:2], *left[3:]]), *lines(heir, told)]
    report = judge(kind, tmp_path, written)
    assert report.sound
    assert [each.refused for each in report.verdicts] == [1, 0]


def test_refused_before_the_window(kind: str, tmp_path: Path) -> None:
    """What was refused before the window does not excuse what is missing in it."""
    stream = Stream()
    records = [stream.opened(), stream.prediction(), stream.status(rejected=2)]
    start = stream.now = stream.now + 30 * SECOND
    records += [*stream.predictions(5), stream.status(rejected=2), stream.closed()]
    written = lines(stream, [*records[:5], *records[6:]])
    assert only(judge(kind, tmp_path, written, TimeRange(start))) == f"stream {stream.id}: missing 6"


def test_refused_long_before_the_window(kind: str, tmp_path: Path) -> None:
    """The count of refusals is the process's since its start: what is old in it does not excuse a later loss."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(3), stream.status(rejected=2)]
    start = stream.now = stream.now + 3600 * SECOND
    records += [*stream.predictions(5), stream.status(rejected=2), stream.closed()]
    written = lines(stream, [*records[:6], *records[8:]])
    assert only(judge(kind, tmp_path, written, TimeRange(start))) == f"stream {stream.id}: missing 7-8"


def test_a_stream_that_goes_while_it_is_read(tmp_path: Path) -> None:
    """A stream that its server ships and removes under the reader's eyes is not called abandoned."""
    stream = Stream()
    where = lay_out("outbox", tmp_path, lines(stream, [stream.opened(), stream.prediction(), stream.status(backlog=9)]))
    (folder,) = Path(where).glob("v1/*")
    (folder / "logs" / "00000002.jsonl").write_bytes(line(stream.id, [stream.closed("crash")]))

    def gone(_: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    report = verify(source(where), TimeRange(), gone, now_ns=BASE + 3600 * SECOND)
    assert report.sound, list(sentences(report))


def test_window_in_the_middle(kind: str, tmp_path: Path) -> None:
    """A window judges the numbers in it: what lies before it is no gap, what is missing in it is one."""
    stream = Stream()
    records = [stream.opened()]
    for _ in range(10):
        stream.now += 100 * SECOND
        records.append(stream.prediction())
    start, end = BASE + 350 * SECOND, BASE + 850 * SECOND
    report = judge(kind, tmp_path / "a", lines(stream, records[3:]), TimeRange(start, end))
    assert report.sound
    assert (report.verdicts[0].first, report.verdicts[0].stream.last) == (5, 9)
    gone = lines(stream, [*records[:5], *records[6:]])
    assert only(judge(kind, tmp_path / "b", gone, TimeRange(start, end))) == f"stream {stream.id}: missing 6"


def test_slow_request_at_the_edge(kind: str, tmp_path: Path) -> None:
    """Numbers follow the writing: one whose request came before the window, among others of the window, is no gap."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(2)]
    stream.now += 200 * SECOND
    start = stream.now
    records += stream.predictions(2)
    stream.now -= 20 * SECOND  # a request that took so long
    records += [stream.prediction()]
    stream.now += 21 * SECOND
    records += [*stream.predictions(2), stream.closed()]
    report = judge(kind, tmp_path, lines(stream, records), TimeRange(start))
    assert report.sound
    assert report.verdicts[0].first == 4


def test_stream_begun_in_the_window(kind: str, tmp_path: Path) -> None:
    """A stream that began in the window must be there from its first record on."""
    stream = Stream()
    report = judge(kind, tmp_path, lines(stream, whole(stream)[2:]), TimeRange(opened_ns(stream.id) - 1))
    assert only(report) == f"stream {stream.id}: missing 1-2"


def test_damaged(kind: str, tmp_path: Path) -> None:
    """A line that cannot be read is a fault, said once with its place, and what it held is missing."""
    stream = Stream()
    written = lines(stream, whole(stream))
    folder = lay_out(kind, tmp_path, [*written[:4], *written[5:]])
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_bytes(b"".join([*written[:4], written[4][:99] + b"\n", *written[5:]]))
    report = verify(source(folder), TimeRange(), now_ns=LATER)
    missing, damage = sentences(report)
    assert missing == f"stream {stream.id}: missing 5"
    assert "not a line of OTLP JSON logs" in damage
    assert str(path if kind == "files" else path.parent.parent) in damage


def test_unrecorded(kind: str, tmp_path: Path) -> None:
    """Refused requests without a record are told, and are no fault."""
    stream = Stream()
    report = judge(kind, tmp_path, lines(stream, [stream.opened(), stream.status(unrecorded=7), stream.closed()]))
    assert report.sound
    assert report.verdicts[0].stream.unrecorded == 7


def test_shipped_away(tmp_path: Path) -> None:
    """What the sink has taken over leaves the outbox, and is not missed there."""
    stream = Stream()
    folder = lay_out("outbox", tmp_path, lines(stream, whole(stream)[5:]))
    (path,) = tmp_path.rglob("logs")
    (path / "cursor").write_text('{"segment":1,"offset":0,"sequence":5}')
    assert verify(source(folder), TimeRange(), now_ns=LATER).sound
    (path / "cursor").write_text('{"segment":1,"offset":0,"sequence":4}')
    assert only(verify(source(folder), TimeRange(), now_ns=LATER)) == f"stream {stream.id}: missing 5"
