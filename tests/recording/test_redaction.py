"""What stays out of the log: features that model.toml has dropped or hashed."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from predictor.inference.manifest import read
from predictor.inference.toml_table import DescriptionError
from predictor.recording.redaction import Redaction, RedactionError, redacted, redaction_of
from tests.support.server import IRIS, ROW, predictions, run, serve

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"0123456789abcdef"
_KEY = b"k" * 32


def secretive(folder: Path, **logs: str) -> Path:
    """Return a copy of iris in which features are logged as `logs` says."""
    shutil.copytree(IRIS, folder)
    description = folder / "model.toml"
    text = description.read_text()
    for feature, log in logs.items():
        text, changed = re.subn(rf'(name = "{feature}"\n)', rf'\1log = "{log}"\n', text)
        assert changed == 1
    description.write_text(text)
    return folder


def everything(outbox: Path) -> bytes:
    """Return what all files of an outbox hold."""
    return b"".join(path.read_bytes() for path in outbox.rglob("*") if path.is_file())


def write(path: Path, content: bytes) -> None:
    """Replace a file's content."""
    path.write_bytes(content)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a secret."""
    path = tmp_path / "key"
    path.write_bytes(SECRET + b"\n")
    return path


async def test_what_is_redacted_is_nowhere_in_the_outbox(outbox: Path, tmp_path: Path, key: Path) -> None:
    """Dropped and hashed values are in no file of the outbox, neither of answers nor of failures; the others are."""
    model = secretive(tmp_path / "model", sepal_length="drop", petal_width="hash", sepal_width="keep")
    row = [6.712345, 3.012345, 5.212345, 2.312345]
    async with serve(outbox, model, PREDICTOR_HASH_KEY_FILE=str(key)) as here:
        first = await here.post("/predict", json={"data": [row]})
        second = await here.post("/predict", json={"data": [row]})
        plain = first.json["prediction"]
    logged = predictions(outbox)
    hashes = {each.pop("prediction.hashed_input.petal_width") for each in logged}
    assert len(hashes) == 1, "equal values stay equal"
    assert re.fullmatch("[0-9a-f]{32}", hashes.pop())
    assert second.json["prediction"] == plain
    for each in logged:
        inputs = {name: value for name, value in each.items() if "input" in name}
        assert inputs == {"prediction.input.sepal_width": 3.012345, "prediction.input.petal_length": 5.212345}
        assert json.loads(each["prediction.output"]) == plain
    files = everything(outbox)
    assert b"3.012345" in files
    assert b"6.712345" not in files
    assert b"2.312345" not in files
    assert rb"{\"sepal_length\":\"drop\",\"petal_width\":\"hash\"}" in files, "the scope says what was done"


async def test_another_key_is_another_hash(outbox: Path, tmp_path: Path, key: Path) -> None:
    """Whoever has not the key cannot find a value by hashing all that it may be."""
    model = secretive(tmp_path / "model", sepal_length="hash")
    for secret in (SECRET, SECRET[::-1]):
        write(key, secret)
        async with serve(outbox, model, PREDICTOR_HASH_KEY_FILE=str(key)) as here:
            await here.post("/predict", json={"data": [ROW]})
    one, other = (each["prediction.hashed_input.sepal_length"] for each in predictions(outbox))
    assert one != other


def test_a_model_without_secrets_needs_no_key(tmp_path: Path) -> None:
    """Where everything is kept, or only dropped, no key is asked for."""
    assert redaction_of(read(IRIS), None) is None
    about = read(secretive(tmp_path / "model", petal_width="drop"))
    assert redaction_of(about, None) == Redaction(frozenset({3}), {}, b"")
    assert redacted(about) == '{"petal_width":"drop"}'


def test_values_hash_as_the_numbers_that_they_are() -> None:
    """Equal numbers have equal hashes, however they are written, and different ones different."""
    redaction = Redaction(frozenset(), {0: "age"}, _KEY)
    assert redaction.hash("age", 3) == redaction.hash("age", 3.0)
    assert redaction.hash("age", 0.0) == redaction.hash("age", -0.0)
    assert redaction.hash("age", 0.1) != redaction.hash("age", 0.1 + 2**-56)
    assert redaction.of([1.0, 2.0]) == [redaction.hash("age", 1.0), 2.0]


def test_equal_values_of_two_features_hash_differently() -> None:
    """A hash is of a feature's value, not of the number alone; labels and outputs are apart as well."""
    redaction = Redaction(frozenset(), {0: "age", 1: "children"}, _KEY)
    age, children = redaction.of([3.0, 3.0])
    assert age != children
    assert redaction.hash_label("3") != redaction.hash_output(b"3")


def test_the_key_has_an_id() -> None:
    """Records tell by which key they were hashed, and not the key."""
    redaction = Redaction(frozenset(), {0: "age"}, _KEY)
    assert re.fullmatch("[0-9a-f]{16}", redaction.key_id)
    assert redaction.key_id == redaction._replace(hashed={}).key_id != redaction._replace(key=b"j" * 32).key_id
    assert redaction._replace(key=b"").key_id == ""


def logging(folder: Path, text: str) -> Path:
    """Return a copy of iris whose outputs are logged as `text` says."""
    shutil.copytree(IRIS, folder)
    description = folder / "model.toml"
    description.write_text(description.read_text().replace("[[features]]", f"[log]\n{text}\n\n[[features]]", 1))
    return folder


