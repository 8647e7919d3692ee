"""Labels: the description's order is held to the file's own, and the file's own label is the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from predictor.inference import label_order
from predictor.inference.model import ModelError, load
from predictor.inference.onnx_graph import classes_of, missing_bytes
from tests.support import model_folders
from tests.support.onnx_graphs import Node, graph, tensor, write
from tests.support.server import predictions, problem, records, serve

if TYPE_CHECKING:
    from pathlib import Path

WANTED = "wanted labels in the order of the file"
WAY_OUT = "or label = 'label' below [classifier] if it is not meant to be the most probable class"


def refusal(folder: Path) -> str:
    """Return the sentence that refuses a folder, which it starts with left out."""
    with pytest.raises(ModelError) as error:
        load(folder)
    return str(error.value).removeprefix(f"{folder}/classifier.onnx: ")


def as_texts(names: list[str]) -> list[Node]:
    """Return nodes that make `label` of `p`: the name of the most probable class."""
    keys = {"keys_int64s": list(range(len(names))), "values_strings": names, "domain": "ai.onnx.ml"}
    return [
        ("ArgMax", ["p"], ["number"], {"axis": 1, "keepdims": 0}),
        ("LabelEncoder", ["number"], ["label"], keys),
    ]


@pytest.mark.parametrize("label", [False, True])
def test_an_order_that_the_file_names_otherwise_stops_the_start(tmp_path: Path, *, label: bool) -> None:
    """Where the operator names its classes, another order is refused by both, whatever rows reach."""
    folder = model_folders.named_classes(tmp_path, ["no", "yes"], label=label, labels=["yes", "no"])
    assert refusal(folder) == f"its classes are ['no', 'yes'], but labels are ['yes', 'no']; {WANTED}."
    assert load(model_folders.named_classes(tmp_path, ["no", "yes"], label=label, labels=["no", "yes"])).notes == ()


def test_an_order_that_the_label_output_contradicts_stops_the_start(tmp_path: Path) -> None:
    """Where only the label tells, rows that reach several classes show the file's order, and it is named."""
    folder = model_folders.labelled(tmp_path, as_texts(["no", "yes"]), element=TensorProto.STRING, labels=["yes", "no"])
    assert (
        refusal(folder)
        == f"by its output 'label' its classes are ['no', 'yes'], but labels are ['yes', 'no']; {WANTED}."
    )


def test_numbers_are_names_if_the_labels_are_numbers(tmp_path: Path) -> None:
    """Labels that are written as numbers are held to those numbers, in a tensor as in maps."""
    folder = model_folders.labelled(tmp_path, model_folders.ARG_MAX, labels=["1", "0"])
    assert refusal(folder) == f"by its output 'label' its classes are ['0', '1'], but labels are ['1', '0']; {WANTED}."
    assert load(model_folders.labelled(tmp_path, model_folders.ARG_MAX, labels=["0", "1"])).own_label


@pytest.mark.parametrize("names", [["3", "7", "11"], ["11", "3", "7"]])
def test_maps_with_other_numbers_are_read_by_name(tmp_path: Path, names: list[str]) -> None:
    """Keys that do not count from 0 are labels too, where the description has them, in whatever order."""
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, tensor([])))
    more = {"domain": "ai.onnx.ml", "classlabels_int64s": [3, 7, 11]}
    model = graph(
        [("Softmax", ["rows"], ["q"], {"axis": 1}), ("ZipMap", ["q"], ["p"], more)], {}, {"p": maps}, ["N", 3]
    )
    found = load(write(tmp_path, model, features=["a", "b", "c"], labels=names)).run(np.eye(3, dtype=np.float32))
    by_name = {"3": 0, "7": 1, "11": 2}
    assert found.labels.tolist() == [names.index(name) for name in by_name]
    assert found.probabilities[0, names.index("3")] == found.probabilities.max()


