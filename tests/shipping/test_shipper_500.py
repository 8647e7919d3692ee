"""The shipper and a record that breaks the sink: told apart from a sink that is broken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.scripted_sink import OK, Answer, serve
from tests.support.shipper_rig import Rig, kept, ones, poison
from tests.support.stream_files import line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run a sink with a shipper towards it."""
    async with serve() as sink:
        yield Rig(sink, tmp_path)


async def test_poison_that_breaks_the_sink(rig: Rig) -> None:
    """A record answered 500 again and again while its neighbours are accepted is refused, and it alone."""
    rig.sink.script = poison(6, status=500)
    files = rig.stream([[1, 2], [3, 4], [5, 6, 7, 8], [9]])
    await rig.ship(files)
    assert kept(files) == {"logs-6.json": [6]}
    assert set(rig.sink.sequences) == {1, 2, 3, 4, 5, 7, 8, 9}
    assert rig.counters.refused == 1


async def test_passing_500_is_forgiven(rig: Rig) -> None:
    """A record answered 500 a few times, though its neighbours are accepted, is not refused for it."""
    bad = poison(1, status=500)
    answers = iter(range(5))  # with its neighbours at first, then four times alone
    rig.sink.script = lambda request: OK if next(answers, None) is None else bad(request)
    files = rig.stream(ones(3))
    await rig.ship(files)
    assert rig.sink.sequences == [1, 2, 3]
    assert rig.counters.refused == 0


async def test_two_poisons_side_by_side(rig: Rig) -> None:
    """A neighbour that is as bad is no proof of an outage: another one is asked the next time."""
    rig.sink.script = poison(2, 3, status=500)
    files = rig.stream(ones(4))
    await rig.ship(files)
    assert kept(files) == {"logs-2.json": [2], "logs-3.json": [3]}
    assert set(rig.sink.sequences) == {1, 4}


async def test_neighbour_in_another_stream(rig: Rig) -> None:
    """The only record of a stream is judged by another stream's."""
    rig.sink.script = poison(1, status=500)
    files, other = rig.stream(ones(1), "0192-a"), rig.stream([[2]], "0192-b")
    await rig.ship(files, other)
    assert kept(files) == {"logs-1.json": [1]}


async def test_broken_sink_refuses_nothing(rig: Rig) -> None:
    """A sink that answers 500 to everything is an outage, however long it lasts: nothing is refused for it."""
    rig.sink.answers(*[Answer(500)] * 40)
    files, other = rig.stream([[1, 2], [3]], "0192-a"), rig.stream([[4]], "0192-b")
    assert await rig.ship(files, other) == 0
    assert rig.counters.refused == 0
    assert set(rig.sink.sequences) == {1, 2, 3, 4}
    assert not files.rejected.exists()


async def test_sink_that_breaks_during_the_search(rig: Rig) -> None:
    """If the sink goes down while a 500 is searched for, only the record that truly breaks it is refused."""
    broken = iter([False] * 10 + [True] * 30)
    bad = poison(3, status=500)
    rig.sink.script = lambda request: Answer(500) if next(broken, False) else bad(request)
    files = rig.stream([range(1, 9), [9]])
    await rig.ship(files)
    assert kept(files) == {"logs-3.json": [3]}
    assert set(rig.sink.sequences) == {1, 2, 4, 5, 6, 7, 8, 9}


async def test_lone_record_with_500_waits(rig: Rig) -> None:
    """With no neighbour to compare it with, a record is not refused for 500; a later one decides."""
    rig.sink.script = poison(1, status=500)
    files = rig.stream(ones(1))
    rig.shipper.add(files)
    task = asyncio.create_task(rig.shipper.run())
    await rig.until(lambda: len(rig.slept) > 20)
    assert rig.counters.refused == 0
    with files.signal("logs").segment(1).open("ab") as file:
        file.write(line([2]))
    await rig.until(lambda: rig.shipper.drained(files))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.shipper.close()
    assert kept(files) == {"logs-1.json": [1]}
