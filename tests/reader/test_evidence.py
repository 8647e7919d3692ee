"""docs/evidence.md says what is found and what is not: both are tried, on each source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, changed, lay_out, lines
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from tests.support.log_files import Record

    Plant: TypeAlias = Callable[[Stream, list[Record]], list[Record]]

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


def kept(*gone: int) -> Plant:
    """Return an editor who removes records by their numbers."""
    return lambda _, records: [record for number, record in enumerate(records, 1) if number not in gone]


def renumbered(_: Stream, records: list[Record]) -> list[Record]:
    """Remove record 4 and give its number to the next, and so on."""
    left = [*records[:3], *records[4:]]
    return [changed(record, stream__sequence=number) for number, record in enumerate(left, 1)]


FOUND: dict[str, tuple[str, Plant]] = {
    "middle": ("removes records and nothing else", kept(4, 5)),
    "tail": ("loses the end of a stream", kept(8, 9, 10)),
    "second": (
        "writes another content beside the first",
        lambda _, r: [*r, changed(r[3], label="other") | {"body": {"stringValue": "other"}}],
    ),
    "beyond": ("adds records behind the closing one", lambda stream, r: [*r, stream.prediction()]),
    "again": ("or a row again", lambda stream, r: [*r[:-1], again(stream, r)]),
}
NOT_FOUND: dict[str, tuple[str, Plant]] = {
    "altered": ("changes a record in its only copy", lambda _, r: [*r[:3], changed(r[3], label="other"), *r[4:]]),
    "renumbered": ("numbers the rest anew", renumbered),
    "tail and closed": (
        "cuts the end and writes a closing record",
        lambda _, r: [*r[:6], changed(r[9], stream__sequence=7)],
    ),
    "lost": ("enlarges a declared loss", lambda _, r: [*r[:2], changed(r[8], stream__lost__last=8), r[9]]),
    "stream": ("removes a whole stream", lambda _stream, _records: []),
}


def again(stream: Stream, records: list[Record]) -> Record:
    """Return the closing record's place taken by a row that has a number already."""
    job = next(pair["value"]["stringValue"] for pair in records[3]["attributes"] if pair["key"].endswith("job_id"))
    stream.sequence -= 1
    return stream.prediction(job=job)


def sound(kind: str, folder: Path, plant: Plant) -> bool:
    """Return the verdict on a log of two streams, one of which somebody has worked on."""
    stream, other = Stream(), Stream(BASE + SECOND)
    records = [stream.opened(), *stream.predictions(7), stream.lost(3, 3), stream.closed()]
    texts = lines(other, [other.opened(), *other.predictions(3), other.closed()]) + lines(
        stream, plant(stream, records)
    )
    with Loki() as loki:
        loki.add(*texts)
        where = loki.url if kind == "loki" else lay_out(kind, folder, texts)
        return verify(source(where), TimeRange(BASE - SECOND), now_ns=BASE + 3600 * SECOND).sound


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
def test_an_untouched_log(kind: str, tmp_path: Path) -> None:
    """Nothing is said of a log that nobody has touched."""
    assert sound(kind, tmp_path, lambda _, records: records)


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
@pytest.mark.parametrize("fault", FOUND)
def test_found(kind: str, fault: str, tmp_path: Path) -> None:
    """What the page says is found, is found."""
    words, plant = FOUND[fault]
    assert not sound(kind, tmp_path, plant)
    (row,) = [text for text in PAGE.splitlines() if words in text]
    assert row.split(" | ")[2].startswith("yes")


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
@pytest.mark.parametrize("fault", NOT_FOUND)
def test_not_found(kind: str, fault: str, tmp_path: Path) -> None:
    """What the page says is not found, is not: nobody may take a verdict for more than it is worth."""
    words, plant = NOT_FOUND[fault]
    assert sound(kind, tmp_path, plant)
    (row,) = [text for text in PAGE.splitlines() if words in text]
    assert row.split(" | ")[2] == "**no**"