def test_a_right_order_has_nothing_to_say(tmp_path: Path) -> None:
    """Labels that agree with the file's on rows of several classes need no word."""
    folder = model_folders.labelled(tmp_path, as_texts(["no", "yes"]), element=TensorProto.STRING)
    assert load(folder).notes == ()
    assert load(folder).run(np.array([[1, 0], [0, 1]], np.float32)).labels.tolist() == [0, 1]


def test_other_words_than_the_files_are_taken_in_its_order(tmp_path: Path) -> None:
    """Labels may be called otherwise than in the file, where that says in which order they are."""
    model = load(model_folders.named_classes(tmp_path, ["nein", "ja"], label=True, labels=["no", "yes"]))
    assert model.own_label
    assert model.run(np.array([[1, 0], [0, 1]], np.float32)).labels.tolist() == [0, 1]


@pytest.mark.parametrize("values", [[0, 1], [1, 2]])
def test_stars_are_no_classes(tmp_path: Path, values: list[int]) -> None:
    """Labels that are numbers are no names where the file counts otherwise, and names where it does not."""
    nodes: list[Node] = [
        ("ArgMax", ["p"], ["number"], {"axis": 1, "keepdims": 0}),
        ("Gather", ["classes", "number"], ["label"], {}),
    ]
    folder = model_folders.labelled(tmp_path, nodes, {"classes": np.array(values)}, labels=["1", "2"])
    assert load(folder).notes == ()
    assert load(folder).own_label
    assert load(folder).run(np.array([[1, 0], [0, 1]], np.float32)).labels.tolist() == [0, 1]
    assert not label_order.misplaced((0, 1), ("1", "2"))
    assert label_order.misplaced((1, 2), ("2", "1"))


def test_a_misspelt_label_is_named(tmp_path: Path) -> None:
    """Where one of the file's labels is there and another is not, that one is named."""
    folder = model_folders.labelled(
        tmp_path, as_texts(["no", "yes"]), element=TensorProto.STRING, labels=["no", "yess"]
    )
    assert refusal(folder) == f"its output 'label' says ['yes'], but labels are ['no', 'yess']; {WANTED}."


async def test_the_models_own_label_is_the_answer(outbox: Path, tmp_path: Path) -> None:
    """Where the label is not the most probable class it is answered and logged, with its own confidence."""
    row = [0.75, 0.25]  # 0.62 and 0.38: above the threshold, and not the most probable one
    async with serve(outbox, model_folders.with_threshold(tmp_path / "m")) as here:
        answer = await here.post("/predict/label", json={"data": [row]})
        probabilities = (await here.post("/predict", json={"data": [row]})).json["prediction"]
    assert answer.json["prediction"] == "yes"
    for logged in predictions(outbox):
        assert logged["prediction.label"] == "yes"
        assert logged["prediction.confidence"] == probabilities[1] < probabilities[0]
    assert all(record["body"]["stringValue"].startswith("yes 0.378 ") for record in records(outbox)[2:4])


def test_a_label_of_its_own_is_said(tmp_path: Path) -> None:
    """A label that is not always the most probable class is no wrong order, and is said at the start."""
    (note,) = load(model_folders.with_threshold(tmp_path)).notes
    assert note.startswith("classifier.onnx: its 'label' of ")
    assert note.endswith(" rows that were tried is not the most probable class; its 'label' is the answer")


@pytest.mark.parametrize(("limit", "place"), [(0.0, 1), (2.0, 0)])
def test_a_label_that_never_changes_is_taken_if_it_is_meant(tmp_path: Path, limit: float, place: int) -> None:
    """An extreme threshold contradicts no order as long as one of the classes has its own label."""
    found = load(model_folders.with_threshold(tmp_path, limit)).run(np.array([[1, 0], [0, 1]], np.float32))
    assert found.labels.tolist() == [place, place]


