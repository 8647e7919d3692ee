"""The caller's own key of a row: logged, never given to the model, and what later feedback and readers join by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from predictor.inference.model import ModelError, load
from predictor.inference.toml_table import DescriptionError
from predictor.reader import cli
from tests.support import bare_models
from tests.support.server import predictions, problem, records, serve

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = [[1.0, 2.5, -3.0], [0.5, 0.0, 8.0]]
KEYS = ["A-1017", "customer 7 é"]
KEY = '[[features]]\nname = "order"\nrole = "key"\nsample = "A-1"\n'
HEAD = 'name = "price"\nversion = "1"\n'


def features(*names: str) -> str:
    """Return the tables of features."""
    return "".join(f'[[features]]\nname = "{name}"\nunit = "1"\nsample = 1.5\n' for name in names)


def price(folder: Path, toml: str = HEAD + features("a") + KEY + features("b", "c")) -> Path:
    """Write a regressor of three features with a key."""
    bare_models.price(folder / "m.onnx")
    (folder / "model.toml").write_text(toml)
    return folder


def numbers(folder: Path) -> list[float]:
    """Return what the runtime gives for NUMBERS."""
    found = ort.InferenceSession(folder / "m.onnx").run(None, {"x": np.array(NUMBERS, np.float32)})[0]
    return [*found.reshape(-1).tolist()]


def event(outbox: Path, name: str) -> dict[str, Any]:
    """Return the attributes of the only record of an event."""
    (found,) = (each for each in records(outbox) if each["eventName"] == name)
    return {**found["attributes"]}


@pytest.mark.parametrize("objects", [False, True])
async def test_it_is_logged_and_never_given_to_the_model(outbox: Path, tmp_path: Path, *, objects: bool) -> None:
    """A row's key stands at its place among the features, is in the record, and changes nothing of the answer."""
    folder = price(tmp_path / "m")
    rows: list[Any] = [[row[0], key, *row[1:]] for row, key in zip(NUMBERS, KEYS, strict=True)]
    if objects:
        rows = [dict(zip(("a", "order", "b", "c"), row, strict=True)) for row in rows]
    async with serve(outbox, folder) as here:
        answer = (await here.post("/predict/batch", json={"data": rows})).json
        metadata = (await here.get("/metadata")).json
        sample = (await here.get("/predict/test")).json
        again = (await here.post("/predict", json={"data": metadata["data_sample"]})).json
    assert [each["prediction"] for each in answer["predictions"]] == [[each] for each in numbers(folder)]
    assert sample["prediction"] == again["prediction"] == [4.5]
    assert metadata["data_sample"] == [[1.5, "A-1", 1.5, 1.5]]
    assert [each["name"] for each in metadata["features"]] == ["a", "order", "b", "c"]
    assert [each.get("role") for each in metadata["features"]] == [None, "key", None, None]
    for logged, row, key in zip(predictions(outbox)[:2], NUMBERS, KEYS, strict=True):
        assert logged["prediction.key"] == key
        assert [logged[f"prediction.input.{name}"] for name in "abc"] == row
        assert "prediction.input.order" not in logged
    assert {each["prediction.key"] for each in predictions(outbox)[2:]} == {"A-1"}
    assert json.loads(event(outbox, "prediction.model")["prediction.model.signature"])["key"]["name"] == "order"


async def test_beside_a_bare_file(outbox: Path, tmp_path: Path) -> None:
    """A key may be all that `model.toml` adds to a file: it comes first, and may be a number."""
    folder = price(tmp_path / "m", HEAD + KEY.replace('"A-1"', "1"))
    async with serve(outbox, folder) as here:
        answer = (await here.post("/predict", json={"data": [[12345678901234567, *NUMBERS[0]]]})).json
        text = problem(await here.post("/predict", json={"data": [["1", *NUMBERS[0]]]}), 422, "invalid-data")
    assert answer["prediction"] == numbers(folder)[:1]
    assert predictions(outbox)[0]["prediction.key"] == "12345678901234567"
    assert "int" in text


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ([1.0, "", 1.0, 1.0], "length >= 1"),
        ([1.0, "x" * 257, 1.0, 1.0], "length <= 256"),
        ([1.0, 7, 1.0, 1.0], "str"),
        ([1.0, None, 1.0, 1.0], "null"),
        ([1.0, "k", 1.0], "length 4"),
        ([1.0, "k", 1.0, 1e39], "data[0][3] is 1e+39"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, "order"),
    ],
)
async def test_rows_without_a_usable_key(outbox: Path, tmp_path: Path, row: Any, detail: str) -> None:  # noqa: ANN401
    """A key that is absent, empty, of another type or too long to be joined by is refused with its place."""
    async with serve(outbox, price(tmp_path / "m")) as here:
        assert detail in problem(await here.post("/predict", json={"data": [row]}), 422, "invalid-data")


