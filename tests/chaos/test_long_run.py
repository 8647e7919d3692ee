"""The long run of `make chaos` notices what grows and what is missing, and draws what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench.wrk import Load
from chaos import drawing, long_run, report
from chaos.counting import Counting
from chaos.drawing import Look
from chaos.picture import Band
from scripts import results
from tests.support.stream_files import line

if TYPE_CHECKING:
    from pathlib import Path

LOAD = Load(requests=1000, microseconds=10_000_000, p50=3000, p99=9000, unanswered=0, refused=0)
SVG = "{http://www.w3.org/2000/svg}"


def looks(*, resident: int = 0, descriptors: int = 0, errors: int = 0) -> list[Look]:
    """Return ten minutes in which this is added from the middle on."""
    steady = [Look(minute / 6, LOAD, 100 << 20, 20, 1 << 20) for minute in range(1, 61)]
    load = Load(1000, 10_000_000, 3000, 9000, errors, 0)
    later = [each._replace(load=load, resident=each.resident + resident) for each in steady[30:]]
    return steady[:30] + [each._replace(descriptors=each.descriptors + descriptors) for each in later]


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (looks(), ""),
        (looks(resident=9 << 20, descriptors=7), ""),
        (looks(resident=12 << 20), "memory grew from 100 to 112 MiB"),
        (looks(descriptors=9), "descriptors grew from 20 to 29"),
        (looks(errors=1), "30 requests had no answer"),
        (looks()[:6], "too short"),
    ],
)
def test_what_grows_is_found(seen: list[Look], complaint: str) -> None:
    """Memory and descriptors may vary a little; what grows, and a request without its answer, is said."""
    found = list(long_run._grown(seen))
    assert len(found) == bool(complaint)
    assert all(each.startswith(complaint) for each in found)


def test_what_is_missing_is_found(tmp_path: Path) -> None:
    """A number that did not arrive is missing, copies are none, and files that were counted are gone."""
    counting = Counting(tmp_path)
    folder = tmp_path / "arrived"
    (folder / "logs-2026.jsonl").write_bytes(line([1, 2]) + line([2, 3]))
    (folder / "logs.jsonl").write_bytes(line([5]))
    counting.count()
    assert [path.name for path in folder.iterdir()] == ["logs.jsonl"]
    assert (counting.there, counting.copies, list(counting.wrong(3))) == (3, 1, [])
    assert list(counting.wrong(4)) == ["3 records for 4 requests that were answered"]
    counting.count(last=True)
    assert list(counting.wrong(4)) == ["1 of 5 numbers are missing"]


def test_the_picture_shows_what_was_seen() -> None:
    """Each series is a line with a point a look, each outage a band in each panel."""
    bands = [Band(2, 3, "the Collector is killed"), Band(5, 6, "the Collector is stopped")]
    root = ET.fromstring(drawing.draw(looks(), bands))
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == 6
    assert {len(each.attrib["points"].split()) for each in lines} == {60}
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert titles == [band.what for band in bands] * 5


def test_a_written_run_keeps_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is written leaves its figures for docs/promises.md, those of the lines in docs/reliability.md."""
    monkeypatch.setattr(drawing, "_DOCS", tmp_path)
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    page = tmp_path / "reliability.md"
    page.write_text("\n".join(drawing.MARKS))
    drawing.write(looks(resident=5 << 20), [], 60_000, "long --minutes 10")
    (kept,) = results.every()
    assert (kept.run, kept.command, kept.minutes) == ("long", "make chaos ARGS='long --minutes 10 --write'", 10)
    assert kept.figures["load"] == {
        "records that arrived": 60_000,
        "requests a second, median": 100,
        "resident MiB at least": 100,
        "resident MiB at most": 105,
    }
    assert "100 requests a second" in page.read_text()
    assert "Memory 100 to 105 MiB" in page.read_text()


def test_a_report_goes_between_its_marks(tmp_path: Path) -> None:
    """What stands around the marks of a page stays, what stood between them goes; a page without them is an error."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- b -->\nafter\n")
    report.write(page, ["new"], ("<!-- a -->", "<!-- b -->"))
    assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- b -->\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        report.write(page, ["new"])


def test_the_published_page_has_its_places() -> None:
    """docs/reliability.md has the marks of both reports."""
    text = (drawing._DOCS / "reliability.md").read_text(encoding="utf-8")
    for begin, end in (report.MARKS, drawing.MARKS):
        assert 0 < text.index(begin) < text.index(end)