def one_class(folder: Path, **more: Any) -> Path:  # noqa: ANN401 - as `write` takes it
    """Write a classifier that says class 1 unless the first feature is between 5000 and 6000."""
    nodes: list[Node] = [
        ("Slice", ["rows", "from", "to", "columns"], ["first"], {}),
        ("Sub", ["first", "center"], ["off"], {}),
        ("Abs", ["off"], ["distance"], {}),
        ("Less", ["distance", "half"], ["inside"], {}),
        ("Where", ["inside", "left", "right"], ["p"], {}),
        ("ArgMax", ["p"], ["label"], {"axis": 1, "keepdims": 0}),
    ]
    constants = {"from": np.array([0]), "to": np.array([1]), "columns": np.array([1])}
    constants |= {"center": np.array([5500.0]), "half": np.array([500.0])}
    constants |= {"left": np.array([[0.75, 0.25]]), "right": np.array([[0.25, 0.75]])}
    outputs = {"label": tensor(["N"], TensorProto.INT64), "p": tensor(["N", 2])}
    return write(folder, graph(nodes, constants, outputs, ["N", 2]), **more)


def test_one_class_only_is_said(tmp_path: Path) -> None:
    """An order that the rows cannot confirm is said, and the ranges of training may bring the rows that can."""
    folder = one_class(tmp_path)
    (note,) = load(folder).notes
    assert "the order of the labels is not confirmed" in note
    assert "reach one class only, 'yes'; training.toml can say what other rows there are" in note
    (folder / "training.toml").write_text("[range]\na = [4000, 7000]\n")
    assert load(folder).notes == ()


def test_one_class_with_another_label_stops_the_start(tmp_path: Path) -> None:
    """A label that contradicts the only class that was reached is refused, with the way out, which works."""
    folder = one_class(tmp_path, labels=["1", "0"])
    found = "by its output 'label' its classes are ['?', '1'], but labels are ['1', '0']"
    assert refusal(folder) == f"{found}; {WANTED}, {WAY_OUT}."
    assert load(one_class(tmp_path, labels=["1", "0"], label='"label"')).own_label


def test_a_label_may_be_left_unused(tmp_path: Path) -> None:
    """`label = false` makes the most probable class the answer, whatever the file says itself."""
    model = load(model_folders.with_threshold(tmp_path, label="false"))
    assert model.notes == ()
    assert not model.own_label
    assert model.run(np.array([[0.75, 0.25]], np.float32)).labels.tolist() == [0]


def test_numbers_that_are_no_labels_are_not_used(tmp_path: Path) -> None:
    """An output of numbers that is neither called a label nor agrees with the classes is left alone and named."""
    least: list[Node] = [("ArgMin", ["p"], ["hour"], {"axis": 1, "keepdims": 0})]
    model = load(model_folders.labelled(tmp_path, least, output="hour"))
    assert model.notes == ("classifier.onnx: its output 'hour' cannot be read as one of the labels and is not used",)
    assert model.run(np.array([[0.75, 0.25]], np.float32)).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ('"labell"', "it has no output 'labell', only 'label', 'p'."),
        ('"p"', "its output 'p' is a tensor(float); wanted labels: integers or texts."),
    ],
)
def test_a_label_that_cannot_be_one_is_refused(tmp_path: Path, label: str, sentence: str) -> None:
    """An output that the description calls the label must be there and hold labels."""
    assert refusal(model_folders.labelled(tmp_path, model_folders.ARG_MAX, label=label)) == sentence


def test_a_label_is_one_a_row(tmp_path: Path) -> None:
    """An output that the description calls the label must have one for each row; another one is left alone."""
    nodes: list[Node] = [("ArgMax", ["p"], ["each"], {"axis": 1}), ("Concat", ["each", "each"], ["label"], {"axis": 1})]
    folder = model_folders.labelled(tmp_path, nodes, label='"label"')
    assert refusal(folder) == "its output 'label' has the shape (1, 2) for one row; wanted one label a row."
    assert not load(model_folders.labelled(tmp_path, nodes)).own_label


