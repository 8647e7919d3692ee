"""The shipper and a way that refuses everything, or much: a refusal is believed only when it is proved."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from contextlib import asynccontextmanager
from itertools import cycle
from typing import TYPE_CHECKING

import msgspec
import pytest

from predictor.outbox.quota import Usage
from predictor.shipping.backlog import Backlog
from predictor.shipping.rejected import RefusalRecord, Rejected
from tests.support.scripted_sink import OK, Answer, Request, serve
from tests.support.shipper_rig import Rig, kept, ones, poison, stored
from tests.support.stream_files import line, line_of_spans, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from predictor.outbox.layout import StreamFiles

REJECTS_ALL = Answer(200, b'{"partialSuccess":{"rejectedLogRecords":"1","rejectedSpans":"1","errorMessage":"no"}}')
TLS = Answer(400, b"Client sent an HTTP request to an HTTPS server.\n")  # as Go's listeners say
PREDICTION, OPENED = "prediction", "prediction.stream.opened"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


@asynccontextmanager
async def running(rig: Rig, *streams: StreamFiles) -> AsyncIterator[None]:
    """Ship these streams in the background."""
    for files in streams:
        rig.shipper.add(files)
    task = asyncio.create_task(rig.shipper.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await rig.shipper.close()


def append(files: StreamFiles, numbers: Iterable[int], event: str = "") -> None:
    """Add one more line to a stream."""
    with files.signal("logs").segment(1).open("ab") as file:
        file.write(line(list(numbers), event=event))


def reason(files: StreamFiles, name: str) -> RefusalRecord:
    """Return what stands beside a refused item."""
    return msgspec.json.decode((files.rejected / f"{name}.reason.json").read_bytes(), type=RefusalRecord, strict=True)


@pytest.mark.parametrize(
    "answer",
    [TLS, Answer(413, b"<h1>too large</h1>"), Answer(422), REJECTS_ALL, Answer(500, b"no")],
    ids=["400", "413", "422", "200", "500"],
)
async def test_a_way_that_refuses_everything(rig: Rig, answer: Answer) -> None:
    """Whatever is refused while nothing is accepted stays in line; it is tried again, and all arrives in the end."""
    rig.sink.script = lambda _: answer
    files, other = rig.stream([range(1, 9), [9], [10]], "0192-a"), rig.stream([[1, 2]], "0192-b")
    async with running(rig, files, other):
        await rig.until(lambda: rig.now > 2000)
        assert rig.counters.refused == 0
        assert rig.counters.problem
        asked = len(rig.sink.requests)
        await rig.until(lambda: rig.now > 2300)
        assert len(rig.sink.requests) - asked <= 2 * 4 * 11  # in five minutes, with waits of up to half a minute
        rig.sink.script = lambda _: OK
        await rig.until(lambda: rig.shipper.drained(files) and rig.shipper.drained(other))
    assert rig.counters.problem is None
    assert not files.rejected.exists()
    assert not other.rejected.exists()
    assert set(rig.sink.sequences) == set(range(1, 11))
    assert rig.counters.shipped == 12


async def test_it_says_what_the_sink_says(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """While a refusal is not proved, readiness details and stderr name the record and end with the sink's words."""
    rig.sink.script = lambda _: TLS
    async with running(rig, rig.stream(ones(2))):
        await rig.until(lambda: rig.counters.problem is not None)
    problem = rig.counters.problem
    assert problem == (
        f"{rig.sink.url}/v1/logs: logs-1 of stream 0192-a is refused and waits: no other item is accepted after it, "
        "so the way to the sink may be wrong; the sink's answer: 400 Client sent an HTTP request to an HTTPS server."
    )
    assert rig.counters.since is not None
    assert f"{problem}; {2 * len(line([1]))} bytes of this stream are kept and tried again" in caplog.text


