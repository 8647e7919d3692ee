"""ONNX files without a description: what is found in them, and the very numbers that the runtime gives by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from predictor.inference.model import ModelError, load
from tests.support import bare_models
from tests.support.server import predictions, problem, records, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

NUMBERS = [[1.0, 2.5, -3.0], [0.5, 0.0, 8.0], [-1.0, -2.0, -0.25]]
CHURN: list[list[Any]] = [["Bern", "a", 40, 1.5], ["Oslo", "b", 7, 0.0], ["Kyiv", "", 90, -2.25]]


def alone(path: Path, inputs: dict[str, NDArray[Any]]) -> list[Any]:
    """Return all outputs as the runtime gives them."""
    found: list[Any] = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)
    return found


def of_numbers(path: Path) -> list[Any]:
    """Return what the runtime gives for NUMBERS."""
    return alone(path, {"x": np.array(NUMBERS, np.float32)})


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (bare_models.price, ("variable",)),
        (bare_models.quantiles, ("p10", "p50", "p90")),
        (bare_models.logits, ("logits_0", "logits_1", "logits_2")),
        (bare_models.sigmoid, ("p",)),
    ],
)
async def test_numbers(outbox: Path, tmp_path: Path, make: Callable[[Path], Path], values: tuple[str, ...]) -> None:
    """One float a row, or several, are a regression: answered and logged are the runtime's own numbers."""
    path = make(tmp_path / "m.onnx")
    found = np.concatenate([each.reshape(3, -1) for each in of_numbers(path)], axis=1).tolist()
    async with serve(outbox, path) as here:
        metadata = (await here.get("/metadata")).json
        one = (await here.post("/predict", json={"data": NUMBERS[:1]})).json
        batch = (await here.post("/predict/batch", json={"data": NUMBERS})).json["predictions"]
        problem(await here.post("/predict/label", json={"data": NUMBERS[:1]}), 404, "not-found")
    assert (metadata["task"], tuple(metadata["prediction_names"])) == ("regression", values)
    assert one["prediction"] == found[0]
    assert [each["prediction"] for each in batch] == found
    names = ["prediction.value"] if len(values) == 1 else [f"prediction.value.{name}" for name in values]
    for logged, row in zip(predictions(outbox)[-3:], found, strict=True):
        assert [logged[name] for name in names] == row
        assert not {"prediction.label", "prediction.output", "prediction.confidence"} & logged.keys()


@pytest.mark.parametrize("objects", [False, True])
async def test_an_input_for_each_column(outbox: Path, tmp_path: Path, *, objects: bool) -> None:
    """Columns of texts, integers and floats are taken as arrays or objects, and logged with their types."""
    path = bare_models.churn(tmp_path / "churn.onnx")
    texts = {name: np.array([[row[at]] for row in CHURN], object) for at, name in enumerate(("city", "plan"))}
    inputs = {
        **texts,
        "plan": texts["plan"].reshape(-1),
        "age": np.array([[row[2]] for row in CHURN]),
        "net income (€)": np.array([[row[3]] for row in CHURN], np.float32),
    }
    labels, probabilities = alone(path, inputs)
    rows = [dict(zip(("city", "plan", "age", "net income (€)"), row, strict=True)) for row in CHURN]
    async with serve(outbox, path) as here:
        answer = await here.post("/predict/batch", json={"data": rows if objects else CHURN})
        label = await here.post("/predict/label", json={"data": [rows[0]]})
        features = (await here.get("/metadata")).json["features"]
    assert [each["prediction"] for each in answer.json["predictions"]] == probabilities.tolist()
    assert label.json["prediction"] == labels[0]
    alias = features[3]["alias"]
    assert alias == "net_income_95f2b8"
    for logged, row, said in zip(predictions(outbox), CHURN, labels, strict=False):
        held = [logged[f"prediction.input.{name}"] for name in ("city", "plan", "age", alias)]
        assert held == row
        assert [type(value) for value in held] == [str, str, int, float]
        assert logged["prediction.label"] == said


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (["Bern", "a", 1.5, 0], "Expected `int`, got `float` - at `$.data[0][2]`"),
        (["Bern", "a", True, 0], "Expected `int`, got `bool` - at `$.data[0][2]`"),
        ([1, "a", 1, 0], "Expected `str`, got `int` - at `$.data[0][0]`"),
        (["Bern", "a", 2**63, 0], "at `$.data[0][2]`"),
        (["Bern", "a", 1, None], "Expected `float`, got `null` - at `$.data[0][3]`"),
        (["Bern", "a", 1, 1e39], "data[0][3] is 1e+39, which is not finite as float32"),
        (["Bern", "a", 1], "Expected `array` of length 4 - at `$.data[0]`"),
        ({"city": "Bern", "plan": "a", "age": 1}, "missing required field `net income (€)`"),
        ({"city": "Bern", "plan": "a", "age": 1, "income": 2}, "unknown field `income`"),
    ],
)
async def test_values_of_another_type_are_refused(outbox: Path, tmp_path: Path, row: object, sentence: str) -> None:
    """A value that is not of its column's type is refused by a sentence that says where it is."""
    async with serve(outbox, bare_models.churn(tmp_path / "churn.onnx")) as here:
        detail = problem(await here.post("/predict", json={"data": [row]}), 422, "invalid-data")
    assert sentence in detail


