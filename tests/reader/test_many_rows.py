"""Records of many rows, read: listed, shown, exported, scored and replayed row by row, as records of their own are."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyarrow import dataset

from predictor.outbox.layout import streams
from predictor.reader import cli
from tests.support import model_folders
from tests.support.fake_loki import Loki
from tests.support.server import IRIS, predictions, serve

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(5).uniform([3, 1, 0, 0], [9, 6, 8, 3], (300, 4)).tolist()
SIZES = (1, 256, 40, 3)


@pytest.fixture
def per_request(tmp_path: Path) -> Path:
    """Iris with as many rows of a request in one record as fit."""
    folder = tmp_path / "iris"
    shutil.copytree(IRIS, folder)
    with (folder / "model.toml").open("a") as file:
        file.write('\n[log]\nrows = "per_request"\n')
    return folder


async def fill(outbox: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the answers to some requests, sent one after the other; the last one fails."""
    answers = []
    begin = 0
    async with serve(outbox, folder, PREDICTOR_FEEDBACK="true") as here:
        for size in SIZES:
            answer = await here.post("/predict/batch", json={"data": ROWS[begin : begin + size]}, raise_for_status=True)
            answers.append(answer.json)
            begin += size
        job = answers[1]["job_id"]
        for index, label in ((255, "setosa"), (3, "virginica")):
            await here.post(f"/feedback/{job}", json={"index": index, "label": label}, raise_for_status=True)
        await here.post("/predict", json={"data": []})
    return answers


def run(capsys: pytest.CaptureFixture[str], verb: str, outbox: Path, *arguments: str, status: int = 0) -> str:
    """Return what a verb prints."""
    capsys.readouterr()
    assert cli.main([verb, *arguments, "--from", str(outbox)]) == status
    return capsys.readouterr().out


def table(source: Path | str, tmp_path: Path) -> list[dict[str, Any]]:
    """Return an export without what two runs of a server have not in common."""
    path = tmp_path / "out.jsonl"
    assert cli.main(["export", str(path), "--from", str(source)]) == 0
    own = {"time", "job_id", "sequence", "stream", "trace_id", "batch_size", "feedback_time"}
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    return [
        {name: value for name, value in row.items() if name not in own and not name.startswith(("duration", "model"))}
        for row in rows
    ]


