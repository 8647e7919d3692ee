"""The shipper and content that the sink does not want: exactly that is set aside."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.support.scripted_sink import OK, Answer, serve
from tests.support.shipper_rig import Rig, end, kept, ones, poison, stored
from tests.support.stream_files import line, line_of_spans, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from predictor.outbox.layout import StreamFiles
    from predictor.shipping.rejected import RefusalRecord


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


async def test_one_poison_record_among_many(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """400 for one record of many lines: that one alone ends in `rejected/`, all the others are accepted."""
    rig.sink.script = poison(123)
    files = rig.stream([range(n * 8 + 1, n * 8 + 9) for n in range(32)])
    assert await rig.ship(files) == 0
    assert kept(files) == {"logs-123.json": [123]}
    assert set(rig.sink.sequences) == set(range(1, 257)) - {123}
    assert len(rig.sink.sequences) == 256  # one was sent alone to prove that it is taken, and again in its turn
    assert stored(files) == end(files)
    assert (rig.counters.shipped, rig.counters.refused) == (255, 1)
    assert len(rig.sink.requests) < 30  # found by halving
    assert rig.slept == []  # a refusal is no outage
    assert f"{rig.sink.url}/v1/logs refused logs-123 of stream 0192-a: 400 no; kept in rejected/" in caplog.text


@pytest.mark.parametrize("bad", [(1,), (64,), (1, 64), (7, 8, 9), tuple(range(1, 11))])
@pytest.mark.parametrize("status", [400, 422, 413])
async def test_poison_anywhere(rig: Rig, bad: tuple[int, ...], status: int) -> None:
    """Wherever the refused records stand, exactly they are refused and exactly the others accepted."""
    rig.sink.script = poison(*bad, status=status)
    files = rig.stream([range(n * 4 + 1, n * 4 + 5) for n in range(16)])
    assert await rig.ship(files) == 0
    assert {number for numbers in kept(files).values() for number in numbers} == set(bad)
    assert set(rig.sink.sequences) == set(range(1, 65)) - set(bad)
    assert rig.counters.refused == len(bad)
    assert len(rig.sink.requests) <= 8 * len(bad) + 24


async def test_partial_success(rig: Rig) -> None:
    """When some of a body were rejected, smaller ones find which; the others may be stored again, identical."""
    words = b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}'
    rig.sink.script = lambda request: Answer(200, words) if 5 in request.sequences else OK
    files = rig.stream([range(1, 9)])
    await rig.ship(files)
    assert kept(files) == {"logs-5.json": [5]}
    assert set(rig.sink.sequences) == {1, 2, 3, 4, 6, 7, 8}


async def test_too_large_only_halves(rig: Rig) -> None:
    """413 for the size makes bodies smaller, now and later, and refuses nothing that fits alone."""
    limit = 100_000
    rig.sink.script = lambda request: Answer(413) if len(request.body) > limit else OK
    files = rig.stream([range(n * 8 + 1, n * 8 + 9) for n in range(200)], body="x" * 500)
    await rig.ship(files)
    assert rig.sink.sequences == list(range(1, 1601))
    assert not files.rejected.exists()
    assert sum(len(request.body) > limit for request in rig.sink.requests) < 6


async def test_huge_line_is_parted_unasked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than any sink takes is sent in parts from the start."""
    monkeypatch.setattr("predictor.shipping.flow_control._LARGEST", 4000)
    rig.new()
    await rig.ship(rig.stream([range(1, 65)]))
    assert rig.sink.sequences == list(range(1, 65))
    assert max(len(request.body) for request in rig.sink.requests) <= 4000


async def test_refused_spans_have_names_of_their_own(rig: Rig) -> None:
    """Refused spans of one line do not overwrite each other: they are named by their place."""
    first = line_of_spans([1])
    files = make(rig.root, first + line_of_spans([2, 3, 4]), signal="traces")
    rig.new("traces")
    rig.sink.script = lambda request: Answer(400) if any(b'%032x"' % n in request.body for n in (3, 4)) else OK
    await rig.ship(files)
    names = {path.name for path in files.rejected.iterdir()}
    begin = f"traces-00000001-{len(first)}"
    assert names == {f"{begin}-{index}{end}" for index in (1, 2) for end in (".json", ".reason.json")}


async def test_damaged_line_is_refused_as_it_is(rig: Rig) -> None:
    """A line that nobody can read does not stop the stream: it is kept whole, the next ones go on."""
    damaged = [b'{"resourceLogs":[{"sco\x00\r\x00pe\n', b'{"key":"prediction.stream.sequence","value":{"intValue":"x\n']
    files = make(rig.root, line([1]) + damaged[0] + damaged[1] + line([2]))
    rig.sink.script = lambda request: OK if request.parsed else Answer(400)
    assert await rig.ship(files) == 0
    assert set(rig.sink.sequences) == {1, 2}
    at = len(line([1]))
    assert (files.rejected / f"logs-00000001-{at}-0.json").read_bytes() == damaged[0]
    assert (files.rejected / f"logs-00000001-{at + len(damaged[0])}-0.json").read_bytes() == damaged[1]


async def test_foreign_line_goes_alone(rig: Rig) -> None:
    """A line that somebody wrote otherwise is never merged, where it could close the body before its neighbours."""
    foreign = line([2]).replace(b'{"resourceLogs":[', b'{ "resourceLogs": [')
    await rig.ship(make(rig.root, line([1]) + foreign + line([3]) + line([4])))
    assert [request.sequences for request in rig.sink.accepted] == [[1], [2], [3, 4]]
    assert rig.sink.accepted[1].body == foreign


async def test_refused_record_is_on_disk_before_the_cursor_passes(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """If `rejected/` cannot be written the record stays where it is and is tried again until it can."""
    places: list[tuple[int, int]] = []

    async def full(files: StreamFiles, name: str, content: bytes, reason: RefusalRecord) -> bool:
        places.append(stored(files))
        if len(places) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await rig.rejected.keep(files, name, content, reason)

    rig.new(reject=full)
    rig.sink.script = poison(1)
    files = rig.stream(ones(2))
    await rig.ship(files)
    assert places == [(1, 0)] * 3
    assert rig.slept == [0.5, 1.0]
    assert kept(files) == {"logs-1.json": [1]}
    assert set(rig.sink.sequences) == {2}
    assert "cannot keep the refused logs-1 of stream 0192-a: No space left on device" in caplog.text