async def test_missing_values(outbox: Path, tmp_path: Path) -> None:
    """A model that says what it does with missing values takes null as NaN; the record lists what was missing."""
    path = bare_models.missing(tmp_path / "m.onnx")
    rows = [[1.0, None, 3.0], [None, None, None]]
    (found,) = alone(path, {"x": np.array(rows, np.float32)})
    async with serve(outbox, path) as here:
        answer = await here.post("/predict/batch", json={"data": rows})
        by_name = await here.post("/predict", json={"data": [{"x_0": 1.0, "x_2": 3.0}]})
    assert [each["prediction"] for each in answer.json["predictions"]] == found.tolist()
    assert by_name.json["prediction"] == found[0].tolist()
    first, second, third = predictions(outbox)
    assert (first["prediction.missing"], third["prediction.missing"]) == ('["x_1"]', '["x_1"]')
    assert json.loads(second["prediction.missing"]) == ["x_0", "x_1", "x_2"]
    assert first["prediction.input.x_0"] == 1.0
    assert not [name for name in second if name.startswith("prediction.input.")]


async def test_no_value_is_missing_unless_the_model_takes_it(outbox: Path, tmp_path: Path) -> None:
    """A model that says nothing of missing values is not asked to predict with one."""
    async with serve(outbox, bare_models.price(tmp_path / "m.onnx")) as here:
        problem(await here.post("/predict", json={"data": [[1.0, None, 3.0]]}), 422, "invalid-data")


@pytest.mark.parametrize(
    ("element", "row", "kind"),
    [
        (bare_models.INT64, [2**53 + 1, -5, 0], int),
        (bare_models.DOUBLE, [0.1, 2.5, -1e3], float),
        (bare_models.HALF, [0.1, 65504.0, -2.0], float),
        (bare_models.BOOL, [True, False, True], bool),
    ],
)
async def test_a_matrix_of_any_type(outbox: Path, tmp_path: Path, element: int, row: list[Any], kind: type) -> None:
    """A matrix of integers, doubles, halves or booleans is taken as it is, and logged with its type."""
    path = bare_models.matrix(tmp_path / "m.onnx", element)
    dtype = {int: np.int64, bool: np.bool_}.get(kind, np.float16 if element == bare_models.HALF else np.float64)
    (found,) = alone(path, {"x": np.array([row], dtype)})
    async with serve(outbox, path) as here:
        answer = await here.post("/predict", json={"data": [row]})
        problem(await here.post("/predict", json={"data": [["a", "b", "c"]]}), 422, "invalid-data")
    assert answer.json["prediction"] == found[0].tolist()
    logged = predictions(outbox)[0]
    held = [logged[f"prediction.input.x_{at}"] for at in range(3)]
    assert held == row
    assert {type(value) for value in held} == {kind}


