"""`predictor log verify` with an outbox: what a sink lacks although the outbox has it, and what the sink refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.outbox.layout import Cursor, StreamFiles
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.command import sentences
from predictor.reader.verify.completeness import verify
from tests.reader.test_cli import SINCE, Told
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, lay_out, line, lines
from tests.support.rejected_items import keep
from tests.support.stream_files import line_of_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from predictor.reader.verify.report import VerifyReport

LATER = BASE + 3600 * SECOND


class Sink:
    """A sink of either kind, to which lines can be added."""

    def __init__(self, kind: str, folder: Path, loki: Loki) -> None:
        """Hold nothing."""
        self._kind = kind
        self._folder = folder / "files"
        self._loki = loki
        self._folder.mkdir()
        (self._folder / "logs.jsonl").touch()

    @property
    def where(self) -> str:
        """What `--from` takes."""
        return self._loki.url if self._kind == "loki" else str(self._folder)

    def add(self, *texts: bytes) -> None:
        """Store lines."""
        self._loki.add(*texts)
        with (self._folder / "logs.jsonl").open("ab") as file:
            file.writelines(texts)


@pytest.fixture(params=["files", "loki"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    """Return an empty sink of each kind."""
    with Loki() as loki:
        yield Sink(request.param, tmp_path, loki)


def texts(stream: Stream, count: int = 6) -> list[bytes]:
    """Return the lines of a stream with that many predictions, 2 numbers more in all."""
    return lines(stream, [stream.opened(), *stream.predictions(count), stream.closed()])


def compare(
    sink: Sink, outbox: Path, window: TimeRange | None = None, wait: Callable[[], object] = lambda: None
) -> VerifyReport:
    """Return the report on a sink that must have what an outbox holds."""
    (outbox / "v1").mkdir(parents=True, exist_ok=True)
    window = window or TimeRange(BASE - 3600 * SECOND)
    return verify(source(sink.where), window, now_ns=LATER, outbox=outbox, wait=wait)


def test_the_sink_has_all(sink: Sink, tmp_path: Path) -> None:
    """Nothing is lacking where the sink has what the outbox holds, refused records that it took later included."""
    stream = Stream()
    written = texts(stream)
    sink.add(*written)
    outbox = tmp_path / "outbox"
    lay_out("outbox", tmp_path, written[4:])
    keep(outbox, stream.id, "logs-3", written[2])
    assert compare(sink, outbox).sound


def test_what_the_sink_refused(sink: Sink, tmp_path: Path) -> None:
    """Refused records that the sink lacks are told by their numbers, though the servers' counts explain them."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(6), stream.status(rejected=3), stream.closed()]
    written = lines(stream, records)
    sink.add(*written[:2], written[4], *written[6:])
    for number in (3, 4, 6):
        keep(tmp_path / "outbox", stream.id, f"logs-{number}", written[number - 1])
    assert verify(source(sink.where), TimeRange(BASE), now_ns=LATER).sound  # from the sink alone nobody can tell
    report = compare(sink, tmp_path / "outbox")
    assert not report.sound
    assert [*sentences(report)] == [
        f"stream {stream.id}: the sink lacks 3-4, 6, which it refused: rejected/ of the outbox has them"
    ]


def test_a_stream_that_never_arrived(sink: Sink, tmp_path: Path) -> None:
    """A whole stream that the sink does not know is told, whatever of it was refused and whatever waits."""
    other, stream = Stream(), Stream(BASE + SECOND)
    sink.add(*texts(other))
    written = texts(stream)
    lay_out("outbox", tmp_path, written[4:])
    for number in (1, 2, 3):
        keep(tmp_path / "outbox", stream.id, f"logs-{number}", written[number - 1])
    report = compare(sink, tmp_path / "outbox")
    assert not report.sound
    assert [*sentences(report)] == [
        f"stream {stream.id}: the sink has no record of it",
        f"stream {stream.id}: the sink lacks 1-3, which it refused: rejected/ of the outbox has them",
        f"stream {stream.id}: the sink lacks 5-8, which the outbox has",
    ]


def test_what_is_on_its_way(sink: Sink, tmp_path: Path) -> None:
    """A server is given the time to ship what lies in its outbox before that counts as lacking."""
    stream = Stream()
    written = texts(stream)
    lay_out("outbox", tmp_path, written)
    sink.add(*written[:5])
    assert compare(sink, tmp_path / "outbox", wait=lambda: sink.add(*written[5:])).sound
    nowhere = compare(sink, tmp_path / "outbox", wait=lambda: pytest.fail("nothing is on its way any more"))
    assert nowhere.sound


