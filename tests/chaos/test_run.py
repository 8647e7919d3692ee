"""`make chaos` as a whole, in runs of one fault: 0 when nothing is wrong, 1 with the evidence when a log is spoiled."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from chaos import judge, run, sinks
from chaos import report as report_module
from chaos.plan import Fault
from scripts import results
from tests.support import collector
from tests.support.power_cut import ext4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.support.ledger import Record


@pytest.fixture(autouse=True)
def _needs() -> None:
    """Need the Collector and gunicorn."""
    collector.binary()
    pytest.importorskip("gunicorn", reason="gunicorn is an extra: pip install '.[gunicorn]'")


@pytest.fixture(autouse=True)
def _results(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the results of these runs elsewhere."""
    monkeypatch.setattr(results, "FOLDER", tmp_path_factory.mktemp("results"))


def chaos(folder: Path, *arguments: str) -> int:
    """Run it in a folder."""
    return run.main(["--sink", "files", "--folder", str(folder), *arguments])


def tables(text: str) -> dict[str, list[str]]:
    """Return the rows of all tables of a report, by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A killed server loses nothing: status 0, a report that counts it, progress on stderr, and no folder left."""
    page = tmp_path / "page.md"
    page.write_text("\n".join(report_module.MARKS))
    assert chaos(tmp_path, "--only", "KILL_SERVER", "--kills", "1", "--seed", "5", "--write", str(page)) == 0
    told = capsys.readouterr()
    report = tables(told.out)
    assert "`make chaos ARGS='--seed 5 --kills 1 --sink files --only KILL_SERVER'`" in told.out
    assert report[Fault.KILL_SERVER.value][0] == "1"
    assert report[Fault.KILL_WORKER.value][0] == "0"
    assert int(report["rows acknowledged as logged"][0].replace(",", "")) >= 40
    assert report["streams closed: `crash`"] == ["1"]
    assert {tuple(report[kind]) for kind in judge.KINDS} == {("0",)}
    assert "1/1 kill -9: the server" in told.err
    assert list(tmp_path.iterdir()) == [page]
    assert report["records at the sink"][0] in page.read_text()
    (kept,) = results.every()
    assert kept.command == f"make chaos ARGS='--seed 5 --kills 1 --sink files --only KILL_SERVER --write {page}'"
    assert kept.figures["faults"][Fault.KILL_SERVER.value] == 1
    assert f"{kept.figures['compared']['records at the sink']:,.0f}" == report["records at the sink"][0]
    assert set(kept.figures["wrong"].values()) == {0}


def test_the_disk_under_the_servers_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Power cuts, a file system that goes read-only, removed segments and folders: nothing is wrong in the end.

    What the last second before a power cut may cost is counted apart.
    """
    with ext4(tmp_path / "probe"):
        pass  # or it is skipped
    faults = ("POWER_CUT", "READ_ONLY", "SEGMENT_REMOVED", "FOLDER_REMOVED")
    assert chaos(tmp_path, "--only", *faults) == 0
    report = tables(capsys.readouterr().out)
    assert [report[Fault[fault].value][0] for fault in faults] == ["1"] * len(faults)
    assert {tuple(report[kind]) for kind in judge.KINDS} == {("0",)}
    assert int(report["rows of the last second before a power cut, gone"][0]) < 500


def test_only_the_last_second_of_who_syncs_once_a_second_may_go() -> None:
    """Rows may be missing that were asked for shortly before a cut, of the first server only."""
    cut = 1_800_000_000.0

    def job(before: float) -> str:
        return str(UUID(int=(int((cut - before) * 1000) << 80) | (7 << 76) | (2 << 62)))

    jobs = [job(seconds) for seconds in (60.0, 2.5, 1.5, 0.1, -5.0)]
    stand = SimpleNamespace(
        loads=[
            SimpleNamespace(ledger=SimpleNamespace(answers={(name, 0): None for name in jobs})),
            SimpleNamespace(ledger=SimpleNamespace(answers={(job(0.2), 0): None})),
        ]
    )
    happening = SimpleNamespace(cuts=[cut])
    assert run._may_miss(stand, happening) == {(jobs[2], 0), (jobs[3], 0)}  # type: ignore[arg-type]


def _without_one(records: Iterable[Record]) -> Iterator[Record]:
    left = list(records)
    left.remove(next(record for record in left if record.attributes["event.name"] == "prediction"))
    yield from left


def _with_another_output(records: Iterable[Record]) -> Iterator[Record]:
    changed = False
    for record in records:
        if not changed and "prediction.output" in record.attributes:
            changed = True
            yield record._replace(attributes=record.attributes | {"prediction.output": "[1.0,0.0,0.0]"})
        else:
            yield record


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [(_without_one, judge.GAPS), (_with_another_output, judge.ALTERED)],
    ids=["a record is lost", "a record is altered"],
)
def test_a_sink_that_spoils_the_log_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Iterable[Record]], Iterator[Record]],
    kind: str,
) -> None:
    """One record of thousands lost or altered behind the Collector's 200: status 1, and the evidence is kept."""
    real = sinks.FileCollector.records
    monkeypatch.setattr(sinks.FileCollector, "records", lambda self: spoil(real(self)))
    page = tmp_path / "page.md"
    page.write_text("as it was")
    runs = tmp_path / "runs"
    runs.mkdir()
    assert chaos(runs, "--only", "BUSY", "--write", str(page)) == 1
    told = capsys.readouterr()
    assert tables(told.out)[kind] == ["1"]
    (folder,) = runs.iterdir()
    assert str(folder) in told.err
    assert len(json.loads((folder / "findings.json").read_text())[kind]) == 1
    assert (folder / "ledger.jsonl").stat().st_size
    assert (folder / "sink.jsonl").stat().st_size
    assert "listens on" in (folder / "server.txt").read_text()
    assert Fault.BUSY.value in (folder / "progress.txt").read_text()
    assert page.read_text() == "as it was"
    (kept,) = results.every()
    assert kept.figures["wrong"][kind] == 1