@pytest.mark.parametrize(
    ("make", "labels", "values"),
    [
        (bare_models.clusters, ["0", "1", "2"], ["scores_0", "scores_1", "scores_2"]),
        (bare_models.isolation_forest, ["1", "1", "-1"], ["scores"]),
        (bare_models.label_only, ["1", "2", "2"], []),
    ],
)
async def test_a_label_without_probabilities(
    outbox: Path, tmp_path: Path, make: Callable[[Path], Path], labels: list[str], values: list[str]
) -> None:
    """KMeans, an IsolationForest and a bare label are answered as they are: the label, and the scores by name."""
    path = make(tmp_path / "m.onnx")
    outputs = dict(zip(("label", "scores"), of_numbers(path), strict=False))
    assert [str(label) for label in outputs["label"].reshape(-1)] == labels
    async with serve(outbox, path) as here:
        batch = (await here.post("/predict/batch", json={"data": NUMBERS})).json["predictions"]
        label = (await here.post("/predict/label", json={"data": NUMBERS[:1]})).json["prediction"]
    assert label == labels[0]
    assert [each["label"] for each in batch] == labels
    scores = outputs["scores"].tolist() if values else labels
    assert [each["prediction"] for each in batch] == scores
    for logged, said, row in zip(predictions(outbox), labels, scores, strict=False):
        assert logged["prediction.label"] == said
        assert "prediction.confidence" not in logged
        assert [logged[f"prediction.value.{name}"] for name in values] == (row if values else [])


@pytest.mark.parametrize("classes", [[3, 7, 11], ["low", "high", "middle"]])
def test_maps_with_any_keys(tmp_path: Path, classes: list[Any]) -> None:
    """The keys of a ZipMap are the labels, in its order, be they numbers or texts."""
    path = bare_models.zipmap(tmp_path / "m.onnx", classes)
    labels, maps = of_numbers(path)
    model = load(path)
    assert model.description.labels == tuple(map(str, classes))
    outputs = model.run(NUMBERS)
    assert outputs.probabilities is not None
    assert outputs.labels is not None
    assert outputs.probabilities.tolist() == [[each[key] for key in classes] for each in maps]
    assert [classes[place] for place in outputs.labels] == list(labels)


def test_a_map_as_columns(tmp_path: Path) -> None:
    """An output for each class is one distribution, with the outputs' names for labels."""
    path = bare_models.columns(tmp_path / "m.onnx")
    _, *probabilities = of_numbers(path)
    model = load(path)
    assert (model.description.task, model.description.labels) == ("classification", ("no", "maybe", "yes"))
    found = model.run(NUMBERS).probabilities
    assert found is not None
    assert found.tolist() == np.concatenate(probabilities, axis=1).tolist()


def folder(path: Path, text: str) -> Path:
    """Write a description beside a file, and return its folder."""
    (path.parent / "model.toml").write_text(f'name = "m"\nversion = "1"\n{text}\n', encoding="utf-8")
    return path.parent


def test_logits_with_a_softmax(tmp_path: Path) -> None:
    """`activation = "softmax"` makes probabilities of logits; the labels are numbers until they are named."""
    path = bare_models.logits(tmp_path / "m.onnx")
    (raw,) = of_numbers(path)
    model = load(folder(path, 'activation = "softmax"'))
    assert (model.description.task, model.description.labels) == ("classification", ("0", "1", "2"))
    powers = np.exp(raw.astype(np.float64))
    np.testing.assert_allclose(
        np.asarray(model.run(NUMBERS).probabilities), powers / powers.sum(axis=1, keepdims=True), rtol=1e-6
    )


