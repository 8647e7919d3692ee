from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from predictor import otlp
from predictor.outbox import OutboxError
from predictor.recording.encoder import encode_event
from predictor.recording.record_schema import INFO
from predictor.recording.stream import LogStream
from predictor.recording.stream_events import Status, closing_line
from tests.support.official_otlp import RESOURCE, VERSION, parsed
from tests.support.server import flatten

if TYPE_CHECKING:
    from predictor.outbox.outbox import OutboxReason

_STREAM = "0199c0de-0000-7000-8000-00000000abcd"
_MODEL = {"prediction.model.name": "iris"}
_MINUTE = 60 * 10**9


class _Log:
    """A log that fails when told to, as no real disk does: for what is usual, or for everything."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.fails: Literal["", "usual", "all"] = ""
        self.reason: OutboxReason = "bytes"

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Take a line or refuse it."""
        if self.fails == "all" or (self.fails == "usual" and not urgent):
            raise OutboxError(self.reason, "no room")
        self.lines.append(line)

    @property
    def told(self) -> list[tuple[int, str, dict[str, Any]]]:
        """The number, the event and the other attributes of each record, as the official bindings read them."""
        told = []
        for record in [record for line in self.lines for record in flatten(parsed(line))]:
            attributes = record["attributes"]
            number, name = attributes.pop("prediction.stream.sequence"), attributes.pop("event.name")
            assert name == record["eventName"]
            told.append((number, name.removeprefix("prediction.").removeprefix("stream."), attributes))
        return told

    @property
    def names(self) -> list[tuple[int, str]]:
        """The number and the event of each record."""
        return [(number, name) for number, name, _ in self.told]


class _Clock:
    """Unix time that a test moves, and how far the wall clock is ahead of what it should be."""

    now = 10**18
    ahead = 0

    def __call__(self) -> int:
        """Return it."""
        return self.now + self.ahead

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        return (self.now - 10**18) / 1e9


@pytest.fixture
def log() -> _Log:
    """Return a log that takes everything so far."""
    return _Log()


@pytest.fixture
def clock() -> _Clock:
    """Return a clock that stands still."""
    return _Clock()


def _stream(clock: _Clock, *, refuses: bool) -> LogStream:
    return LogStream(
        _STREAM, otlp.resource_json(RESOURCE), VERSION, refuses=refuses, now_ns=clock, clock=clock.monotonic
    )


@pytest.fixture
def refusing(log: _Log, clock: _Clock) -> LogStream:
    """Return an open stream under the policy `refuse`."""
    stream = _stream(clock, refuses=True)
    stream.open(log)
    return stream


@pytest.fixture
def losing(log: _Log, clock: _Clock) -> LogStream:
    """Return an open stream under the policy `lose`."""
    stream = _stream(clock, refuses=False)
    stream.open(log)
    return stream


def _append(stream: LogStream, count: int = 1) -> bool:
    rest = encode_event(
        attributes={"event.name": "prediction"},
        body="x",
        severity=INFO,
        event_name="prediction",
        time_ns=1,
        observed_ns=2,
    )
    return stream.append(stream.head(_MODEL), [rest] * count)


def _explained(log: _Log) -> list[int]:
    """Return every number that the sink can account for: what is there and what is declared lost, in order."""
    there = [number for number, *_ in log.told]
    lost = [
        number
        for _, name, pairs in log.told
        if name == "lost"
        for number in range(pairs["prediction.stream.lost.first"], pairs["prediction.stream.lost.last"] + 1)
    ]
    return sorted(there + lost)


def test_numbers_run_over_records_and_events(refusing: LogStream, log: _Log) -> None:
    """Predictions and events share one row of numbers, a batch is one line."""
    assert _append(refusing, 3)
    assert refusing.status(Status())
    assert _append(refusing)
    refusing.close()
    assert log.names == [
        (1, "opened"),
        *((number, "prediction") for number in (2, 3, 4)),
        (5, "status"),
        (6, "prediction"),
        (7, "closed"),
    ]
    assert len(log.lines) == 5
    assert refusing.sequence == 7


def test_refused_numbers_are_given_again(refusing: LogStream, log: _Log) -> None:
    """Under `refuse` a failed write uses no number, however many records it had."""
    log.fails = "all"
    for count in (1, 5):
        with pytest.raises(OutboxError):
            _append(refusing, count)
    with pytest.raises(OutboxError):
        refusing.status(Status())
    assert refusing.sequence == 1
    log.fails = ""
    assert _append(refusing, 2)
    assert log.names == [(1, "opened"), (2, "prediction"), (3, "prediction")]
    assert refusing.lost == 0


