"""The benchmark's own promises: wrong answers and missing records are seen, parts of the page stand for themselves."""

# ruff: noqa: E402 - the benchmark is no package: its folder has to be found first

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

ROOT = Path(__file__).parents[2]

from bench import alone, dialects, environments, evidence, rounds, running, tables
from bench.pinned import BenchError, Pinned
from bench.setting import Setting
from bench.variants import VARIANTS

if TYPE_CHECKING:
    from bench.variants import Variant

ONE = Setting(8, 1)


def variant(name: str) -> Variant:
    """Return a variant by its name."""
    return next(each for each in VARIANTS if each.name == name)


def measured(rate: float, acknowledged: int = 100, recorded: int = 100) -> running.Measured:
    """Return a measurement of which only the rate and the records matter."""
    return running.Measured(rate, 100.0, 1000.0, 2000.0, 0.0, 0.5, 1.0, 0.0, acknowledged, recorded)


def test_peers_are_installed_by_the_locked_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer's environment first gets the pip of the lock, which installs the peer's own."""
    asked: list[list[str]] = []
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "_CACHE", tmp_path)
    monkeypatch.setattr(environments, "_do", lambda command, _peer: asked.append(command))
    lock = tmp_path / "bench" / "peers" / "litserve.txt"
    for folder in (lock.parent, tmp_path / "litserve"):
        folder.mkdir(parents=True)
    lock.write_text("litserve==1 \\\n")
    environments.python("litserve")
    _, first, second = asked
    assert (first[-1], second[-1]) == (str(ROOT / "requirements" / "pip.txt"), str(lock))
    assert "--require-hashes" in first
    assert "--require-hashes" in second


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("traced5", {"job_id": "j", "prediction": [0.1, 0.2, 0.7], "is_outlier": False, "outlier_score": 0.5}),
        ("litserve", {"predictions": [{"prediction": [0.1, 0.2, 0.7], "outlier_score": 0.5}]}),
        ("kserve", {"predictions": [{"prediction": [0.1, 0.2, 0.7], "outlier_score": 0.5}]}),
        (
            "mlserver",
            {
                "outputs": [
                    {"name": "probabilities", "data": [0.1, 0.2, 0.7]},
                    {"name": "outlier_score", "data": [0.5]},
                ]
            },
        ),
    ],
)
def test_an_answer_is_held_to_the_models_own_numbers(name: str, answer: Any) -> None:  # noqa: ANN401
    """Whatever its protocol, a server that answers other numbers than the model is not measured."""
    body = msgspec.json.encode(answer)
    found = variant(name).dialect.numbers(body)
    right = {"probabilities": [0.1, 0.2, 0.7], "outlier_score": [0.5]}
    dialects.check(name, found, right, body)
    for wrong in (
        {"probabilities": [0.2, 0.1, 0.7], "outlier_score": [0.5]},
        {"probabilities": [0.1, 0.2, 0.7], "outlier_score": [-0.5]},
        {"probabilities": [0.1, 0.2, 0.7] * 2, "outlier_score": [0.5] * 2},
    ):
        with pytest.raises(BenchError, match=name):
            dialects.check(name, found, wrong, body)


@pytest.mark.parametrize("each", VARIANTS, ids=lambda each: each.name)
def test_every_server_is_asked_the_same_rows(each: Variant, tmp_path: Path) -> None:
    """Each protocol's requests hold the rows that the expected numbers are computed from, as many as asked for."""
    questions = dialects.questions(each.dialect, Setting(1, 16), tmp_path)
    assert questions.file.read_bytes().splitlines() == [body.json for body in questions.bodies]
    (content,) = msgspec.json.decode(questions.bodies[1].json).values()
    flat = content[0]["data"] if each.program == "mlserver" else [number for row in content for number in row]
    assert flat == [number for row in dialects.rows_of(1, 16) for number in row]