def edit(outbox: Path, old: str, new: str) -> None:
    """Replace a text in an outbox."""
    (path,) = outbox.glob("v1/*/logs/*.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def test_answers_are_the_same(outbox: Path, tmp_path: Path, per_request: Path) -> None:
    """How rows are recorded changes no answer, and an export has the same rows, with feedback where it belongs."""
    ours = await fill(outbox, per_request)
    theirs = await fill(tmp_path / "other", IRIS)
    assert [each["predictions"] for each in ours] == [each["predictions"] for each in theirs]
    assert len(predictions(outbox)) < 10 < sum(SIZES) < len(predictions(tmp_path / "other"))
    rows = table(outbox, tmp_path)
    assert rows == table(tmp_path / "other", tmp_path)
    assert [row["feedback_label"] for row in rows if row["feedback_label"]] == ["virginica", "setosa"]


async def test_from_loki(outbox: Path, tmp_path: Path, per_request: Path) -> None:
    """Loki gives the same rows, of the same types."""
    await fill(outbox, per_request)
    with Loki() as loki:
        loki.add(*(line for stream in streams(outbox) for line in stream.signal("logs").lines()))
        assert table(loki.url, tmp_path) == table(outbox, tmp_path)


async def test_appended(outbox: Path, tmp_path: Path, per_request: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that is added to has a row for each row, too."""
    await fill(outbox, per_request)
    said = json.loads(run(capsys, "export", outbox, "--append", str(tmp_path / "table"), "--json"))
    assert said["predictions"] == sum(SIZES) + 1
    whole = dataset.dataset(tmp_path / "table" / "predictions", partitioning="hive").to_table()
    assert sorted(whole["index"].drop_null().to_pylist()) == sorted(at for size in SIZES for at in range(size))


async def test_records_say_which_rows_they_have(outbox: Path, per_request: Path) -> None:
    """A request is one record, or several with consecutive rows; each has its number, and a failure has its own."""
    await fill(outbox, per_request)
    *records, failure = predictions(outbox)
    assert failure["error.type"] == "invalid-data"
    found: dict[str, list[tuple[int, int]]] = {}
    for each in records:
        found.setdefault(each["prediction.job_id"], []).append((each["prediction.index"], each["prediction.rows"]))
    for size, parts in zip(SIZES, found.values(), strict=True):
        assert [first for first, _ in parts] == [sum(rows for _, rows in parts[:at]) for at in range(len(parts))]
        assert sum(rows for _, rows in parts) == size
    assert len(found) == len(SIZES)
    assert max(len(parts) for parts in found.values()) > 1  # 256 rows are more than 16 KiB


async def test_rows_of_a_failure(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request that fails has a record a row with its inputs, beside the one record of its batch-mates."""
    folder = model_folders.giving_nan(tmp_path / "model")
    with (folder / "model.toml").open("a") as file:
        file.write('\n[log]\nrows = "per_request"\n')
    good, bad = [[1.0, 2.0]] * 3, [[1.0, 2.0], [2 * model_folders.NAN_BELOW, 2.0]]
    async with serve(outbox, folder) as here:
        answers = await asyncio.gather(*[here.post("/predict/batch", json={"data": rows}) for rows in (good, bad)])
    assert [each.status for each in answers] == [200, 500]
    one, *failed = sorted(predictions(outbox), key=lambda each: each.get("error.type", ""))
    assert one["prediction.rows"] == 3
    assert [(each["prediction.index"], each["error.type"]) for each in failed] == [
        (0, "model-failed"),
        (1, "model-failed"),
    ]
    inputs = [[value for name, value in each.items() if name.startswith("prediction.input.")] for each in failed]
    assert inputs == bad
    listed = [json.loads(line) for line in run(capsys, "list", outbox, "--json").splitlines()]
    assert len(listed) == 5


async def test_listed_and_shown(outbox: Path, per_request: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are listed and shown one by one, and filters take rows."""
    answers = await fill(outbox, per_request)
    job, rows = answers[1]["job_id"], answers[1]["predictions"]
    listed = [json.loads(line) for line in run(capsys, "list", outbox, "--json", "--limit", "1000").splitlines()]
    assert sum(each["event"] == "prediction" for each in listed) == sum(SIZES) + 1
    odd = [
        json.loads(line) for line in run(capsys, "list", outbox, "--json", "--outlier", "--limit", "1000").splitlines()
    ]
    assert len(odd) == sum(row["is_outlier"] for answer in answers for row in answer["predictions"]) > 0
    assert {each["attributes"]["prediction.outlier"] for each in odd} == {True}
    shown = json.loads(run(capsys, "show", outbox, job, "--json"))
    assert [each["attributes"]["prediction.index"] for each in shown["rows"]] == [*range(256)]
    assert [json.loads(each["attributes"]["prediction.output"]) for each in shown["rows"]] == [
        row["prediction"] for row in rows
    ]
    assert "256 rows, 2 feedback" in run(capsys, "show", outbox, job)


async def test_verified_scored_and_replayed(
    outbox: Path, per_request: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log is complete, each row counts once, and the same model says the same of every row."""
    await fill(outbox, per_request)
    assert "complete" in run(capsys, "verify", outbox)
    (model,) = json.loads(run(capsys, "score", outbox, "--json"))["models"]
    assert (model["predictions"], model["with_feedback"]) == (sum(SIZES), 2)
    replayed = json.loads(run(capsys, "replay", outbox, "--model", str(per_request), "--json"))
    assert replayed["equal"] is True
    assert replayed["replayed"] == sum(SIZES)


async def test_a_row_that_is_there_twice_is_found(
    outbox: Path, per_request: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two records of which one has a row of the other are told by job and row."""
    await fill(outbox, per_request)
    jobs = [each["prediction.job_id"] for each in predictions(outbox) if "prediction.rows" in each]
    old = '"prediction.index","value":{"intValue":"0"}},{"key":"prediction.rows","value":{"intValue":"3"}}'
    edit(outbox, old, old.replace('"0"', '"38"'))
    edit(outbox, jobs[-1], jobs[-2])
    out = run(capsys, "verify", outbox, "--json", status=1)
    assert [each["index"] for each in json.loads(out)["twice"]] == [38, 39]
