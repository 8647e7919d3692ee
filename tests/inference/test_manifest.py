"""What model.toml may say, and the sentence for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.inference.manifest import Classifier, Detector, Feature, Manifest, read
from predictor.inference.toml_table import DescriptionError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
name = "cats-2"
version = "7"
kind = "classifier"
labels = ["cat", "no cat"]

[classifier]
file = "c.onnx"
probabilities = "p"

[outlier]
file = "o.onnx"
score = "s"
threshold = -1

[[features]]
name = "weight"
unit = "kg"
sample = 4

[[features]]
name = "ears_2"
unit = "1"
sample = 2.0
"""
NAME = "a name of the form [a-z][a-z0-9_-]*"
FEATURE_NAME = "a name of the form [a-z][a-z0-9_]*"
LABELS = "two or more different, non-empty strings"
FILE = "the name of an .onnx file in the same folder"
NUMBER = "a number that is finite as float32"


def write(folder: Path, text: str) -> Path:
    """Write `text` as the description in `folder`."""
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return folder


def test_reads_everything(tmp_path: Path) -> None:
    """What the file says is what comes back, in the file's order."""
    assert read(write(tmp_path, GOOD)) == Manifest(
        name="cats-2",
        version="7",
        kind="classifier",
        features=(Feature("weight", "kg", 4.0), Feature("ears_2", "1", 2.0)),
        labels=("cat", "no cat"),
        classifier=Classifier("c.onnx", "p"),
        outlier=Detector("o.onnx", "s", -1.0),
    )


def test_the_detector_may_be_left_out(tmp_path: Path) -> None:
    """A model without an outlier detector has a description without one."""
    start, end = GOOD.index("[outlier]"), GOOD.index("[[features]]")
    assert read(write(tmp_path, GOOD[:start] + GOOD[end:])).outlier is None


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ('name = "cats-2"', 'name = "Cats"', f"name is 'Cats'; wanted {NAME}."),
        ('name = "cats-2"', 'name = "cats\\n"', f"name is 'cats\\n'; wanted {NAME}."),
        ('name = "cats-2"', "name = 2", f"name is 2; wanted {NAME}."),
        ('name = "cats-2"', "", f"name is missing; wanted {NAME}."),
        ('version = "7"', "version = 7", "version is 7; wanted a non-empty string."),
        ('version = "7"', 'version = " "', "version is ' '; wanted a non-empty string."),
        ('"classifier"', '"regressor"', "kind is 'regressor'; wanted one of classifier."),
        ('["cat", "no cat"]', "[]", f"labels is []; wanted {LABELS}."),
        ('["cat", "no cat"]', '["cat"]', f"labels is ['cat']; wanted {LABELS}."),
        ('["cat", "no cat"]', '["cat", "cat"]', f"labels is ['cat', 'cat']; wanted {LABELS}."),
        ('["cat", "no cat"]', '["cat", ""]', f"labels is ['cat', '']; wanted {LABELS}."),
        ('["cat", "no cat"]', '["cat", 1]', f"labels is ['cat', 1]; wanted {LABELS}."),
        ('["cat", "no cat"]', '"cat"', f"labels is 'cat'; wanted {LABELS}."),
        ('version = "7"', 'version = "7"\nauthor = "me"', "author is 'me'; wanted no such key."),
        ('"p"', '"p"\nmaps = true', "classifier.maps is True; wanted no such key."),
        ('"s"', '"s"\nsign = 1', "outlier.sign is 1; wanted no such key."),
        (
            '"weight"',
            '"json"',
            "features[0].name is 'json'; wanted a name other than json, sha256, truncated, which the record uses.",
        ),
        ('"kg"', '"kg"\nlog = "hide"', "features[0].log is 'hide'; wanted keep, drop or hash."),
        ('"kg"', '"kg"\nlogs = "drop"', "features[0].logs is 'drop'; wanted no such key."),
        ('"c.onnx"', '"../c.onnx"', f"classifier.file is '../c.onnx'; wanted {FILE}."),
        ('"c.onnx"', '"c.pkl"', f"classifier.file is 'c.pkl'; wanted {FILE}."),
        ('"o.onnx"', '"/o.onnx"', f"outlier.file is '/o.onnx'; wanted {FILE}."),
        ('"p"', "1", "classifier.probabilities is 1; wanted the name of an output of the file."),
        ('score = "s"', "", "outlier.score is missing; wanted the name of an output of the file."),
        ("threshold = -1", "threshold = nan", f"outlier.threshold is nan; wanted {NUMBER}."),
        ("threshold = -1", "threshold = true", f"outlier.threshold is True; wanted {NUMBER}."),
        ("sample = 4", "sample = 1e39", f"features[0].sample is 1e+39; wanted {NUMBER}."),
        ("sample = 4", "sample = -inf", f"features[0].sample is -inf; wanted {NUMBER}."),
        ("sample = 4", 'sample = "4"', f"features[0].sample is '4'; wanted {NUMBER}."),
        ('"ears_2"', '"ears-2"', f"features[1].name is 'ears-2'; wanted {FEATURE_NAME}."),
        ('"ears_2"', '"weight"', "features[1].name is 'weight'; wanted a name that no feature before it has."),
        ('unit = "1"', "", 'features[1].unit is missing; wanted a non-empty string, "1" for no unit.'),
    ],
)
def test_refuses_with_a_sentence(tmp_path: Path, good: str, bad: str, sentence: str) -> None:
    """A description that is not right is refused with file, key, what was found and what was wanted."""
    assert GOOD.count(good) == 1
    with pytest.raises(DescriptionError) as refusal:
        read(write(tmp_path, GOOD.replace(good, bad)))
    assert str(refusal.value) == f"{tmp_path / 'model.toml'}: {sentence}"