def test_lost_numbers_are_declared(losing: LogStream, log: _Log) -> None:
    """Under `lose` a failed write keeps its numbers, and the next one that succeeds brings their declaration."""
    log.fails = "all"
    assert not _append(losing, 2)
    assert not _append(losing)
    assert losing.lost == 3
    log.fails = ""
    assert _append(losing)
    number, name, attributes = log.told[-1]
    assert (number, name) == (6, "lost")
    assert attributes == {
        "prediction.stream.lost.first": 2,
        "prediction.stream.lost.last": 4,
        "prediction.stream.reason": "bytes",
    }
    losing.close()
    assert _explained(log) == list(range(1, 8))


def test_loss_is_declared_through_the_reserve(losing: LogStream, log: _Log, clock: _Clock) -> None:
    """While the outbox stays full, a loss is said at once and further ones once a minute, each number once."""
    log.fails = "usual"
    _append(losing)
    losing.declare_lost_sparingly(full=True)
    assert log.names == [(1, "opened"), (3, "lost")]
    _append(losing, 2)
    clock.now += _MINUTE - 1
    losing.declare_lost_sparingly(full=True)
    assert len(log.lines) == 2
    clock.now += 1
    losing.declare_lost_sparingly(full=True)
    assert log.names[2:] == [(6, "lost")]
    _append(losing)
    losing.declare_lost_sparingly(full=False)
    assert log.names[3:] == [(8, "lost")]
    losing.declare_lost_sparingly(full=False)
    assert _explained(log) == list(range(1, 9))


def test_wall_clock_that_goes_back_delays_no_declaration(losing: LogStream, log: _Log, clock: _Clock) -> None:
    """Losses are declared once a minute of time that passes, whatever the wall clock says."""
    log.fails = "usual"
    _append(losing)
    losing.declare_lost_sparingly(full=True)
    _append(losing)
    clock.ahead = -8 * 24 * 60 * _MINUTE
    clock.now += _MINUTE
    losing.declare_lost_sparingly(full=True)
    assert log.names == [(1, "opened"), (3, "lost"), (5, "lost")]


def test_written_record_is_never_declared_lost(losing: LogStream, log: _Log) -> None:
    """A record that came through between two losses is in neither range."""

    class _EventsFail(_Log):
        def append(self, line: bytes, *, urgent: bool = False) -> None:
            if urgent:
                raise OutboxError(self.reason, "no room")
            super().append(line)

    log.fails = "all"
    _append(losing)
    stubborn = _EventsFail()
    losing._log = stubborn
    assert _append(losing)
    losing._log = log
    _append(losing, 2)
    log.fails = ""
    losing.close()
    log.lines += stubborn.lines
    assert _explained(log) == list(range(1, 9))
    ranges = [list(pairs.values())[:2] for _, name, pairs in log.told if name == "lost"]
    assert ranges == [[2, 2], [4, 5]]


def test_each_reason_has_its_range(losing: LogStream, log: _Log) -> None:
    """A full outbox and a failing disk are declared apart."""
    log.fails = "all"
    _append(losing)
    log.reason = "disk"
    _append(losing)
    log.fails = ""
    losing.declare_lost()
    ranges = [list(pairs.values()) for _, name, pairs in log.told if name == "lost"]
    assert ranges == [[2, 2, "bytes"], [3, 3, "disk"]]


def test_declaration_that_fails_is_made_later(losing: LogStream, log: _Log) -> None:
    """A loss that cannot be declared stays to be declared, and keeps neither status nor end from failing aloud."""
    log.fails = "all"
    _append(losing)
    for attempt in (losing.declare_lost, losing.close, lambda: losing.status(Status())):
        with pytest.raises(OutboxError):
            attempt()
    log.fails = ""
    losing.close()
    assert log.names == [(1, "opened"), (3, "lost"), (4, "closed")]


@pytest.mark.parametrize("refuses", [True, False])
def test_opened_waits_for_room(log: _Log, clock: _Clock, *, refuses: bool) -> None:
    """With a full outbox at the start, `opened` comes before the first record that is taken; no number is unsaid."""
    log.fails = "all"
    stream = _stream(clock, refuses=refuses)
    stream.open(log)
    if refuses:
        with pytest.raises(OutboxError):
            _append(stream)
    else:
        assert not _append(stream)
    log.fails = ""
    assert _append(stream)
    stream.close()
    names = [name for _, name in log.names]
    assert names == ["opened", "prediction", *([] if refuses else ["lost"]), "closed"]
    assert _explained(log) == list(range(1, stream.sequence + 1))


