"""Model folders that cannot be right: each is refused with one sentence that names the difference."""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from predictor.inference.model import ModelError, load
from predictor.inference.runtime_errors import reason_of
from predictor.inference.toml_table import DescriptionError
from tests.support import bare_models, model_folders
from tests.support.onnx_graphs import FIRST, SOFTMAX, WHERE, Node, detector, graph, identity, tensor, write

if TYPE_CHECKING:
    from collections.abc import Callable
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
ONE_NUMBER = 'wanted a probability for each of 2 labels, or say activation = "sigmoid" if it is the second one\'s.'
TENSOR_OR_MAPS = "wanted a tensor of floats of shape (N, labels) or a sequence of maps from labels to float."
PROBABILITIES = (
    "wanted probabilities, not negative and with a sum of 1; append a Softmax or say "
    'activation = "softmax" if they are logits, multilabel = true if several labels may be right.'
)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (two_inputs(), "its 2 inputs are 4 wide together, but the description has 2 features."),
        (
            identity(shape=("N", 2, 1)),
            "its input 'rows' is a FP32 of shape (-1, 2, 1); wanted rows: a matrix (N, 2), or (N, 1) for each feature.",
        ),
        (identity(shape=("N", 3)), "its input 'rows' is 3 wide, but the description has 2 features."),
        (identity(shape=(8, 2)), "its input 'rows' takes 8 rows at a time; wanted any number or 1."),
        (
            after_softmax([("Concat", ["q", "q"], ["p"], {"axis": 1})], {}, tensor(["N", 4])),
            "its probabilities for 3 rows have the shape (3, 4); wanted (3, 2), as the description has it.",
        ),
        (
            after_softmax(ONE, {}, tensor([1, 1])),
            f"its output 'p' has one number a row; {ONE_NUMBER}",
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
    assert refusal(write(tmp_path, model)).startswith("classifier.onnx: it fails on the sample: ")


def test_refuses_more_labels_than_classes(tmp_path: Path) -> None:
    """A label too many is found with a tensor and with maps."""
    assert refusal(write(tmp_path / "tensor", identity(), labels=["a", "b", "c"])) == (
        "classifier.onnx: its probabilities for 3 rows have the shape (3, 2); wanted (3, 3), as the description has it."
    )
    assert refusal(write(tmp_path / "maps", keyed([0, 1]), labels=["a", "b", "c"])) == (
        "classifier.onnx: its probabilities have the keys [0, 1], but the description calls for [0, 1, 2]."
    )


def test_weights_in_a_second_file_are_part_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights beside the file are loaded from the bytes that the digest covers; without them the model is refused."""
    folder = model_folders.wide(tmp_path)
    row = np.ones((1, 40), np.float32)
    before = load(folder)
    model = onnx.load(folder / "classifier.onnx")
    onnx.save(model, folder / "classifier.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(folder)
    after = load(folder)
    assert after.run(row).probabilities.tolist() == before.run(row).probabilities.tolist()
    weights = folder / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert load(folder).digest != after.digest
    assert load(folder).run(row).probabilities.tolist() == [[0.5, 0.5]]
    weights.unlink()
    missing = "its weights are in another file, 'weights.bin', which is not there; wanted it in the same folder"
    assert refusal(folder) == f"classifier.onnx: {missing}."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is cut off or another model's: 'weights' ends at byte 320, and it has 0; copy or download both again."),
        (
            bytes(312),
            "is cut off or another model's: 'weights' ends at byte 320, and it has 312; copy or download both again.",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:",
            "is a pointer of Git LFS; `git lfs pull` fetches the file.",
        ),
    ],
)
def test_broken_weights_in_a_second_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    """A file of weights that is not whole, or a pointer to them, is named with what is wrong with it."""
    folder = model_folders.wide(tmp_path)
    model = onnx.load(folder / "classifier.onnx")
    onnx.save(model, folder / "classifier.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").write_bytes(content)
    assert refusal(folder) == f"classifier.onnx: its weights are in 'weights.bin', which {sentence}"


def test_a_bare_file_without_its_weights(tmp_path: Path) -> None:
    """A file that was copied without the one beside it names that one."""
    folder = model_folders.wide(tmp_path / "m")
    model = onnx.load(folder / "classifier.onnx")
    onnx.save(model, tmp_path / "bare.onnx", save_as_external_data=True, location="bare.onnx.data", size_threshold=0)
    assert load(tmp_path / "bare.onnx").description.labels == ("0", "1")
    (tmp_path / "bare.onnx.data").unlink()
    with pytest.raises(
        ModelError, match=r"in another file, 'bare.onnx.data', which is not there; wanted it in the same"
    ):
        load(tmp_path / "bare.onnx")


def test_weights_elsewhere_are_not_looked_for(tmp_path: Path) -> None:
    """A file that names weights outside of its folder is refused, also if they are there."""
    folder = model_folders.wide(tmp_path / "model")
    model = onnx.load(folder / "classifier.onnx")
    onnx.save(model, folder / "classifier.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    content = (folder / "classifier.onnx").read_bytes()
    (folder / "classifier.onnx").write_bytes(content.replace(b"weights.bin", b"../ghts.bin"))
    (tmp_path / "weights.bin").rename(tmp_path / "ghts.bin")
    assert refusal(folder).startswith("classifier.onnx: its weights are in another file, '../ghts.bin', which is not")


def test_a_provider_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """An execution provider is asked for by its name; CPU is there, and what is not is named with what is."""
    folder = write(tmp_path, identity())
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(f'{text}[session]\nproviders = ["CPUExecutionProvider"]\n')
    assert load(folder).provider == "CPUExecutionProvider"
    (folder / "model.toml").write_text(f'{text}[session]\nproviders = ["MoonProvider", "CPUExecutionProvider"]\n')
    assert refusal(folder).startswith("classifier.onnx: the execution provider 'MoonProvider' is not there; this ONNX")


WHOLE = identity().SerializeToString()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
AGAIN = "copy or download it again."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty (0 bytes); wanted an ONNX model."),
        (bytes(100), "it is empty (100 bytes); wanted an ONNX model."),
        (b"no model", "it is not an ONNX model: it begins with b'no model'."),
        (b"<!DOCTYPE html>\n<html>", "it is not an ONNX model: it begins with b'<!DOCTYPE html>\\n'."),
        (
            b"\x80\x04\x95" + bytes(60),
            "it is not an ONNX model but a pickle, of scikit-learn or PyTorch perhaps; convert it, as skl2onnx does.",
        ),
        (
            b"PK\x03\x04" + bytes(60),
            (
                "it is not an ONNX model but a ZIP archive, of PyTorch or Keras perhaps; "
                "torch.onnx or tf2onnx converts it."
            ),
        ),
        (
            b"\x89HDF\r\n" + bytes(60),
            "it is not an ONNX model but a file of HDF5, of Keras perhaps; tf2onnx converts it.",
        ),
        (b"\x1f\x8b\x08" + bytes(60), "it is not an ONNX model but compressed by gzip; unpack it."),
        (b" \0\0\0TFL3" + bytes(60), "it is not an ONNX model but a model of TensorFlow Lite; tf2onnx converts it."),
        (
            b"\x1c\0\0\0ORTM" + bytes(60),
            (
                "it is not an ONNX model but a model in ONNX Runtime's own format; "
                "serve the ONNX file that it was made of."
            ),
        ),
        (
            b'@\0\0\0\0\0\0\0{"a":{}}',
            (
                "it is not an ONNX model but a file of safetensors, which has weights and no graph; "
                "export the model to ONNX."
            ),
        ),
        (POINTER, "it is a pointer of Git LFS, not the model itself; `git lfs pull` fetches that."),
        (WHOLE[:-10], f"it is cut off: 10 bytes or more are missing after its {len(WHOLE) - 10}; {AGAIN}"),
        (WHOLE[:50], f"it is cut off: 40 bytes or more are missing after its 50; {AGAIN}"),
        (b"\x08\x0a\xff" + WHOLE, f"it is damaged: what it holds cannot be read as an ONNX model; {AGAIN}"),
    ],
)
def test_refuses_what_is_no_onnx(tmp_path: Path, content: bytes, sentence: str) -> None:
    """A file that is no model, or not the whole of one, is called what it is."""
    folder = write(tmp_path, identity())
    (folder / "classifier.onnx").write_bytes(content)
    assert refusal(folder) == f"classifier.onnx: {sentence}"


def changed(**fields: Any) -> bytes:  # noqa: ANN401 - whatever a node has
    """Return a classifier whose only operator is another one."""
    model = identity()
    for name, value in fields.items():
        setattr(model.graph.node[0], name, value)
    return bytes(model.SerializeToString())


def newer(*, ir: int = 0, opset: int = 0, ml: int = 0) -> bytes:
    """Return a classifier of another IR version or with another opset."""
    model = identity()
    model.ir_version = ir or model.ir_version
    model.opset_import[0].version = opset or model.opset_import[0].version
    model.opset_import[1].version = ml or model.opset_import[1].version
    return bytes(model.SerializeToString())


RUNTIME = f"ONNX Runtime {version('onnxruntime')}"
WITHOUT = "has no implementation; export the model without it."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            newer(ir=99),
            rf"its IR version is 99, and {RUNTIME} knows (\d+) at most; save it with ir_version = \1, or .*",
        ),
        (
            newer(opset=999),
            rf"it needs opset 999 of ai.onnx, and {RUNTIME} knows \d+ at most; export it for an older .*",
        ),
        (
            newer(ml=99),
            rf"it needs opset 99 of ai.onnx.ml, and {RUNTIME} knows \d+ at most; export it for an older .*",
        ),
        (changed(op_type="Frobnicate"), f"it needs the operator Frobnicate, of which {RUNTIME} {WITHOUT}"),
        (changed(op_type="F", domain="com.acme"), f"it needs the operator com.acme.F, of which {RUNTIME} {WITHOUT}"),
    ],
)
def test_refuses_what_this_runtime_does_not_know(tmp_path: Path, content: bytes, sentence: str) -> None:
    """A model for another runtime names what is missing, what there is, and the way out."""
    folder = write(tmp_path, identity())
    (folder / "classifier.onnx").write_bytes(content)
    assert re.fullmatch(f"classifier.onnx: {sentence}", refusal(folder))


def test_refuses_an_operator_of_the_extensions(tmp_path: Path) -> None:
    """An operator of onnxruntime-extensions is named as one."""
    model = identity()
    model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "BertTokenizer", "ai.onnx.contrib"
    folder = write(tmp_path, identity())
    (folder / "classifier.onnx").write_bytes(model.SerializeToString())
    named = "the operator ai.onnx.contrib.BertTokenizer of onnxruntime-extensions"
    assert refusal(folder).startswith(
        f"classifier.onnx: it needs {named}; say extensions = true below [session] in its"
    )


def test_refuses_an_operator_without_implementation(tmp_path: Path) -> None:
    """An operator that the runtime knows, and has not for these types, is named with its version."""
    bfloat = TensorProto.BFLOAT16
    nodes: list[Node] = [
        ("Cast", ["rows"], ["short"], {"to": bfloat}),
        ("Softmax", ["short"], ["q"], {"axis": 1}),
        ("Cast", ["q"], ["p"], {"to": TensorProto.FLOAT}),
    ]
    folder = write(tmp_path, graph(nodes, {}, {"p": tensor(["N", 2])}, ["N", 2]))
    assert re.match(r"classifier.onnx: it needs the operator \w+\(\d+\), of which ", refusal(folder))


SIGNATURE = (
    "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, "
    "const onnxruntime::PathString&, const onnxruntime::ISchemaRegistryList*, const std::function<void(int)>&, bool)"
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"[ONNXRuntimeError] : 1 : FAIL : {SIGNATURE} Unsupported: 99\n\n", "Unsupported: 99"),
        (f"{SIGNATURE} const [with T = float; U = a::b<int>] x was false. Too bad.", "x was false. Too bad"),
        ("a.h:1 auto f::g()::<lambda(int)> const no.", "no"),
        (
            "while running Gather node. Status Message: gather.cc:7 Run indices out of",
            "while running Gather node. Status Message: Run indices out of",
        ),
        (f"first {SIGNATURE} one; then {SIGNATURE} two", "first one; then two"),
        ("x.cc:1 onnxruntime::f(never closed", "onnxruntime::f(never closed"),
        ("x" * 2000, "x" * 1000 + " …"),
        ("", ""),
    ],
)
def test_the_reason_comes_after_the_signature(message: str, reason: str) -> None:
    """The C++ signature in the runtime's messages is left out, since the reason comes after it."""
    assert reason_of(RuntimeError(message)) == reason


def test_a_model_without_declared_shapes_is_served(tmp_path: Path) -> None:
    """A file that declares no shape is tried with the sample."""
    model = identity()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    folder = write(tmp_path, identity())
    onnx.save(model, folder / "classifier.onnx")
    assert load(folder).run(np.ones((3, 2), np.float32)).probabilities.shape == (3, 2)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    """A file that the description names and that is not there is refused with the system's reason."""
    folder = write(tmp_path, identity())
    (folder / "classifier.onnx").unlink()
    assert refusal(folder) == "classifier.onnx cannot be read: No such file or directory."


def test_refuses_a_file_of_another_name(tmp_path: Path) -> None:
    """A file whose name does not end in .onnx is no folder either, and the sentence says what was wanted."""
    (tmp_path / "model.pkl").write_bytes(b"x")
    with pytest.raises(
        DescriptionError, match=r"model.pkl is not named like an ONNX file; wanted a name that ends in .onnx"
    ):
        load(tmp_path / "model.pkl")


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (bare_models.logits, 'activation = "softmax" if these are logits of labels'),
        (bare_models.sigmoid, 'activation = "sigmoid" if it is the probability of the second of two labels'),
        (partial(bare_models.sigmoid, labels=3), "multilabel = true if each is the probability of a label of its own"),
        (bare_models.price, None),
    ],
)
def test_hints_at_what_numbers_may_be(tmp_path: Path, make: Callable[[Path], Path], hint: str | None) -> None:
    """A bare file that is served as a regression, and may be a classifier, says at the start how it would be one."""
    notes = load(make(tmp_path / "m.onnx")).notes
    assert notes[1:] == ((f"m.onnx: its output is taken for numbers; say {hint}",) if hint else ())


def test_refuses_a_folder_without_description(tmp_path: Path) -> None:
    """The description is read first, and its own error comes through."""
    with pytest.raises(DescriptionError, match=r"model\.toml cannot be read"):
        load(tmp_path)
