"""Model folders that cannot be right: each is refused with one sentence that names the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from graphs import FIRST, SOFTMAX, WHERE, Node, detector, graph, identity, tensor, write
from onnx import TensorProto, helper

import models
from predictor.inference.model import ModelError, load
from predictor.inference.table import DescriptionError

if TYPE_CHECKING:
    from pathlib import Path


def refusal(folder: Path) -> str:
    """Return the sentence that refuses a folder, which it starts with left out."""
    with pytest.raises(ModelError) as error:
        load(folder)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence.removeprefix(f"{folder}/")


def two_inputs() -> onnx.ModelProto:
    """Return a classifier that wants two inputs."""
    model = graph([("Add", ["rows", "more"], ["p"], {})], {}, {"p": tensor(["N", 2])}, ["N", 2])
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 2]))
    return model


def doubles() -> onnx.ModelProto:
    """Return a classifier of float64."""
    output = {"p": tensor(["N", 2], TensorProto.DOUBLE)}
    return graph([SOFTMAX], {}, output, ["N", 2], element=TensorProto.DOUBLE)


def after_softmax(nodes: list[Node], constants: dict[str, Any], output: onnx.TypeProto) -> onnx.ModelProto:
    """Return a classifier that makes its output `p` of the probabilities `q`."""
    return graph([("Softmax", ["rows"], ["q"], {"axis": 1}), *nodes], constants, {"p": output}, ["N", 2])


def keyed(keys: list[int]) -> onnx.ModelProto:
    """Return a classifier that gives maps with other keys."""
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, tensor([])))
    more = {"domain": "ai.onnx.ml", "classlabels_int64s": keys}
    return after_softmax([("ZipMap", ["q"], ["p"], more)], {}, maps)


NAN: list[Node] = [("Mul", ["q", "nan"], ["p"], {})]
ONE: list[Node] = [("ReduceMax", ["q"], ["p"], {"keepdims": 1})]
LABEL: list[Node] = [("ArgMax", ["q"], ["p"], {"axis": 1, "keepdims": 1})]
TENSOR_OR_MAPS = "wanted a tensor(float) of shape (N, 2) or a sequence of maps from labels to float."
PROBABILITIES = "wanted probabilities, not negative and with a sum of 1."


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (two_inputs(), "it has 2 inputs ('rows', 'more'); wanted one."),
        (
            doubles(),
            "its input 'rows' is a tensor(double) of shape ('N', 2); wanted a tensor(float) of shape (N, 2).",
        ),
        (
            identity(shape=("N", 2, 1)),
            "its input 'rows' is a tensor(float) of shape ('N', 2, 1); wanted a tensor(float) of shape (N, 2).",
        ),
        (identity(shape=("N", 3)), "its input 'rows' is 3 wide, but the description has 2 features."),
        (identity(shape=(8, 2)), "its input 'rows' takes 8 rows at a time; wanted any number or 1."),
        (
            after_softmax([("Concat", ["q", "q"], ["p"], {"axis": 1})], {}, tensor(["N", 4])),
            "its probabilities for 3 rows have the shape (3, 4); wanted (3, 2), as the description has it.",
        ),
        (
            after_softmax(ONE, {}, tensor([1, 1])),
            "its probabilities for 3 rows have the shape (1, 1); wanted (3, 2), as the description has it.",
        ),
        (
            after_softmax(LABEL, {}, tensor(["N", 1], TensorProto.INT64)),
            f"its output of probabilities is a tensor(int64); {TENSOR_OR_MAPS}",
        ),
        (
            after_softmax([("Mul", ["q", "two"], ["p"], {})], {"two": np.array([2.0])}, tensor(["N", 2])),
            f"it gives the sample [0.5378828644752502, 1.4621171951293945]; {PROBABILITIES}",
        ),
        (
            graph(
                [("Sub", ["rows", "one"], ["p"], {})], {"one": np.array([1.0, 0.0])}, {"p": tensor(["N", 2])}, ["N", 2]
            ),
            f"it gives the sample [-0.5, 1.5]; {PROBABILITIES}",
        ),
        (
            after_softmax(NAN, {"nan": np.array([np.nan])}, tensor(["N", 2])),
            f"it gives the sample [nan, nan]; {PROBABILITIES}",
        ),
        (keyed([1, 2]), "its probabilities have the keys [1, 2], but the description calls for [0, 1]."),
    ],
)
def test_refuses_a_classifier(tmp_path: Path, model: onnx.ModelProto, sentence: str) -> None:
    """A classifier that is not what the description says is refused, and the sentence names the difference."""
    assert refusal(write(tmp_path, model)) == f"classifier.onnx: {sentence}"


SUM: list[Node] = [("ReduceSum", ["rows"], ["s"], {"keepdims": 0})]
BOTH: list[Node] = [("Identity", ["rows"], ["s"], {})]
COUNT: list[Node] = [("ArgMax", ["rows"], ["s"], {"axis": 1, "keepdims": 1})]
ROOT: list[Node] = [("Slice", ["rows", "from", "to", "columns"], ["c"], {}), ("Neg", ["c"], ["n"], {})]
ROOT += [("Sqrt", ["n"], ["s"], {})]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            detector(BOTH, width=2),
            "its scores for 3 rows have the shape (6,); wanted (3,), as the description has it.",
        ),
        (
            graph(SUM, {}, {"s": tensor([])}, ["N", 2]),
            "its scores for 3 rows have the shape (1,); wanted (3,), as the description has it.",
        ),
        (
            detector(COUNT, element=TensorProto.INT64),
            "its output of scores is a tensor(int64); wanted a tensor(float).",
        ),
        (detector(ROOT), "it gives the sample the score nan; wanted a finite number."),
        (identity(), "it has no output 's', only 'p'."),
        (
            graph(FIRST, WHERE, {"s": tensor(["N", 1])}, ["N", 5]),
            "its input 'rows' is 5 wide, but the description has 2 features.",
        ),
    ],
)
def test_refuses_a_detector(tmp_path: Path, model: onnx.ModelProto, sentence: str) -> None:
    """A detector that is not what the description says is refused, and the sentence names the difference."""
    assert refusal(write(tmp_path, identity(), detector=model)) == f"outlier.onnx: {sentence}"


def test_refuses_an_output_that_is_not_there(tmp_path: Path) -> None:
    """A misspelt output is named beside those that exist."""
    folder = write(tmp_path, identity(), probabilities="probs")
    assert refusal(folder) == "classifier.onnx: it has no output 'probs', only 'p'."


def test_refuses_a_width_that_only_the_run_shows(tmp_path: Path) -> None:
    """Where the file leaves its width open, the sample finds out, and the runtime's reason is on one line."""
    multiply: list[Node] = [("MatMul", ["rows", "three"], ["q"], {}), ("Softmax", ["q"], ["p"], {})]
    model = graph(multiply, {"three": np.ones((3, 2))}, {"p": tensor(["N", 2])}, ["N", "M"])
    assert refusal(write(tmp_path, model)).startswith("classifier.onnx: it fails on 3 rows of the sample: ")


