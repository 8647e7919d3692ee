"""A bare ONNX file from the command line to the log's readers: init, serve, export, replay, score."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from predictor.__main__ import main
from predictor.inference.manifest_template import init
from predictor.inference.model import load
from predictor.reader.cli import main as log
from tests.support import bare_models
from tests.support.server import Server, predictions, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHURN: list[list[Any]] = [["Bern", "a", 40, 1.5], ["Oslo", "b", 7, 0.0], ["", "?", 90, -2.25]]
NUMBERS: list[list[Any]] = [[1.0, 2.5, -3.0], [0.5, 0.0, 8.0], [-1.0, -2.0, -0.25]]


@pytest.mark.parametrize("make", [bare_models.price, bare_models.churn, bare_models.missing, bare_models.clusters])
def test_init_writes_a_description_of_the_same_model(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """The folder that init writes is served with the numbers of the bare file, and is never written over."""
    file = make(tmp_path / "model.onnx")
    path = init(file, tmp_path / "folder")
    rows = CHURN if make is bare_models.churn else NUMBERS
    ours, theirs = load(path.parent), load(file)
    assert ours.description.features == theirs.description.features
    assert (ours.description.task, ours.description.labels) == (theirs.description.task, theirs.description.labels)
    for found, wanted in zip(ours.run(rows), theirs.run(rows), strict=True):
        assert (found is None) is (wanted is None)
        assert found is None or found.tolist() == wanted.tolist()
    with pytest.raises(FileExistsError):
        init(file, path.parent)


def test_init_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`predictor init` names the file that it wrote; a file that cannot be served is a sentence and status 2."""
    file = bare_models.price(tmp_path / "price.onnx")
    assert main(["init", str(file), str(tmp_path / "folder")]) == 0
    assert str(tmp_path / "folder" / "model.toml") in capsys.readouterr().err
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    assert main(["init", str(broken), str(tmp_path / "other")]) == 2
    assert "broken.onnx: it is not an ONNX model" in capsys.readouterr().err


def test_serve_a_path(outbox: Path, tmp_path: Path) -> None:
    """`predictor serve FILE` serves that file, whatever PREDICTOR_MODEL says, and tells what was found in it."""
    file = bare_models.price(tmp_path / "price.onnx")
    with Server(outbox, command=("-m", "predictor", "serve", str(file)), PREDICTOR_MODEL="nowhere") as server:
        lines = [json.loads(line)["message"] for line in server.stderr_lines[:2]]
    assert lines[0].endswith("is a model for regression: rows of 3 features to 1 number: variable")
    assert lines[1].startswith("price@")


@pytest.mark.parametrize(
    ("make", "rows", "columns"),
    [
        (bare_models.price, NUMBERS, {"input_x_0": float, "value": float}),
        (bare_models.quantiles, NUMBERS, {"value_p10": float, "value_p90": float}),
        (
            bare_models.churn,
            CHURN,
            {
                "input_city": str,
                "input_age": int,
                "label": str,
                "probability_stays": float,
                "probability_leaves": float,
            },
        ),
        (bare_models.missing, [[1.0, None, 3.0]], {"missing": str, "probability_0": float}),
        (bare_models.clusters, NUMBERS, {"label": str, "value_scores_0": float}),
        (bare_models.label_only, NUMBERS, {"label": str}),
    ],
)
async def test_readers_take_any_answer(
    outbox: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], Path],
    rows: list[list[Any]],
    columns: dict[str, type],
) -> None:
    """Export has typed columns for inputs and answers, and replay gives the logged numbers bit for bit."""
    file = make(tmp_path / "model.onnx")
    async with serve(outbox, file) as here:
        assert (await here.post("/predict/batch", json={"data": rows})).status == 200
    assert log(["export", str(tmp_path / "out.jsonl"), "--from", str(outbox)]) == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(found) == len(rows)
    assert {name: type(found[0][name]) for name in columns} == columns
    capsys.readouterr()
    assert log(["replay", "--model", str(file), "--from", str(outbox), "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert (replayed["replayed"], replayed["equal"]) == (len(rows), True)


async def test_numbers_are_scored_by_their_errors(
    outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Score compares what a model said with what it truly was: the mean distance, and the mean of its square."""
    async with serve(outbox, bare_models.price(tmp_path / "m.onnx"), PREDICTOR_FEEDBACK="true") as here:
        for row, off in zip(NUMBERS[:2], (1.0, -3.0), strict=True):
            answer = (await here.post("/predict", json={"data": [row]})).json
            said = {"value": answer["prediction"][0] + off}
            assert (await here.post(f"/feedback/{answer['job_id']}", json=said)).status == 200
    assert len(predictions(outbox)) == 2
    assert log(["score", "--from", str(outbox), "--json"]) == 0
    (score,) = json.loads(capsys.readouterr().out)["models"]
    assert score["numbers"]["absolute_error"] == 2.0
    assert score["numbers"]["squared_error"] == 5.0
    assert score["numbers"]["compared"] == 2