@pytest.mark.parametrize("make", [bare_models.sigmoid, lambda path: bare_models.logits(path, classes=1)])
def test_one_sigmoid(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """`activation = "sigmoid"` makes two classes of one number, be it a probability already or a logit."""
    model = load(folder(make(tmp_path / "m.onnx"), 'activation = "sigmoid"\nlabels = ["no", "yes"]'))
    second = 1 / (1 + np.exp(-np.array(NUMBERS)[:, 0]))
    outputs = model.run(NUMBERS)
    assert outputs.labels is not None
    np.testing.assert_allclose(np.asarray(outputs.probabilities), np.stack([1 - second, second], axis=1), rtol=1e-6)
    assert [model.description.labels[place] for place in outputs.labels] == ["yes", "yes", "no"]


def test_several_labels_at_once(tmp_path: Path) -> None:
    """`multilabel = true` gives each label its own probability, and names none."""
    path = bare_models.sigmoid(tmp_path / "m.onnx", labels=3)
    (raw,) = of_numbers(path)
    model = load(folder(path, 'multilabel = true\nlabels = ["a", "b", "c"]'))
    outputs = model.run(NUMBERS)
    assert model.description.values == ("a", "b", "c")
    assert (outputs.probabilities, outputs.labels) == (None, None)
    assert outputs.values is not None
    assert outputs.values.tolist() == raw.tolist()


@pytest.mark.parametrize(
    ("make", "text", "sentence"),
    [
        (bare_models.logits, 'task = "classification"', 'activation = "softmax" or "sigmoid" if it holds logits'),
        (bare_models.logits, 'activation = "sigmoid"', "multilabel = true if several labels may be right"),
        (bare_models.logits, "multilabel = true", 'wanted numbers from 0 to 1: say activation = "sigmoid"'),
        (bare_models.logits, 'probabilities = "logits"', 'append a Softmax or say activation = "softmax"'),
        (bare_models.label_only, 'task = "regression"\nvalues = ["p"]', "it has no output 'p', only 'label'"),
        (bare_models.clusters, 'labels = ["a", "b"]', "says ['0', '1', '2'], but labels are ['a', 'b']"),
    ],
)
def test_a_refusal_names_the_way_out(tmp_path: Path, make: Callable[[Path], Path], text: str, sentence: str) -> None:
    """A model that cannot be what is said of it is refused with what to say instead."""
    with pytest.raises(ModelError) as refusal:
        load(folder(make(tmp_path / "m.onnx"), text))
    assert sentence in str(refusal.value)


async def test_the_log_says_what_the_model_is(outbox: Path, tmp_path: Path) -> None:
    """Before its first record a stream has the model's task, types and names, once for all of them."""
    path = bare_models.churn(tmp_path / "My Churn.onnx")
    async with serve(outbox, path) as here:
        for _ in range(2):
            await here.post("/predict", json={"data": CHURN[:1]})
    events = [record["eventName"] for record in records(outbox)]
    assert events[1:4] == ["prediction.model", "prediction", "prediction"]
    said = records(outbox)[1]
    scope = said["scope"]["attributes"]
    assert scope["prediction.model.name"] == "my-churn"
    assert scope["prediction.model.digest"].startswith(f"sha256:{scope['prediction.model.version']}")
    assert said["attributes"]["prediction.model.task"] == "classification"
    assert said["attributes"]["prediction.model.provider"] == "CPUExecutionProvider"
    assert said["attributes"]["prediction.model.runtime"] == f"onnxruntime {ort.__version__}"
    signature = json.loads(said["attributes"]["prediction.model.signature"])
    assert signature["labels"] == ["leaves", "stays"]
    assert [each["type"] for each in signature["features"]] == ["string", "string", "int", "double"]
    assert signature["features"][3]["name"] == "net income (€)"
    assert signature["inputs"][1] == {"name": "plan", "datatype": "BYTES", "shape": [-1]}