def test_a_missing_record_of_ours_ends_the_run_and_a_peers_is_counted() -> None:
    """A lost record of our own makes the figures worthless; those of a peer are a result and stand in its row."""
    found = evidence.Evidence(predictions={("stream", str(number)) for number in range(99)})
    with pytest.raises(BenchError, match="99 records for 100"):
        found.check(variant("shipped"), 100, 1)
    results = rounds.Results({("bentoml", ONE): [measured(5, 100, 90), measured(5, 100, 100)]}, {})
    assert "10 of 200 missing" in "\n".join(tables.side_by_side([variant("bentoml")], ONE, results))


_OTLP = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"prediction","attributes":[]}]}]}]}'


@pytest.mark.parametrize(
    ("kind", "lines", "wanted"),
    [
        ("lines", ['{"prediction":[1]}', '{"prediction":[1]}', '{"columns":[]}', '{"prediction":[1'], 2),
        (
            "events",
            ["inference.request a", "inference.response a", "inference.response a", "inference.response b", "inf"],
            2,
        ),
        ("otlp", [_OTLP, _OTLP[:-9]], 1),
        ("otlp", ["", _OTLP, ""], 1),
        ("otlp", [_OTLP[9:], _OTLP, ""], 1),
    ],
)
def test_records_of_peers_are_counted_whole_and_once(kind: str, lines: list[str], wanted: int, tmp_path: Path) -> None:
    """A torn line, a line that is no prediction and a second copy of an event do not count as a record."""
    file = tmp_path / "log"
    file.write_text("\n".join(lines))
    assert len(evidence.since({}, [file], kind).predictions) == wanted


def test_a_peer_that_failed_stays_in_the_table() -> None:
    """A peer that cannot be installed or measured keeps its row, with the reason where its figures would be."""
    reason = "not installed: mlserver: no | matching distribution"
    side = tables.side_by_side([variant("mlserver")], ONE, rounds.Results({}, {"mlserver": reason}))
    lone = tables.costs([variant("mlserver")], alone.Costs({}, {"mlserver": reason}))
    for head, _, row in (side, lone):
        assert "no / matching distribution" in row
        assert row.count("|") == head.count("|")


def test_the_best_peer_is_the_fastest_that_logs() -> None:
    """What is said of the peers compares with the fastest one whose log is on, round by round."""
    results = rounds.Results(
        {
            ("traced5", ONE): [measured(100), measured(120)],
            ("kserve", ONE): [measured(90), measured(90)],
            ("litserve", ONE): [measured(10), measured(10)],
            ("bentoml", ONE): [measured(5), measured(5)],
        },
        {},
    )
    chosen = [variant(name) for name in ("traced5", "kserve", "litserve", "bentoml")]
    assert "**11.0** (10.5-11.5) times" in tables.side_by_side(chosen, ONE, results)[-1]
    assert tables.side_by_side(chosen, ONE, results)[-1].endswith("litserve.")


def test_the_page_names_every_peer() -> None:
    """The page says how each peer is set up, and each is measured in the version that its lock has."""
    text = (ROOT / "bench" / "report" / "page.md").read_text(encoding="utf-8")
    for each in VARIANTS:
        if each.peer:
            assert environments.version(each.peer) in each.title
            assert each.title.partition(" ")[0] in text


def test_what_a_server_starts_is_measured_and_ended_with_it(tmp_path: Path) -> None:
    """Processor time, memory and the end of a server cover the processes that it started, also in another session."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    output = tmp_path / "output"
    core = min(os.sched_getaffinity(0))
    parent = Pinned("parent", [sys.executable, str(script)], core, {}, output, tmp_path)
    try:
        while not output.read_text().endswith("\n"):
            assert parent.tree()
        child = int(output.read_text())
        ended = os.pidfd_open(child)
        assert parent.tree() == [parent.pid, child]
        parent.check_core()
        assert parent.resident() > 0
    finally:
        parent.end()
    assert select.select([ended], [], [], 30.0)[0], "killed, it ends in its own time"
    os.close(ended)