def test_refuses_more_labels_than_classes(tmp_path: Path) -> None:
    """A label too many is found with a tensor and with maps."""
    assert refusal(write(tmp_path / "tensor", identity(), labels=["a", "b", "c"])) == (
        "classifier.onnx: its probabilities for 3 rows have the shape (3, 2); wanted (3, 3), as the description has it."
    )
    assert refusal(write(tmp_path / "maps", keyed([0, 1]), labels=["a", "b", "c"])) == (
        "classifier.onnx: its probabilities have the keys [0, 1], but the description calls for [0, 1, 2]."
    )


def test_refuses_weights_outside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that the digest would not cover are refused, also where they could be found."""
    folder = models.wide(tmp_path)
    model = onnx.load(folder / "classifier.onnx")
    onnx.save(model, folder / "classifier.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(folder)
    sentence = "classifier.onnx: its weights are in another file; wanted all of the model in this one."
    assert refusal(folder) == sentence


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_refuses_what_is_no_onnx(tmp_path: Path, content: bytes) -> None:
    """A file that the runtime cannot read is refused with the runtime's reason."""
    folder = write(tmp_path, identity())
    (folder / "classifier.onnx").write_bytes(content)
    assert refusal(folder).startswith("classifier.onnx: it cannot be loaded: ")


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    """A file that the description names and that is not there is refused with the system's reason."""
    folder = write(tmp_path, identity())
    (folder / "classifier.onnx").unlink()
    assert refusal(folder) == "classifier.onnx cannot be read: No such file or directory."


def test_refuses_a_folder_without_description(tmp_path: Path) -> None:
    """The description is read first, and its own error comes through."""
    with pytest.raises(DescriptionError, match=r"model\.toml cannot be read"):
        load(tmp_path)