async def test_many_streams_that_wait(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Of many streams that wait stderr names one a minute, and says only of those that it named that they go on."""
    caplog.set_level(logging.INFO)
    rig.sink.script = lambda _: TLS
    many = [rig.stream(ones(1), f"0192-{number}") for number in range(9)]
    async with running(rig, *many):
        await rig.until(lambda: "(and 8 more streams wait)" in str(rig.counters.problem))
        rig.sink.script = lambda _: OK
        await rig.until(lambda: all(rig.shipper.drained(files) for files in many))
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "is refused and waits" in line]) == 1
    assert len([line for line in said if line.endswith("goes on")]) == 1


async def test_only_the_same_event_proves(rig: Rig) -> None:
    """A prediction is refused for its content only if another prediction is accepted, not a status or the like."""
    files = make(rig.root, line([1], event=PREDICTION) + line([2], event=OPENED))
    rig.sink.script = lambda request: Answer(400, b"no") if b'"prediction"' in request.body else OK
    async with running(rig, files):
        await rig.until(lambda: rig.now > 1500)
        assert rig.counters.refused == 0
        assert "no other record with the event prediction is accepted" in str(rig.counters.problem)
        assert rig.sink.accepted == []  # nothing passes it
        rig.sink.script = poison(1)
        append(files, [3], PREDICTION)
        await rig.until(lambda: rig.shipper.drained(files))
    assert kept(files) == {"logs-1.json": [1]}
    assert set(rig.sink.sequences) == {2, 3}


async def test_lone_record(rig: Rig) -> None:
    """A stream of one refused record keeps it in line, for the next process too, until another stream's is taken."""
    rig.sink.script = poison(1)
    files = rig.stream(ones(1))
    assert await rig.ship(files, seconds=0.1) == len(line([1]))
    assert stored(files) == (1, 0)
    assert not files.rejected.exists()
    rig.new()
    assert await rig.ship(files, rig.stream([[2]], "0192-b")) == 0
    assert kept(files) == {"logs-1.json": [1]}
    assert rig.sink.sequences == [2]


async def test_last_record_of_a_stream(rig: Rig) -> None:
    """With nothing behind it a refusal is proved by a record that was accepted before, which is sent once more."""
    rig.sink.script = poison(4)
    files = make(rig.root, line([1, 2]) + line([3, 4]))
    assert await rig.ship(files) == 0
    assert kept(files) == {"logs-4.json": [4]}
    assert set(rig.sink.sequences) == {1, 2, 3}


async def test_other_streams_go_on(rig: Rig) -> None:
    """A refusal that waits stops its own stream only, and its problem stays while others are accepted."""
    rig.sink.script = poison(1)
    files = make(rig.root, line([1], event=OPENED) + line([2]))
    other = rig.stream([[n] for n in range(11, 40)], "0192-b")
    async with running(rig, files, other):
        await rig.until(lambda: rig.now > 1100)
        assert rig.shipper.drained(other)
        assert "logs-1 of stream 0192-a is refused and waits" in str(rig.counters.problem)
        assert rig.sink.sequences == list(range(11, 40))
        assert rig.counters.refused == 0
        third = rig.stream([[3]], "0192-c")
        third.signal("logs").segment(1).write_bytes(line([3], event=OPENED))
        rig.shipper.add(third)
        await rig.until(lambda: rig.shipper.drained(files))
        assert rig.counters.problem is None
    assert kept(files) == {"logs-1.json": [1]}


async def test_spans(rig: Rig) -> None:
    """Spans have no event: another span is the proof; while none is accepted they wait."""
    files = make(rig.root, line_of_spans([1]) + line_of_spans([2, 3]), signal="traces")
    rig.new("traces")
    rig.sink.script = lambda _: TLS
    async with running(rig, files):
        await rig.until(lambda: rig.now > 1500)
        assert rig.counters.refused == 0
        assert not files.rejected.exists()
        rig.sink.script = lambda request: Answer(400) if b'%032x"' % 2 in request.body else OK
        await rig.until(lambda: rig.shipper.drained(files))
    assert rig.counters.refused == 1
    assert rig.counters.shipped == 2


async def test_mended_in_the_middle_of_the_proof(rig: Rig) -> None:
    """A way that is mended between the refusal and the proof costs no record: the refused one is asked again."""
    for refused in range(1, 8):
        left = iter([TLS] * refused)
        rig.sink.script = lambda _, left=left: next(left, OK)  # type: ignore[misc]
        files = rig.stream(ones(4), f"0192-{refused}")
        rig.new()
        assert await rig.ship(files) == 0
        assert not files.rejected.exists()
    assert rig.counters.refused == 0


@pytest.mark.parametrize("first", [0, 1])
async def test_a_way_that_takes_every_second_request(rig: Rig, first: int) -> None:
    """Of two sinks behind one address one refuses everything: no record is given up for it."""
    turns = cycle([OK, TLS] if first else [TLS, OK])
    rig.sink.script = lambda _: next(turns)
    files = rig.stream([range(n * 8 + 1, n * 8 + 9) for n in range(8)])
    assert await rig.ship(files) == 0
    assert rig.counters.refused == 0
    assert set(rig.sink.sequences) == set(range(1, 65))


def too_old(request: Request, before: int = 21) -> Answer:
    """Refuse what is older than a record, as Loki does with what is too far behind the newest of a stream."""
    behind = Answer(400, b'{"message":"' + b"x" * 3000 + b' entry too far behind"}')
    return behind if any(number < before for number in request.sequences) else OK


async def test_a_backlog_that_is_refused_while_new_records_pass(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """After ten refusals in a thousand records the stream waits and says why; once the sink takes it, all arrives."""
    files, other = rig.stream(ones(60)), rig.stream([[n] for n in range(201, 300)], "0192-b")
    rig.sink.script = too_old
    async with running(rig, files, other):
        await rig.until(lambda: rig.now > 2000)
        assert set(kept(files)) == {f"logs-{n}.json" for n in range(1, 11)}
        assert rig.counters.refused == 10
        problem = str(rig.counters.problem)
        assert "logs-11 of stream 0192-a is refused and waits: more than 10 of the last 1000 records" in problem
        assert problem.endswith("entry too far behind")
        assert rig.shipper.drained(other)
        append(other, [300])
        await rig.until(lambda: rig.shipper.drained(other))
        rig.sink.script = lambda _: OK
        await rig.until(lambda: rig.shipper.drained(files))
        assert rig.counters.problem is None
    assert set(rig.sink.sequences) == {*range(11, 61), *range(201, 301)}
    assert rig.counters.refused == 10
    assert "entry too far behind; " in caplog.text


async def test_scattered_refusals_are_an_outage_too(rig: Rig) -> None:
    """One refusal in a hundred goes on for ever, more do not: the eleventh in a thousand waits."""
    rig.sink.script = lambda request: Answer(400) if any(n % 100 == 0 for n in request.sequences) else OK
    fine = rig.stream([range(n, n + 10) for n in range(1, 3000, 10)])
    assert await rig.ship(fine) == 0
    assert len(kept(fine)) == 30
    rig.sink.script = lambda request: Answer(400) if any(n % 90 == 0 for n in request.sequences) else OK
    rig.new()
    files = rig.stream([range(n, n + 10) for n in range(1, 3000, 10)], "0192-b")
    assert await rig.ship(files, seconds=1.5) > 0
    assert set(kept(files)) == {f"logs-{n}.json" for n in range(90, 901, 90)}


async def test_an_operator_accepts_refusals(rig: Rig) -> None:
    """An operator's word believes what the stream holds at that moment, be it proved or not, and nothing later."""
    rig.sink.script = too_old
    files = rig.stream(ones(20))
    lone = make(rig.root, line([1], event=OPENED), stream="0192-b")
    async with running(rig, files, lone):
        await rig.until(lambda: rig.now > 1500)
        assert "(and 1 more stream waits)" in str(rig.counters.problem)
        assert rig.shipper.accept_refusals(lone)
        await rig.until(lambda: rig.shipper.drained(lone))
        assert kept(lone) == {"logs-1.json": [1]}
        assert not rig.shipper.accept_refusals(lone)
        assert not rig.shipper.accept_refusals(make(rig.root, stream="0192-c"))
        assert rig.counters.refused == 1
        append(files, range(21, 31))
        await rig.until(lambda: rig.now > 3000)
        assert rig.counters.refused == 11
        assert rig.shipper.accept_refusals(files)
        append(files, range(8, 21))  # written after the word
        await rig.until(lambda: rig.counters.refused == 21 + 10)
        await rig.until(lambda: rig.now > 4000)
        assert rig.counters.refused == 21 + 10
        assert "logs-18 of stream 0192-a is refused and waits: more than 10" in str(rig.counters.problem)
    assert set(rig.sink.sequences) == set(range(21, 31))


async def test_full_rejected_stops_the_stream(rig: Rig) -> None:
    """When `rejected/` is full its stream waits and loses nothing, others go on, and it goes on once there is room."""
    beside = msgspec.json.encode(RefusalRecord(400, "no", f"{rig.sink.url}/v1/logs", 10**18))
    rig.rejected = Rejected({"logs": 3 * (len(line([1])) + len(beside)), "traces": 0})
    rig.new()
    rig.sink.script = poison(1, 2, 3, 4)
    files, other = rig.stream(ones(6)), rig.stream([[7], [8]], "0192-b")
    async with running(rig, files, other):
        await rig.until(lambda: rig.now > 1500)
        assert set(kept(files)) == {"logs-1.json", "logs-2.json", "logs-3.json"}
        assert rig.counters.refused == 3
        assert "rejected/ of stream 0192-a is full, so it waits" in str(rig.counters.problem)
        assert str(rig.counters.problem).endswith("logs-4 is refused: 400 no")
        assert rig.shipper.drained(other)
        assert not rig.shipper.drained(files)
        for path in files.rejected.iterdir():  # as `predictor log resend` does
            path.unlink()
        files.rejected.rmdir()
        await rig.until(lambda: rig.shipper.drained(files))
    assert kept(files) == {"logs-4.json": [4]}
    assert set(rig.sink.sequences) == {5, 6, 7, 8}
    assert rig.counters.problem is None


async def test_bounds_of_rejected(tmp_path: Path) -> None:
    """Each signal has a bound of its own, a new process counts what is there, and a second time is not counted."""
    files = make(tmp_path)
    usage = Usage(tmp_path, 1 << 20)
    why = RefusalRecord(400, "no", "http://sink", 1)
    size = len(line([1])) + len(msgspec.json.encode(why))
    limits = {"logs": 2 * size + 10, "traces": len(line_of_spans([1])) + 100}
    rejected = Rejected(limits, added=usage.add)  # type: ignore[arg-type]
    assert await rejected.keep(files, "traces-00000001-0-0", line_of_spans([1]), why)
    assert not await rejected.keep(files, "traces-00000001-1-0", line_of_spans([1]), why)
    assert usage.used == 0  # spans cost no record
    assert await rejected.keep(files, "logs-1", line([1]), why)
    assert usage.used == size
    assert await rejected.keep(files, "logs-2", line([2]), why)
    assert usage.used == usage.scan() == 2 * size  # at once, and with the next scan
    assert await rejected.keep(files, "logs-2", line([2]), why)
    assert usage.used == 2 * size
    again = Rejected(limits)  # type: ignore[arg-type]
    assert not await again.keep(files, "logs-3", line([3]), why)
    again.forget(files)
    assert await again.keep(files, "logs-1", line([1]), why)


async def test_folder_that_vanishes(tmp_path: Path) -> None:
    """If somebody removes `rejected/` it is made anew with the next refusal."""
    files = make(tmp_path)
    rejected = Rejected()
    why = RefusalRecord(400, "no", "http://sink", 1)
    assert await rejected.keep(files, "logs-1", line([1]), why)
    for path in files.rejected.iterdir():
        path.unlink()
    files.rejected.rmdir()
    with pytest.raises(FileNotFoundError):
        await rejected.keep(files, "logs-2", line([2]), why)
    assert await rejected.keep(files, "logs-2", line([2]), why)
    assert set(kept(files)) == {"logs-2.json"}


async def test_the_sinks_words_are_kept_to_the_end(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the kept item stands all that the sink said, on stderr the end of it, where the reason stands."""
    words = "rpc error: " + "x" * 6000 + " entry too far behind"
    rig.sink.script = lambda request: Answer(400, words.encode()) if 1 in request.sequences else OK
    files = rig.stream(ones(2))
    await rig.ship(files)
    why = reason(files, "logs-1")
    assert (why.status, why.words, why.endpoint) == (400, words, f"{rig.sink.url}/v1/logs")
    assert why.time_unix_ns > 10**18
    assert (files.rejected / "logs-1.json").read_bytes() == line([1])
    said = json.loads((files.rejected / "logs-1.reason.json").read_text())
    assert set(said) == {"status", "words", "endpoint", "time_unix_ns"}
    (told,) = [r.getMessage() for r in caplog.records if "kept in rejected/" in r.getMessage()]
    assert "400 rpc error: " in told
    assert " entry too far behind; kept in rejected/logs-1.json" in told
    assert len(told) < 1500


async def test_unreadable_stream_proves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails while a proof is searched for only delays it."""
    rig.sink.script = poison(1)
    files = rig.stream(ones(2))
    whole, fails = Backlog._read_from, iter([True, True, False])

    def read(self: Backlog, *place: object) -> object:
        if next(fails, False):
            raise OSError(errno.EIO, "Input/output error")
        return whole(self, *place)  # type: ignore[arg-type]

    monkeypatch.setattr(Backlog, "_read_from", read)
    await rig.ship(files)
    assert rig.slept == [0.5, 1.0]
    assert kept(files) == {"logs-1.json": [1]}


async def test_rare_events_are_searched_for_piece_by_piece(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that lies far behind is found, though no single try reads everything."""
    monkeypatch.setattr("predictor.shipping.probes._SEARCHED", 3000)
    many = b"".join(line([n], event=PREDICTION) for n in range(2, 30))
    files = make(rig.root, line([1], event=OPENED) + many + line([30], event=OPENED))
    rig.sink.script = poison(1)
    await rig.ship(files)
    assert kept(files) == {"logs-1.json": [1]}
    assert rig.slept  # between two pieces
    assert set(rig.sink.sequences) == set(range(2, 31))
