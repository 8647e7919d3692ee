"""KServe's version 1: instances in, predictions out, for every kind of model that has rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.api.test_open_inference import ROWS, TABLES, alone, error
from tests.support import bare_models, tensor_models
from tests.support.server import predictions, serve
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Here


async def test_iris(here: Here) -> None:
    """The pattern's model takes rows, as lists or objects by the features' names, and gives its file's own output."""
    objects = [
        dict(zip(("sepal_length", "sepal_width", "petal_length", "petal_width"), row, strict=True))
        for row in ROWS.tolist()
    ]
    answers = [
        await here.post("/v1/models/iris:predict", json={"instances": rows}) for rows in (ROWS.tolist(), objects)
    ]
    probabilities = [
        each["prediction"] for each in (await here.post("/predict/batch", json={"data": objects})).json["predictions"]
    ]
    for answer in answers:
        assert answer.status == 200
        assert answer.json == {"predictions": probabilities}
    assert [row["prediction.job_id"] for row in predictions(here.outbox)][::2][:2] == [
        answer.headers["X-Job-Id"] for answer in answers
    ]


async def test_several_outputs(outbox: Path, tmp_path: Path) -> None:
    """A prediction of a file with several outputs is an object by their names."""
    path, inputs = bare_models.quantiles(tmp_path / "m.onnx"), TABLES["quantiles"][1]
    raw = alone(path, inputs)
    async with serve(outbox, path) as here:
        answer = await here.post("/v1/models/m:predict", json={"instances": inputs["x"].tolist()})
    assert answer.json == {
        "predictions": [{name: raw[name][at].tolist() for name in ("p10", "p50", "p90")} for at in range(2)]
    }


async def test_columns_by_name(outbox: Path, tmp_path: Path) -> None:
    """Instances of a table of columns of several types are objects by their names."""
    path, inputs = bare_models.churn(tmp_path / "m.onnx"), TABLES["churn"][1]
    lists = {name: column.reshape(-1).tolist() for name, column in inputs.items()}
    instances = [{name: values[at] for name, values in lists.items()} for at in range(2)]
    async with serve(outbox, path) as here:
        answer = await here.post("/v1/models/m:predict", json={"instances": instances})
    assert [each["label"] for each in answer.json["predictions"]] == alone(path, inputs)["label"].tolist()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].row_axis])
async def test_tensors(outbox: Path, tmp_path: Path, kind: str) -> None:
    """Instances of a model of tensors are its input's values, or objects by the names of its inputs."""
    make, request, _, _ = KINDS[kind]
    path, inputs = make(tmp_path / "m.onnx"), request(3)
    raw = alone(path, inputs)
    instances = [{name: part[at].tolist() for name, part in inputs.items()} for at in range(3)]
    if len(inputs) == 1:
        instances = [each[next(iter(inputs))] for each in instances]
    async with serve(outbox, path) as here:
        answer = await here.post("/v1/models/m:predict", json={"instances": instances})
    wanted = [{name: part[at].tolist() for name, part in raw.items()} for at in range(3)]
    assert answer.json == {"predictions": wanted if len(raw) > 1 else [each[next(iter(raw))] for each in wanted]}


async def test_models_without_rows(outbox: Path, tmp_path: Path) -> None:
    """A model that has no axis of rows has no instances, and the error names the call that it has."""
    path = tensor_models.no_batch(tmp_path / "m.onnx")
    async with serve(outbox, path) as here:
        refused = await here.post("/v1/models/m:predict", json={"instances": [[1, 2, 3]]})
    assert "wanted POST /v2/models/{model}/infer" in error(refused, 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"instances": [[1, 2, 3]]}, "instances[0] has 3 numbers, wanted 4"),
        ({"instances": []}, "instances has no rows"),
        ({"instances": [["a"] * 4]}, "Expected `float`, got `str`"),
        ({"inputs": [[1, 2, 3, 4]]}, "missing required field `instances`"),
    ],
)
async def test_refusals(here: Here, body: dict[str, object], said: str) -> None:
    """What the model does not take is a bad request, with a sentence, and recorded."""
    assert said in error(await here.post("/v1/models/iris:predict", json=body), 400)
    (row,) = predictions(here.outbox)
    assert (row["error.type"], row["http.route"]) == ("invalid-data", "/v1/models/{model}:predict")


async def test_refused_tensors(outbox: Path, tmp_path: Path) -> None:
    """Instances of tensors with other axes, lengths or names are refused with what is wanted."""
    path = tensor_models.tokens(tmp_path / "m.onnx")
    async with serve(outbox, path) as here:
        for instances, said in (
            ([{"input_ids": [1, 2]}], "an instance lacks 'attention_mask'"),
            (
                [{"input_ids": [1, 2], "attention_mask": [1]}, {"input_ids": [1], "attention_mask": [1]}],
                "different len",
            ),
            ([{"input_ids": [[1]], "attention_mask": [1]}], "instances has lists of different lengths or depths"),
            ([[1, 2]], "Expected `object`, got `array`"),
        ):
            assert said in error(await here.post("/v1/models/m:predict", json={"instances": instances}), 400)


async def test_what_is_told(here: Here) -> None:
    """The models and their readiness are told as KServe tells them."""
    assert (await here.get("/v1/models")).json == {"models": ["iris"]}
    assert (await here.get("/v1/models/iris")).json == {"name": "iris", "ready": True}
    assert "there is no model 'x'" in error(await here.post("/v1/models/x:predict", json={"instances": [[0] * 4]}), 404)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_wrong_method(here: Here, method: str) -> None:
    """The path that predicts takes POST alone; it is not that of a model with a colon in its name."""
    answer = await here.send(method, "/v1/models/iris:predict")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_nothing_finite_is_lost(outbox: Path, tmp_path: Path) -> None:
    """`null` is a missing value where the model takes one."""
    path = bare_models.missing(tmp_path / "m.onnx")
    async with serve(outbox, path) as here:
        answer = await here.post("/v1/models/m:predict", json={"instances": [[1, None, 3]]})
    wanted = alone(path, {"x": np.array([[1, np.nan, 3]], np.float32)})["p"]
    assert answer.json == {"predictions": wanted.tolist()}
