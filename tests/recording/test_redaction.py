"""What stays out of the log: features that model.toml has dropped or hashed."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from predictor.inference.manifest import read
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
    assert redaction_of(about, None) == Redaction(frozenset({3}), frozenset(), b"")
    assert redacted(about) == '{"petal_width":"drop"}'


def test_values_hash_as_the_numbers_that_they_are() -> None:
    """Equal numbers have equal hashes, however they are written, and different ones different."""
    redaction = Redaction(frozenset(), frozenset({0}), _KEY)
    assert redaction.hash(3) == redaction.hash(3.0)
    assert redaction.hash(0.0) == redaction.hash(-0.0)
    assert redaction.hash(0.1) != redaction.hash(0.1 + 2**-56)
    assert redaction.of([1.0, 2.0]) == [redaction.hash(1.0), 2.0]


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