async def test_a_row_that_fails_has_its_key(outbox: Path, tmp_path: Path) -> None:
    """The record of a prediction that failed says whose it was."""
    async with serve(outbox, price(tmp_path / "m")) as here:
        await here.post("/predict", json={"data": [[3e38, "A-9", 1.0, 3e38]]})
    (logged,) = predictions(outbox)
    assert (logged["error.type"], logged["prediction.key"]) == ("model-failed", "A-9")


async def test_hashed(outbox: Path, tmp_path: Path) -> None:
    """With `log = "hash"` records of predictions and feedback have one and the same hash, and the key nowhere."""
    secret = tmp_path / "key"
    secret.write_bytes(b"k" * 32)
    folder = price(tmp_path / "m", HEAD + KEY + 'log = "hash"\n')
    settings = {"PREDICTOR_HASH_KEY_FILE": str(secret), "PREDICTOR_FEEDBACK": "true"}
    async with serve(outbox, folder, **settings) as here:
        await here.post("/predict", json={"data": [["A-1017", *NUMBERS[0]]]})
        await here.post("/feedback", json={"key": "A-1017", "value": 2.0})
    (logged,) = predictions(outbox)
    said = event(outbox, "prediction.feedback")
    assert logged["prediction.hashed_key"] == said["prediction.hashed_key"]
    assert len(logged["prediction.hashed_key"]) == 32
    assert "A-1017" not in json.dumps(records(outbox))
    (scope,) = {each["scope"]["attributes"]["prediction.redaction"] for each in records(outbox)[1:3]}
    assert scope == '{"order":"hash"}'


async def test_feedback_by_key(outbox: Path, tmp_path: Path) -> None:
    """`POST /feedback` speaks of predictions by their key, with the same promise and refusals as by job id."""
    async with serve(outbox, price(tmp_path / "m"), PREDICTOR_FEEDBACK="true") as here:
        answer = await here.post("/feedback", json={"key": "A-1017", "value": 2.5, "comment": "late"})
        number = await here.post("/feedback", json={"key": 17, "value": 1})
        nothing = problem(await here.post("/feedback", json={"key": "A-1017"}), 422, "invalid-data")
        nobody = problem(await here.post("/feedback", json={"value": 1.0}), 422, "invalid-data")
        empty = problem(await here.post("/feedback", json={"key": "", "value": 1.0}), 422, "invalid-data")
        get = await here.get("/feedback")
    assert (answer.status, answer.json, number.json) == (200, {"key": "A-1017"}, {"key": "17"})
    assert "says nothing" in nothing
    assert '"key": "…"' in nobody
    assert "$.key" in empty
    assert (get.status, get.headers["Allow"]) == (405, "POST")
    first, second = (each for each in records(outbox) if each["eventName"] == "prediction.feedback")
    assert first["attributes"] == {
        "prediction.stream.sequence": first["attributes"]["prediction.stream.sequence"],
        "prediction.key": "A-1017",
        "prediction.feedback.value": 2.5,
        "prediction.feedback.comment": "late",
        "http.route": "/feedback",
        "event.name": "prediction.feedback",
    }
    assert second["attributes"]["prediction.key"] == "17"


async def test_feedback_by_key_wants_the_token_of_feedback(outbox: Path, tmp_path: Path) -> None:
    """Feedback by key is let in by the same token as feedback by job id, and by no other."""
    settings = {"PREDICTOR_FEEDBACK": "true", "PREDICTOR_FEEDBACK_TOKEN": "a-token-of-feedback"}
    async with serve(outbox, price(tmp_path / "m"), **settings) as here:
        said = {"key": "A-1017", "value": 2.5}
        problem(await here.post("/feedback", json=said), 401, "unauthorized")
        answer = await here.post("/feedback", json=said, headers={"Authorization": "Bearer a-token-of-feedback"})
    assert answer.status == 200
    assert event(outbox, "prediction.feedback")["prediction.key"] == "A-1017"