def test_records_out_of_the_window(sink: Sink, tmp_path: Path) -> None:
    """With a window only what lies in it is compared."""
    early, late = Stream(), Stream(BASE + 1800 * SECOND)
    outbox = tmp_path / "outbox"
    keep(outbox, early.id, "logs-1", line(early.id, [early.prediction()]))
    lay_out("outbox", tmp_path, texts(late))
    assert compare(sink, outbox, TimeRange(BASE + 600 * SECOND, BASE + 1200 * SECOND)).sound
    assert not compare(sink, outbox, TimeRange(BASE, BASE + 1200 * SECOND)).sound
    assert not compare(sink, outbox, TimeRange(BASE + 600 * SECOND, LATER)).sound


def test_what_was_shipped_before_anybody_looks(tmp_path: Path) -> None:
    """Without a window Loki is asked for its last week: what was shipped before is not called lacking, the rest is."""
    stream = Stream()
    written = texts(stream)
    outbox = tmp_path / "outbox"
    lay_out("outbox", tmp_path, written)
    logs = StreamFiles(outbox / "v1" / stream.id).signal("logs")
    logs.store_cursor(Cursor(1, sum(map(len, written)), 8))
    with Loki() as loki:
        assert verify(source(loki.url), TimeRange(), outbox=outbox, wait=lambda: None).sound
        logs.store_cursor(Cursor(1, sum(map(len, written[:6])), 6))
        report = verify(source(loki.url), TimeRange(), outbox=outbox, wait=lambda: None)
        assert [lack.segments for lack in report.lacks] == [[(7, 8)]]
        keep(outbox, stream.id, "logs-2", written[1])
        report = verify(source(loki.url), TimeRange(), outbox=outbox, wait=lambda: None)
        assert [lack.rejected for lack in report.lacks] == [[(2, 2)]]


def test_what_cannot_be_read(sink: Sink, tmp_path: Path) -> None:
    """A refused line that is no record of a stream, and a damaged line of the outbox, are told: nobody knows them."""
    stream = Stream()
    written = texts(stream)
    sink.add(*written)
    keep(tmp_path / "outbox", stream.id, "logs-00000001-17-0", b"{nobody\n")
    lay_out("outbox", tmp_path, written[:2])
    with (tmp_path / "outbox" / "v1" / stream.id / "logs" / "00000001.jsonl").open("ab") as file:
        file.write(b"{nobody\n")
    report = compare(sink, tmp_path / "outbox")
    assert not report.sound
    unreadable, damaged = sentences(report)
    assert unreadable == f"stream {stream.id}: rejected/ has 1 that cannot be read as records: logs-00000001-17-0"
    assert "not a line of OTLP JSON logs" in damaged


def test_refused_spans_are_a_remark(capsys: pytest.CaptureFixture[str], sink: Sink, tmp_path: Path) -> None:
    """Spans that the sink refused are told and are no fault: traces are a sample."""
    stream = Stream()
    sink.add(*texts(stream))
    keep(tmp_path / "outbox", stream.id, "traces-00000001-0-0", line_of_spans([1]))
    told = Told(capsys, "verify", "--from", sink.where, "--outbox", str(tmp_path / "outbox"), *SINCE)
    assert told.status == 0
    assert told.out.splitlines()[-2:] == [
        "1 refused spans are in rejected/: traces are a sample",
        "nothing is missing",
    ]


@pytest.mark.parametrize("rest", ["nothing", "segments"])
def test_an_outbox_with_refused_records(capsys: pytest.CaptureFixture[str], tmp_path: Path, rest: str) -> None:
    """An outbox of which the sink refused records is not whole by itself, though nothing else is left in it."""
    stream = Stream()
    written = texts(stream)
    if rest == "segments":
        lay_out("outbox", tmp_path, written)
    keep(tmp_path / "outbox", stream.id, "logs-3", written[2])
    keep(tmp_path / "outbox", stream.id, "logs-4", written[3])
    told = Told(capsys, "verify", "--from", str(tmp_path / "outbox"))
    assert told.status == 1
    assert told.out.splitlines()[-1] == (
        f"stream {stream.id}: the sink has refused 3-4, kept in rejected/ (`predictor log resend`)"
    )


def test_json(capsys: pytest.CaptureFixture[str], sink: Sink, tmp_path: Path) -> None:
    """`--json` names what is lacking by stream."""
    stream = Stream()
    written = texts(stream)
    keep(tmp_path / "outbox", stream.id, "logs-3", written[2])
    told = Told(capsys, "verify", "--from", sink.where, "--outbox", str(tmp_path / "outbox"), "--json", *SINCE)
    assert told.status == 1
    (report,) = told.json
    assert report["lacking"] == [
        {"stream": stream.id, "rejected": [[3, 3]], "outbox": [], "unreadable": [], "absent": True}
    ]


def test_an_outbox_is_no_sink(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--outbox` without a sink to compare it with is a sentence and status 2."""
    outbox = lay_out("outbox", tmp_path, texts(Stream()))
    told = Told(capsys, "verify", "--from", outbox, "--outbox", outbox)
    assert (told.status, told.out) == (2, "")
    assert told.err.endswith("wanted --from with the sink\n")