async def _logged(outbox: Path, model: Path, **settings: str) -> tuple[dict[str, Any], bytes]:
    """Return a logged prediction, and all bytes of the outbox."""
    async with serve(outbox, model, **settings) as here:
        answer = await here.post("/predict/label", json={"data": [ROW]})
    assert b"virginica" in answer.body, "the caller gets the answer as it is"
    (said,) = predictions(outbox)
    return said, everything(outbox)


async def test_outputs_that_are_dropped(outbox: Path, tmp_path: Path) -> None:
    """No answer is in the outbox, in attributes or body, but for the detector's verdict; the inputs are."""
    said, files = await _logged(outbox, logging(tmp_path / "model", 'outputs = "drop"'))
    assert {"prediction.output", "prediction.label", "prediction.confidence", "prediction.outlier_score"}.isdisjoint(
        said
    )
    assert said["prediction.outlier"] is False
    assert said["prediction.input.sepal_length"] == ROW[0]
    assert b"virginica" not in files
    assert b'{"key":"prediction.redaction.outputs","value":{"stringValue":"drop"}}' in files
    assert b"prediction.redaction.key_id" not in files


async def test_outputs_that_are_hashed(outbox: Path, tmp_path: Path, key: Path) -> None:
    """Label and probabilities are logged as hashes, and the scope names the key."""
    model = logging(tmp_path / "model", 'outputs = "hash"')
    said, files = await _logged(outbox, model, PREDICTOR_HASH_KEY_FILE=str(key))
    redaction = redaction_of(read(model), key)
    assert redaction
    assert said["prediction.hashed_label"] == redaction.hash_label("virginica")
    assert re.fullmatch("[0-9a-f]{32}", said["prediction.hashed_output"])
    assert {"prediction.output", "prediction.label", "prediction.confidence", "prediction.outlier_score"}.isdisjoint(
        said
    )
    assert b"virginica" not in files
    assert f'"prediction.redaction.key_id","value":{{"stringValue":"{redaction.key_id}"}}'.encode() in files
    with pytest.raises(RedactionError, match="since the model has its outputs hashed"):
        redaction_of(read(model), None)


async def test_outputs_that_are_rounded(outbox: Path, tmp_path: Path) -> None:
    """Probabilities, confidence and score have as many digits as are wanted; the label stays."""
    said, files = await _logged(outbox, logging(tmp_path / "model", 'outputs = "round"\ndecimals = 1'))
    numbers = [*json.loads(said["prediction.output"]), said["prediction.confidence"], said["prediction.outlier_score"]]
    assert numbers == [round(number, 1) for number in numbers]
    assert said["prediction.label"] == "virginica"
    assert b'"stringValue":"round:1"' in files


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('outputs = "none"', "log.outputs is 'none'; wanted keep, round, hash or drop"),
        ('outputs = "round"', "log.decimals is missing; wanted a whole number from 0 to 15"),
        ('outputs = "round"\ndecimals = 16', "log.decimals is 16; wanted a whole number from 0 to 15"),
        ('outputs = "round"\ndecimals = true', "log.decimals is True; wanted"),
        ('outputs = "drop"\ndecimals = 1', "log.decimals is 1; wanted no such key"),
        ("", "log.outputs is missing"),
    ],
)
def test_outputs_in_other_words(tmp_path: Path, text: str, sentence: str) -> None:
    """What is not known of outputs is refused with its place."""
    with pytest.raises(DescriptionError, match=re.escape(sentence)):
        read(logging(tmp_path / "model", text))


@pytest.mark.parametrize("verb", ["serve", "check"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "PREDICTOR_HASH_KEY_FILE is not set, wanted a file with a secret of 16 bytes or more"),
        (b"", "and holds 0 bytes, wanted a file with a secret"),
        (b"short\n", "and holds 5 bytes, wanted a file with a secret"),
    ],
)
def test_no_start_without_a_key(tmp_path: Path, verb: str, content: bytes | None, sentence: str) -> None:
    """A model with hashed features is not served without a key of 16 bytes; one sentence says what is wanted."""
    model = secretive(tmp_path / "model", sepal_length="hash")
    settings = {"PREDICTOR_MODEL": str(model), "PREDICTOR_PORT": "0"}
    if content is not None:
        (tmp_path / "key").write_bytes(content)
        settings["PREDICTOR_HASH_KEY_FILE"] = str(tmp_path / "key")
    done = run(verb, outbox=tmp_path / "outbox", **settings)
    assert done.returncode == (2 if verb == "serve" else 1)
    assert sentence in done.stderr
    assert "sepal_length" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """A key file that is not there is named with the system's reason."""
    about = read(secretive(tmp_path / "model", sepal_length="hash"))
    with pytest.raises(RedactionError, match=r"none', wanted .*: No such file or directory$"):
        redaction_of(about, tmp_path / "none")


def test_a_refused_start_leaves_no_stream(tmp_path: Path) -> None:
    """A start without the key writes nothing: whoever reads the log later must not see a crash."""
    model = secretive(tmp_path / "model", sepal_length="hash")
    assert run("serve", outbox=tmp_path / "outbox", PREDICTOR_MODEL=str(model), PREDICTOR_PORT="0").returncode == 2
    assert not list((tmp_path / "outbox").rglob("*.jsonl"))