def test_names_that_loki_may_keep_as_one(tmp_path: Path) -> None:
    """Two features whose names differ in repeated underscores only are refused: one would hide the other in Loki."""
    with pytest.raises(DescriptionError, match=r"features\[1\]\.name is 'ears_2'; .* more than repeated underscores"):
        read(write(tmp_path, GOOD.replace('"weight"', '"ears__2"')))


HEAD = GOOD[: GOOD.index("[classifier]")]
CLASSIFIER = GOOD[GOOD.index("[classifier]") : GOOD.index("[outlier]")]
FEATURES = GOOD[GOOD.index("[[features]]") :]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD + FEATURES, "classifier is missing; wanted a table."),
        ('classifier = "c.onnx"\n' + HEAD + FEATURES, "classifier is 'c.onnx'; wanted a table."),
        ('outlier = "o.onnx"\n' + HEAD + CLASSIFIER + FEATURES, "outlier is 'o.onnx'; wanted a table."),
        (HEAD + CLASSIFIER, "features is missing; wanted one table or more."),
        ("features = []\n" + HEAD + CLASSIFIER, "features is []; wanted one table or more."),
        ('features = ["a"]\n' + HEAD + CLASSIFIER, "features is ['a']; wanted one table or more."),
    ],
)
def test_refuses_what_is_no_table(tmp_path: Path, text: str, sentence: str) -> None:
    """A table that is missing or something else is refused with the same sentence."""
    with pytest.raises(DescriptionError) as refusal:
        read(write(tmp_path, text))
    assert str(refusal.value) == f"{tmp_path / 'model.toml'}: {sentence}"


def test_refuses_a_folder_without_description(tmp_path: Path) -> None:
    """A missing file is named with the system's reason."""
    with pytest.raises(DescriptionError) as refusal:
        read(tmp_path / "none")
    assert str(refusal.value) == f"{tmp_path / 'none' / 'model.toml'} cannot be read: No such file or directory."


@pytest.mark.parametrize("content", [b"name = ", b'name = "\xff"'])
def test_refuses_what_is_no_toml(tmp_path: Path, content: bytes) -> None:
    """A file that is no TOML, or no UTF-8, is refused with the reader's reason."""
    (tmp_path / "model.toml").write_bytes(content)
    with pytest.raises(DescriptionError, match=r"model\.toml cannot be read: .*\.$"):
        read(tmp_path)
