"""Other models than iris, served over HTTP: other widths and names, no detector, ZipMap, more features than fit."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support import model_folders
from tests.support.onnx_graphs import detector, identity, write
from tests.support.server import Here, model, predictions, problem, records, serve

if TYPE_CHECKING:
    from pathlib import Path

PAIR = [0.5, -1.25]


def softmax(logits: Any) -> list[float]:  # noqa: ANN401 - what numpy takes
    """Return probabilities by the definition, in double precision."""
    powers = np.exp(np.asarray(logits, np.float64))
    return [float(each) for each in powers / powers.sum()]


async def labelled(here: Here, row: list[float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the answers of /predict and /predict/label for a row."""
    probabilities = await here.post("/predict", json={"data": [row]})
    label = await here.post("/predict/label", json={"data": [row]})
    assert probabilities.status == label.status == 200, (probabilities, label)
    return probabilities.json, label.json


async def test_no_detector(outbox: Path, tmp_path: Path) -> None:
    """A classifier of another width with other names and no detector: is_outlier and outlier_score are null."""
    folder = write(tmp_path / "m", identity(), name="loan", features=["income", "debt_2"], labels=["repaid", "late"])
    async with serve(outbox, folder) as here:
        fields, label = await labelled(here, PAIR)
        assert fields["prediction"] == pytest.approx(softmax(PAIR), rel=1e-6)
        assert fields["is_outlier"] is fields["outlier_score"] is None
        assert label["prediction"] == "repaid"
        assert label["is_outlier"] is label["outlier_score"] is None
        batch = (await here.post("/predict/batch", json={"data": [PAIR, PAIR[::-1]]})).json
        assert [each["is_outlier"] for each in batch["predictions"]] == [None, None]
        assert (await here.get("/label")).json == {"0": "repaid", "1": "late"}
        metadata = (await here.get("/metadata")).json
        assert [metadata[name] for name in ("data_structure", "data_sample", "prediction_structure")] == [
            "(1,2)",
            [[0.5, 1.5]],
            "(1,2)",
        ]
        assert metadata["outlier_type"] is metadata["outlier_structure"] is metadata["outlier_sample"] is None
        detail = problem(await here.post("/predict", json={"data": [[1, 2, 3]]}), 422, "invalid-data")
        assert "data[0] has 3 numbers, wanted 2" in detail

    logged = predictions(outbox)[0]
    assert (logged["prediction.input.income"], logged["prediction.input.debt_2"]) == tuple(PAIR)
    assert logged["prediction.label"] == "repaid"
    assert json.loads(logged["prediction.output"]) == fields["prediction"]
    assert not [name for p in predictions(outbox) for name in p if "outlier" in name or "sepal" in name]
    scope = records(outbox)[2]["scope"]["attributes"]
    assert scope["prediction.model.name"] == "loan"
    assert scope["prediction.model.version"] == "1"
    assert scope["prediction.model.digest"] == model(folder).digest
    assert [p["prediction.label"] for p in predictions(outbox)[2:4]] == ["repaid", "late"]


@pytest.mark.parametrize("strings", [False, True])
async def test_zipmap(outbox: Path, tmp_path: Path, *, strings: bool) -> None:
    """What skl2onnx writes by default, its batch dimension fixed at 1, answers rows that come together."""
    rows = [[1.0, 2.0], [3.0, -1.0], [0.0, 0.0], [-4.0, 1.0]]
    weights = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])
    # The graph's columns are low, high, middle with string keys; the answer is in the order of the description.
    order = [1, 0, 2] if strings else [0, 1, 2]
    wanted = [[softmax(np.array(row) @ weights)[column] for column in order] for row in rows]
    labels = ["high", "low", "middle"]
    async with serve(outbox, model_folders.zipmap(tmp_path / "m", strings=strings)) as here:
        fields, label = await labelled(here, rows[0])
        batch = (await here.post("/predict/batch", json={"data": rows})).json["predictions"]
    assert fields["prediction"] == pytest.approx(wanted[0], rel=1e-6)
    assert label["prediction"] == labels[int(np.argmax(wanted[0]))]
    for each, row in zip(batch, wanted, strict=True):
        assert each["prediction"] == pytest.approx(row, rel=1e-6)
        assert each["is_outlier"] is each["outlier_score"] is None
    logged = predictions(outbox)[2:]
    assert [p["prediction.label"] for p in logged] == [labels[int(np.argmax(row))] for row in wanted]
    assert [json.loads(p["prediction.output"]) for p in logged] == [each["prediction"] for each in batch]
    assert [[p["prediction.input.weight"], p["prediction.input.age"]] for p in logged] == rows
    assert {p["prediction.batch.size"] for p in logged} == {4}