async def test_a_model_without_a_key(outbox: Path) -> None:
    """Without a key column there is nothing to join by, which the refusal says, as it does of a model that is not."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true") as here:
        for model in ({}, {"model": "iris"}):
            refused = await here.post("/feedback", json={"key": "A-1", "label": "setosa"} | model)
            assert 'wanted role = "key"' in problem(refused, 422, "invalid-data")
        refused = await here.post("/feedback", json={"key": "A-1", "label": "setosa", "model": "none"})
        assert "there is no model 'none'" in problem(refused, 404, "not-found")


async def test_readers_join_by_it(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`score`, `show --key` and `export` join what was said of a key with every prediction that has it."""
    async with serve(outbox, price(tmp_path / "m"), PREDICTOR_FEEDBACK="true") as here:
        rows = [[row[0], key, *row[1:]] for row, key in zip(NUMBERS, KEYS, strict=True)]
        jobs = [(await here.post("/predict", json={"data": [row]})).json["job_id"] for row in (*rows, rows[0])]
        await here.post("/feedback", json={"key": KEYS[0], "value": 5.0})
        await here.post("/feedback", json={"key": KEYS[0], "value": 2.0})
        await here.post(f"/feedback/{jobs[1]}", json={"value": 9.0})
        await here.post("/feedback", json={"key": "of nobody", "value": 9.0})
    source = ("--from", str(outbox))
    assert cli.main(["score", *source, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (model,) = found["models"]
    assert (model["predictions"], model["with_feedback"], found["feedback_without_prediction"]) == (3, 3, 1)
    given = numbers(tmp_path / "m")
    assert model["numbers"]["absolute_error"] == pytest.approx((2 * abs(given[0] - 2) + abs(given[1] - 9)) / 3)
    assert cli.main(["show", "--key", KEYS[0], *source, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["attributes"]["prediction.job_id"] for each in shown["rows"]] == [jobs[0], jobs[2]]
    assert [each["attributes"]["prediction.feedback.value"] for each in shown["feedback"]] == [5.0, 2.0]
    assert cli.main(["show", "--key", KEYS[1], *source, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["attributes"]["prediction.feedback.value"] for each in shown["feedback"]] == [9.0]
    assert cli.main(["show", *source]) == 2
    assert "one of JOB_ID and --key" in capsys.readouterr().err
    assert cli.main(["verify", *source]) == 0
    assert cli.main(["replay", "--model", str(tmp_path / "m"), *source, "--json"]) == 0
    capsys.readouterr()
    path = tmp_path / "log.jsonl"
    assert cli.main(["export", str(path), *source]) == 0
    exported = [json.loads(each) for each in path.read_text().splitlines()]
    assert [each["key"] for each in exported] == [*KEYS, KEYS[0]]
    assert [each["feedback_value"] for each in exported] == [2.0, 9.0, 2.0]


async def test_many_rows_have_a_record_each(outbox: Path, tmp_path: Path) -> None:
    """Rows with a key have a record each, whatever `[log] rows` says: records are looked for by it."""
    toml = HEAD + '[log]\nrows = "per_request"\n' + features("a") + KEY + features("b", "c")
    async with serve(outbox, price(tmp_path / "m", toml)) as here:
        rows = [[row[0], key, *row[1:]] for row, key in zip(NUMBERS, KEYS, strict=True)]
        await here.post("/predict/batch", json={"data": rows})
    assert [each["prediction.key"] for each in predictions(outbox)] == KEYS


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (KEY.replace('"key"', '"label"'), "features[0].role is 'label'; wanted key"),
        (KEY.replace('"A-1"', "1.5"), "features[0].sample is 1.5; wanted a text that shows something, or a whole"),
        (KEY + 'log = "drop"', "features[0].log is 'drop'; wanted keep or hash"),
        (KEY + "missing = true", "features[0].missing is True; wanted no such key"),
        (KEY + KEY.replace("order", "customer"), "features[1].role is 'key'; wanted one key at most"),
        (KEY + features("order"), "features[1].name is 'order'; wanted a name that no feature before it has"),
    ],
)
def test_a_key_that_cannot_be(tmp_path: Path, toml: str, sentence: str) -> None:
    """What is no key in `model.toml` is refused with its place and what was wanted."""
    with pytest.raises(DescriptionError, match=sentence.replace("[", r"\[")):
        load(price(tmp_path / "m", HEAD + toml))


def test_a_key_that_the_model_takes(tmp_path: Path) -> None:
    """A key named as a feature that the file itself takes is refused: which one an object means would be unclear."""
    with pytest.raises(ModelError, match="it takes a feature 'x_0' itself"):
        load(price(tmp_path / "m", HEAD + KEY.replace("order", "x_0")))
