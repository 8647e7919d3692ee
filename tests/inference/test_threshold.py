"""A threshold of two labels: from a probability on the answer is the second, everywhere that a label is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from predictor.inference.model import ModelError, load
from predictor.inference.toml_table import DescriptionError
from predictor.reader import cli
from tests.support import bare_models, model_folders
from tests.support.onnx_graphs import graph, tensor, write
from tests.support.server import predictions, records, run, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = [[0.7, 0.3], [0.75, 0.25], [0.25, 0.75]]  # the model gives them back as probabilities
SAID = ["yes", "no", "yes"]


def folder(path: Path, threshold: object = 0.3, **more: Any) -> Path:  # noqa: ANN401 - as `write` takes it
    """Write a model of two labels whose probabilities are its features."""
    model = graph([("Identity", ["rows"], ["p"], {})], {}, {"p": tensor(["N", 2])}, ["N", 2])
    write(path, model, **more)
    return with_threshold(path, threshold)


def with_threshold(path: Path, threshold: object) -> Path:
    """Write a threshold into a model's folder, with a sample that is a probability."""
    toml = path / "model.toml"
    text = toml.read_text().replace("sample = 0.5", "sample = 0.75").replace("sample = 1.5", "sample = 0.25")
    toml.write_text(f"threshold = {threshold}\n{text}")
    return path


async def test_answer_record_and_metadata(outbox: Path, tmp_path: Path) -> None:
    """Answer and record have the label by the threshold with its own probability; one that is equal counts."""
    async with serve(outbox, folder(tmp_path / "m")) as here:
        labels = [(await here.post("/predict/label", json={"data": [row]})).json["prediction"] for row in ROWS]
        probabilities = (await here.post("/predict", json={"data": ROWS[:1]})).json["prediction"]
        await here.post("/predict/batch", json={"data": ROWS})
        metadata = (await here.get("/metadata")).json
        page = (await here.get("/")).body.decode()
    assert labels == SAID
    assert metadata["threshold"] == 0.3
    assert probabilities == pytest.approx(ROWS[0])
    logged = predictions(outbox)
    assert [each["prediction.label"] for each in logged] == [*SAID, SAID[0], *SAID]
    assert logged[0]["prediction.confidence"] == probabilities[1]
    assert "yes from a probability of 0.3 on" in page
    (event,) = (each for each in records(outbox) if each["eventName"] == "prediction.model")
    assert json.loads(event["attributes"]["prediction.model.signature"])["threshold"] == 0.3


async def test_replay(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Replay through the same model finds no change; another threshold changes the labels that it moves."""
    async with serve(outbox, folder(tmp_path / "m")) as here:
        await here.post("/predict/batch", json={"data": ROWS})
    assert cli.main(["replay", "--from", str(outbox), "--model", str(tmp_path / "m"), "--json"]) == 0
    capsys.readouterr()
    assert cli.main(["replay", "--from", str(outbox), "--model", str(folder(tmp_path / "o", 0.8)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["labels"]
    assert {"from": "yes", "to": "no", "predictions": 2} in found


def test_it_counts_before_the_models_own_label(tmp_path: Path) -> None:
    """A file's own label, made with another threshold, is held to the order of the labels and is not the answer."""
    path = with_threshold(model_folders.with_threshold(tmp_path / "m", 0.4), 0.9)
    model = load(path)
    assert model.run([[1.0, 2.0]]).labels.tolist() == [0]  # 0.73: the file says 1
    assert model.own_label
    assert model.summary.endswith("no, yes, yes from 0.9 on")
    swapped = with_threshold(model_folders.with_threshold(tmp_path / "s", 0.4, labels=["1", "0"], label='"label"'), 0.5)
    with pytest.raises(ModelError, match="wanted labels in the order of the file"):
        load(swapped)


def test_check_says_it(tmp_path: Path, outbox: Path) -> None:
    """`predictor check` says from which probability on which label is the answer."""
    done = run("check", str(folder(tmp_path / "m")), outbox=outbox)
    assert "2 labels, yes from a probability of 0.3 on, runs" in done.stderr


@pytest.mark.parametrize("threshold", [0, 1, 1.5, "true", '"0.3"', "nan"])
def test_no_probability(tmp_path: Path, threshold: object) -> None:
    """What is no probability between 0 and 1 is refused."""
    with pytest.raises(DescriptionError, match=r"threshold is .*; wanted a probability between 0 and 1"):
        load(folder(tmp_path / "m", threshold))


@pytest.mark.parametrize(
    ("make", "gives"),
    [
        (bare_models.logits, "no probabilities"),
        (bare_models.price, "no probabilities"),
        (bare_models.clusters, "no probabilities"),
        (bare_models.missing, "3 labels"),
    ],
)
def test_for_two_labels_only(tmp_path: Path, make: Callable[[Path], Path], gives: str) -> None:
    """A threshold for anything but two labels with probabilities is refused with what the model gives."""
    make(tmp_path / "m.onnx")
    (tmp_path / "model.toml").write_text('name = "a"\nversion = "1"\nthreshold = 0.5\n')
    with pytest.raises(ModelError, match=f"is for two labels with probabilities, and it gives {gives}"):
        load(tmp_path)