async def test_one_caller_does_not_change_anothers_answer(outbox: Path, tmp_path: Path) -> None:
    """Callers whose rows come together get the answers that each gets alone, and the metadata says how rows run."""
    near, far = [0.5, 1.5], [1e4, -1e4]
    async with serve(outbox, model_folders.quantized(tmp_path / "m")) as here:
        alone = (await here.post("/predict", json={"data": [near]})).json
        answers = await asyncio.gather(
            *(here.post("/predict", json={"data": [row]}) for row in [near, far, near, far, near])
        )
        batch = (await here.post("/predict/batch", json={"data": [far, near]})).json["predictions"]
        assert (await here.get("/metadata")).json["batch"] is False
    for found in (answers[0].json, answers[2].json, answers[4].json, batch[1]):
        assert {**alone, **found, "job_id": ""} == {**alone, "job_id": ""}


async def test_a_row_that_fails_fails_alone(outbox: Path, tmp_path: Path) -> None:
    """A row that the runtime refuses is a 500 for its caller; whose rows came together with it are answered."""
    good, bad = [1.0, 2.0], [model_folders.FAILS_ABOVE + 1, 2.0]
    async with serve(outbox, model_folders.failing(tmp_path / "m")) as here:
        rows = [good, bad, good, good, bad, good]
        answers = await asyncio.gather(*(here.post("/predict", json={"data": [row]}) for row in rows))
    assert [answer.status for answer in answers] == [200, 500, 200, 200, 500, 200]
    errors = {p["prediction.job_id"]: p.get("error.type") for p in predictions(outbox)}
    assert sorted(errors.values(), key=str) == [None] * 4 + ["model-failed"] * 2


async def test_another_detector(outbox: Path, tmp_path: Path) -> None:
    """A threshold of another model decides, not iris's: below it is an outlier, at it is not."""
    folder = write(tmp_path / "m", identity(), detector=detector())
    async with serve(outbox, folder) as here:
        data = {"data": [[0.5, 0.0], [math.nextafter(0.5, 0) - 1e-7, 0.0]]}
        batch = (await here.post("/predict/batch", json=data)).json["predictions"]
    assert [each["is_outlier"] for each in batch] == [False, True]
    assert batch[0]["outlier_score"] == 0.5
    assert [record["severityText"] for record in records(outbox)[2:4]] == ["INFO", "WARN"]


async def test_many_features(outbox: Path, tmp_path: Path) -> None:
    """More than 32 features are logged as one JSON text with the numbers as they were received."""
    row = [round(0.1 * number, 1) for number in range(40)]
    async with serve(outbox, model_folders.wide(tmp_path / "m")) as here:
        fields, _ = await labelled(here, row)
    logged = predictions(outbox)[0]
    assert json.loads(logged["prediction.input_json"]) == row
    assert not [name for name in logged if name.startswith("prediction.input.")]
    assert "prediction.input_truncated" not in logged
    assert "prediction.input_sha256" not in logged
    assert json.loads(logged["prediction.output"]) == fields["prediction"]


@pytest.mark.parametrize("width", [32, 33])
async def test_border_of_many_features(outbox: Path, tmp_path: Path, width: int) -> None:
    """Up to 32 features have an attribute each."""
    async with serve(outbox, model_folders.wide(tmp_path / "m", width)) as here:
        await labelled(here, [1.5] * width)
    logged = predictions(outbox)[0]
    assert ("prediction.input_json" in logged) is (width == 33)
    assert len([name for name in logged if name.startswith("prediction.input.")]) == (32 if width == 32 else 0)


async def test_too_much_input(outbox: Path, tmp_path: Path) -> None:
    """Of input beyond 32 KiB the record has the first values, says so, and has the SHA-256 of the whole."""
    row = [number / 7 for number in range(3000)]
    whole = json.dumps(row, separators=(",", ":"))
    assert len(whole) > 32 << 10
    async with serve(outbox, model_folders.wide(tmp_path / "m", len(row))) as here:
        await labelled(here, row)
    logged = predictions(outbox)[0]
    held = json.loads(logged["prediction.input_json"])
    assert held == row[: len(held)]
    assert len(logged["prediction.input_json"]) > (32 << 10) - 32
    assert logged["prediction.input_truncated"] is True
    assert logged["prediction.input_sha256"] == hashlib.sha256(whole.encode()).hexdigest()


async def test_rows_that_run_together(outbox: Path, tmp_path: Path) -> None:
    """`[batching] rows` of model.toml bounds how many rows of several requests run together."""
    folder = write(tmp_path / "m", identity())
    with (folder / "model.toml").open("a", encoding="utf-8") as file:
        file.write("\n[batching]\nrows = 2\n")
    async with serve(outbox, folder, PREDICTOR_THREADS="1") as here:
        await asyncio.gather(*(here.post("/predict", json={"data": [PAIR]}) for _ in range(40)))
    sizes = {logged["prediction.batch.size"] for logged in predictions(outbox)}
    assert max(sizes) == 2, sizes