def test_status_is_silent_when_nothing_happens(refusing: LogStream, log: _Log) -> None:
    """A status comes after records and while something is pending, and does not bring the next one itself."""
    assert refusing.status(Status())  # of `opened`
    assert not refusing.status(Status())
    _append(refusing)
    assert refusing.status(Status(backlog_bytes=10, backlog_age=1.0))
    assert refusing.status(Status(backlog_bytes=10, backlog_age=61.0))
    assert refusing.status(Status())  # all is accepted now: who reads the sink must not believe the last word
    assert not refusing.status(Status())
    assert not refusing.status(Status(backlog_age=0.5))  # measured before the last byte was accepted
    assert [name for _, name in log.names].count("status") == 4


def test_status_of_the_idle(refusing: LogStream, log: _Log, clock: _Clock) -> None:
    """Who is asked each minute and has nothing to say is heard of every ten minutes, wherever the wall clock stands."""
    assert refusing.status(Status())
    said = []
    for minute in range(1, 31):
        clock.now += _MINUTE
        clock.ahead = -minute * 60 * _MINUTE
        if refusing.status(Status()):
            said.append(minute)
    assert said == [10, 20, 30]
    assert [name for _, name in log.names] == ["opened", *["status"] * 4]


@pytest.mark.parametrize("news", [Status(rejected=1), Status(unrecorded=1)])
def test_status_tells_of_a_change(refusing: LogStream, log: _Log, news: Status) -> None:
    """A count that has changed is something that happened, once."""
    refusing.status(Status())
    assert refusing.status(news)
    assert not refusing.status(news)
    said = {name: value for name, value in log.told[-1][2].items() if ".digest" not in name}
    assert said == {
        "prediction.stream.backlog.size": 0,
        "prediction.stream.backlog.age": 0.0,
        "prediction.stream.lost.count": 0,
        "prediction.stream.rejected.count": news.rejected,
        "prediction.stream.unrecorded.count": news.unrecorded,
    }


def test_status_that_fails_is_said_later(refusing: LogStream, log: _Log) -> None:
    """A status that could not be written is due the next time."""
    log.fails = "all"
    with pytest.raises(OutboxError):
        refusing.status(Status())
    log.fails = ""
    assert refusing.status(Status())


def test_nothing_follows_closed(refusing: LogStream, log: _Log) -> None:
    """After `closed` a record is refused aloud: it would have no place in the proof."""
    refusing.close()
    with pytest.raises(RuntimeError):
        _append(refusing)
    assert log.names[-1] == (2, "closed")


def test_stream_must_be_open(clock: _Clock) -> None:
    """A record before the stream is open is a fault of the program and is not swallowed."""
    with pytest.raises(RuntimeError):
        _append(_stream(clock, refuses=False))


def test_closing_line_declares_what_is_undeclared(refusing: LogStream) -> None:
    """What a process lost and could not declare is declared before its stream is closed, each with a number."""
    lost, closed = flatten(parsed(closing_line(refusing.event_head, 9, [(4, 8, "bytes")])))
    assert lost["eventName"] == "prediction.stream.lost"
    assert lost["attributes"] == {
        "prediction.stream.sequence": 9,
        "prediction.stream.lost.first": 4,
        "prediction.stream.lost.last": 8,
        "prediction.stream.reason": "bytes",
        "event.name": "prediction.stream.lost",
    }
    assert lost["body"] == {"stringValue": "stream lost records 4 to 8: bytes"}
    assert (closed["eventName"], closed["attributes"]["prediction.stream.sequence"]) == ("prediction.stream.closed", 10)


def test_closing_line_is_the_dead_streams_own(refusing: LogStream, log: _Log) -> None:
    """The next process ends a dead stream under its resource and scope, with the number after its last one."""
    _append(refusing)
    (line,) = flatten(parsed(closing_line(refusing.event_head, 3)))
    opened = flatten(parsed(log.lines[0]))[0]
    assert (line["resource"], line["scope"]) == (opened["resource"], opened["scope"])
    assert line["scope"]["attributes"]["prediction.stream.id"] == _STREAM
    assert line["attributes"] == {
        "prediction.stream.sequence": 3,
        "prediction.stream.reason": "crash",
        "event.name": "prediction.stream.closed",
    }
    assert line["severityText"] == "WARN"
