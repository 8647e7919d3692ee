"""What model.toml may say, and the sentence for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.core.features import Feature, aliases
from predictor.inference.manifest import Classifier, Detector, Manifest, read
from predictor.inference.runtime_options import Runtime
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
        task="classification",
        features=(Feature("weight", "kg", 4, alias="weight"), Feature("ears_2", "1", 2.0, alias="ears_2")),
        labels=("cat", "no cat"),
        classifier=Classifier("c.onnx", "p"),
        outlier=Detector("o.onnx", "s", -1.0),
    )


def test_everything_but_name_and_version_may_be_left_out(tmp_path: Path) -> None:
    """What the file tells itself need not be said: outputs, labels, features, and its name if there is no other."""
    (tmp_path / "only.onnx").touch()
    found = read(write(tmp_path, 'name = "a"\nversion = "1"\n'))
    assert found == Manifest("a", "1", (), (), Classifier("only.onnx"), None)


def test_the_keys_beside_the_task(tmp_path: Path) -> None:
    """Task, outputs, activation, session and batching are read as they are said."""
    text = """
name = "a"
version = "1"
file = "a.onnx"
task = "regression"
activation = "sigmoid"
multilabel = true
probabilities = "p"
label = false
values = ["low", "high"]
[session]
threads = 2
execution = "parallel"
optimization = "basic"
arena = false
providers = ["CPUExecutionProvider"]
[batching]
rows = 8
"""
    found = read(write(tmp_path, text))
    assert found.classifier == Classifier("a.onnx", "p", label=False)
    assert (found.task, found.activation, found.multilabel) == ("regression", "sigmoid", True)
    assert (found.values, found.batch_rows) == (("low", "high"), 8)
    assert found.runtime == Runtime(2, parallel=True, optimization="basic", arena=False)


@pytest.mark.parametrize(
    ("file", "name"), [("churn.onnx", "churn"), ("Churn Model v2.onnx", "churn-model-v2"), ("2024.onnx", "model-2024")]
)
def test_a_bare_file_is_a_description(tmp_path: Path, file: str, name: str) -> None:
    """An ONNX file without model.toml has a name made of the file's, and all else is found in it."""
    assert read(tmp_path / file) == Manifest(name, "", (), (), Classifier(file), None)


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
        ("sample = 4", "sample = [4]", "features[0].sample is [4]; wanted a number, a text, true or false."),
        ('"ears_2"', '" "', "features[1].name is ' '; wanted a text that shows something."),
        ('"kg"', '"kg"\nmissing = 1', "features[0].missing is 1; wanted true or false."),
        (
            "\n[outlier]",
            "\n[session]\nthreads = 0\n[outlier]",
            "session.threads is 0; wanted a whole number from 1 to 256.",
        ),
        ("\n[outlier]", "\n[session]\nthread = 1\n[outlier]", "session.thread is 1; wanted no such key."),
        (
            "\n[outlier]",
            "\n[batching]\nrows = 1.5\n[outlier]",
            "batching.rows is 1.5; wanted a whole number from 1 to 4096.",
        ),
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


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a", "b_2"], ["a", "b_2"]),
        (["json", "a"], ["json_02bd17", "a"]),
        (["ears__2", "ears_2"], ["ears__2", "ears_2_3768a6"]),
        (["Net Income (€)", "2x", "名"], ["net_income_4d9b29", "_2x_b595b2", "_51a5d6"]),
    ],
)
def test_any_text_is_a_name_and_records_have_an_alias(names: list[str], found: list[str]) -> None:
    """A name that records or Loki cannot keep has an alias with digits of its hash; no two have the same."""
    assert list(aliases(names)) == found


HEAD = GOOD[: GOOD.index("[classifier]")]
CLASSIFIER = GOOD[GOOD.index("[classifier]") : GOOD.index("[outlier]")]
FEATURES = GOOD[GOOD.index("[[features]]") :]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD + FEATURES, "file is missing; wanted the name of an .onnx file in the same folder."),
        ('classifier = "c.onnx"\n' + HEAD + FEATURES, "classifier is 'c.onnx'; wanted a table."),
        ('outlier = "o.onnx"\n' + HEAD + CLASSIFIER + FEATURES, "outlier is 'o.onnx'; wanted a table."),
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