async def test_a_label_that_the_description_has_not_is_a_failure_of_its_row(outbox: Path, tmp_path: Path) -> None:
    """A label that comes up later and is none of the description's is no answer: a 500, which is recorded."""
    nodes: list[Node] = [
        ("ArgMax", ["p"], ["number"], {"axis": 1, "keepdims": 0}),
        ("Equal", ["rows", "odd"], ["same"], {}),
        ("Cast", ["same"], ["hits"], {"to": TensorProto.INT64}),
        ("ReduceSum", ["hits", "columns"], ["hit"], {"keepdims": 0}),
        ("Add", ["number", "hit"], ["label"], {}),
    ]
    folder = model_folders.labelled(
        tmp_path / "m", nodes, {"odd": np.array([[777.125, -1.0]]), "columns": np.array([1])}
    )
    async with serve(outbox, folder) as here:
        problem(await here.post("/predict", json={"data": [[777.125, 778]]}), 500, "model-failed")
        assert (await here.post("/predict/label", json={"data": [[1, 2]]})).json["prediction"] == "yes"
    assert [logged.get("error.type") for logged in predictions(outbox)] == ["model-failed", None]


@pytest.mark.parametrize(
    ("reached", "certain", "wrong"),
    [
        ({0: 0, 1: 1}, False, False),
        ({0: 1, 1: 0}, True, True),
        ({0: 1, 1: 2, 2: 0}, True, True),
        ({0: 1, 1: 1}, False, False),
        ({0: 1, 1: 2}, False, True),
        ({0: 1, 1: 2}, True, False),
        ({0: 0, 1: 2}, False, True),
        ({}, False, False),
    ],
)
def test_which_labels_are_in_another_order(reached: dict[int, int], *, certain: bool, wrong: bool) -> None:
    """Labels that change places are a wrong order; two classes with one label, or a label meant so, are not."""
    assert label_order.swapped(reached, certain=certain) is wrong


@pytest.mark.parametrize("kind", ["ints", "strings"])
def test_the_order_of_classes_is_read_from_the_file(kind: str) -> None:
    """The file's classes are those of the operator that makes the output, through operators that keep the order."""
    classes: list[Any] = [-1, 7, 1 << 40] if kind == "ints" else ["ä", "b", "c"]
    more = {"domain": "ai.onnx.ml", f"classlabels_{kind}": classes, "coefficients": [1.0] * 6, "intercepts": [0.0] * 3}
    nodes: list[Node] = [
        ("LinearClassifier", ["rows"], ["label", "scores"], more),
        ("Softmax", ["scores"], ["soft"], {"axis": 1}),
        ("Identity", ["soft"], ["p"], {}),
        ("Gather", ["soft", "order"], ["other"], {"axis": 1}),
    ]
    outputs = {"p": tensor(["N", 3]), "other": tensor(["N", 3])}
    content = graph(nodes, {"order": np.array([2, 1, 0])}, outputs, ["N", 2]).SerializeToString()
    assert classes_of(content, "p") == tuple(classes)
    assert classes_of(content, "other") is None
    assert classes_of(content, "nothing") is None
    assert classes_of(b"\xff" + content, "p") is None


@given(cut=st.floats(0, 1, exclude_max=True), more=st.binary(max_size=20))
def test_a_file_that_was_cut_off_is_known(cut: float, more: bytes) -> None:
    """Any beginning of a file lacks something or is no model, and no bytes make the reader fail otherwise."""
    whole = graph([("Softmax", ["rows"], ["p"], {})], {}, {"p": tensor(["N", 2])}, ["N", 2]).SerializeToString()
    assert missing_bytes(whole) == 0
    beginning = whole[: max(1, int(cut * len(whole)))]
    for content in (beginning, beginning + more, more):
        try:
            missing = missing_bytes(content)
        except ValueError:
            continue
        assert missing >= 0
        assert classes_of(content, "p") is None
