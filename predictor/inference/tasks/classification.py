"""One label of several: a classifier's file as a function from rows to probabilities and labels.

What the description leaves out (the labels, the outputs) is found in the file; what it says is held to the file.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference import label_order as order
from predictor.inference.checked_file import Checked, Reading, checked, tried
from predictor.inference.onnx_graph import classes_of, made_by
from predictor.inference.outputs import Outputs
from predictor.inference.tasks.activation import sigmoid, softmax, two_classes
from predictor.inference.tasks.own_label import WANTED, label_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts
    from predictor.inference.manifest import Gives, Manifest
    from predictor.inference.onnx_graph import ClassNames
    from predictor.inference.onnx_session import Floats, Session
    from predictor.inference.tasks.task import Source

    Decode = Callable[[Sequence[Any]], Floats]
    Read = Callable[[Sequence[Any]], Parts]

NAME = "classification"
# What skl2onnx writes by default: a map a row.
_NUMBERS, _TEXTS = "seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"
MAPS = {_NUMBERS, _TEXTS}
_TENSORS = {"tensor(float)", "tensor(double)", "tensor(float16)"}
_SUM_TOLERANCE = 1e-3  # a thousand labels in float32 stay well within, scores that are no probabilities do not
_HALF_TOLERANCE = 2e-2  # float16 has three digits
_MOST_LABELS = 100_000


class Classification:
    """Probabilities that sum to 1, and the label that is the answer."""

    name = NAME
    gives: Gives = "probabilities"
    values: tuple[str, ...] = ()

    def __init__(self, labels: tuple[str, ...], run: Checked) -> None:
        """Take the labels in the order of the probabilities, and what gives these and the labels' places."""
        self.labels = labels
        self.checked = run

    def answer(self, parts: Parts) -> Outputs:
        """Return probabilities and places of labels."""
        probabilities, labels = parts
        return Outputs(probabilities, labels, None, None)


def load(source: Source, names: Sequence[str]) -> Classification:
    """Return the task for the outputs `names`: one with all probabilities, or one for each; raises ModelError."""
    session, about = source.session, source.about
    kind = _kind(session, names)
    label = _label_output(session, about, names, kind)
    first = session.try_out(session.asked_for([*names, label] if label else names), source.rows[:1])
    if label and np.size(first[-1]) != 1:
        if about.classifier.label:
            session.refuse(
                f"its output {label!r} has the shape {np.shape(first[-1])} for one row; wanted one label a row"
            )
        label = None
    classes = classes_of(source.content, names[0]) if kind not in MAPS and len(names) == 1 else None
    labels = about.labels or _found_labels(source, names, kind, first, classes)
    decode = _decoder(source, names, kind, labels, first)
    count = len(names)

    def read(found: Sequence[Any]) -> Parts:
        return decode(found[:count]), *(np.reshape(other, -1) for other in found[count:])

    reading = Reading([*names, label] if label else names, read)
    mode, _, parts = tried(session, reading.of(session), source.rows, source.most, "probabilities", (len(labels),))
    _check_probabilities(session, parts[0], activation=about.activation)
    if not about.labels and classes is None and label and session.outputs[label] == order.TEXT and kind not in MAPS:
        labels = _labels_by_rows(session, label, parts, len(labels))
    if classes and len(classes) == len(labels):
        if order.misplaced(classes, labels):
            session.refuse(f"its classes are {list(classes)}, but labels are {list(labels)}; {WANTED}")
    else:
        classes = None
    own, notes = label_reader(session, about, labels, label, parts, classes) if label else (None, [])
    if about.threshold is not None:  # which is the answer in the place of the file's own label
        own, notes = None, []
    reading = Reading(reading.names, _with_label(read, own)) if own else Reading(names, _most_probable(decode))
    found = checked(session, reading, mode, source.rows, notes)
    return Classification(labels, found._replace(own_label=own is not None))


def sums_to_one(rows: Floats) -> bool:
    """Tell whether rows of finite numbers are probabilities of one label each; False if there are none."""
    finite = rows[np.isfinite(rows).all(axis=1)]
    tolerance = _HALF_TOLERANCE if rows.dtype == np.float16 else _SUM_TOLERANCE
    sums = finite.sum(axis=1, dtype=np.float64)
    return bool(len(finite)) and bool(finite.min() >= 0) and bool(np.abs(sums - 1).max() <= tolerance)


def _kind(session: Session, names: Sequence[str]) -> str:
    kinds = {session.output_type(name) for name in names}
    kind = kinds.pop()
    allowed = _TENSORS if len(names) > 1 or kinds else _TENSORS | MAPS
    if kinds or kind not in allowed:
        wanted = "a tensor of floats of shape (N, labels) or a sequence of maps from labels to float"
        session.refuse(f"its output of probabilities is a {kind}; wanted {wanted}")
    return kind


def _label_output(session: Session, about: Manifest, names: Sequence[str], kind: str) -> str | None:
    """Return the output that holds the file's own label: the one that the description names, else what looks so."""
    named = about.classifier.label
    if named is None:
        # Beside maps with texts for keys, numbers count something that is not known.
        found = order.candidate({each: of for each, of in session.outputs.items() if each not in names}, names[0])
        return None if found and kind == _TEXTS and session.outputs[found] != order.TEXT else found
    if named and session.output_type(named) not in order.LABEL_TYPES:
        session.refuse(f"its output {named!r} is a {session.outputs[named]}; wanted labels: integers or texts")
    return named or None


def _found_labels(
    source: Source, names: Sequence[str], kind: str, first: Sequence[Any], classes: ClassNames | None
) -> tuple[str, ...]:
    """Return the labels that the file tells of; numbers from 0 where it names none."""
    if kind in MAPS:
        keys = classes_of(source.content, names[0]) or ()
        found = first[0][0]  # the runtime sorts them
        return tuple(map(str, keys if set(keys) == set(found) else found))
    if len(names) > 1:
        return tuple(names)
    if classes:
        return tuple(map(str, classes))
    one = np.asarray(first[0])
    width = one.size
    if width == 1:
        return ("0", "1")
    if one.ndim != 2 or width > _MOST_LABELS:  # noqa: PLR2004 - rows and labels
        source.session.refuse(f"its output {names[0]!r} has the shape {one.shape} for one row; wanted (1, labels)")
    return tuple(map(str, range(width)))


def _labels_by_rows(session: Session, label: str, parts: Parts, count: int) -> tuple[str, ...]:
    """Return labels in the order of the probabilities, by the file's own label of the rows that reach each class."""
    probabilities, texts = parts
    most = probabilities.argmax(axis=1)
    found = []
    for place in range(count):
        called = Counter(texts[most == place].tolist())
        found.append(str(called.most_common(1)[0][0]) if called else "")
    if not all(found) or len(set(found)) < count:
        session.refuse(
            f"the order of its classes is not known: by its output {label!r} they are {found}; "
            "say labels = [...] in model.toml, in the order of the probabilities"
        )
    return tuple(found)


def _decoder(source: Source, names: Sequence[str], kind: str, labels: Sequence[str], first: Sequence[Any]) -> Decode:
    """Return a function from the outputs, of which `first` is one row, to probabilities in the labels' order."""
    session, activation = source.session, source.about.activation
    if kind in MAPS:
        return _of_maps(session, labels, kind, first[0])
    if len(names) > 1:
        return _side_by_side
    one = np.size(first[0]) == 1
    if not activation:
        if one and len(labels) == 2:  # noqa: PLR2004 - yes and no
            wanted = f"wanted a probability for each of {len(labels)} labels"
            session.refuse(
                f'its output {names[0]!r} has one number a row; {wanted}, or say activation = "sigmoid" '
                "if it is the second one's"
            )
        return _as_it_is
    by_hand = made_by(source.content, names[0]) not in {"Softmax", "Sigmoid"}
    if activation == "sigmoid":
        if not one:
            session.refuse(
                f'its output {names[0]!r} has {np.size(first[0])} numbers a row, activation = "sigmoid" is for one; '
                'say multilabel = true if several labels may be right, or activation = "softmax"'
            )
        return _one_sigmoid if by_hand else _one_probability
    return _logits if by_hand else _as_it_is


def _of_maps(session: Session, labels: Sequence[str], kind: str, first: Any) -> Decode:  # noqa: ANN401 - maps
    found = list(first[0])
    places = next((each for each in order.readings(found, labels, None) if set(each) == set(found)), None)
    if places is None:
        wanted_keys = list(labels) if kind == _TEXTS else list(range(len(labels)))
        session.refuse(f"its probabilities have the keys {found}, but the description calls for {wanted_keys}")
    return _values_of(sorted(places, key=places.__getitem__))


def _check_probabilities(session: Session, rows: Floats, *, activation: str | None) -> None:
    """Refuse what the sample shows to be no probabilities."""
    if not sums_to_one(rows[:1]):
        wanted = "wanted probabilities, not negative and with a sum of 1"
        way_out = (
            ""
            if activation
            else (
                '; append a Softmax or say activation = "softmax" if they are logits, '
                "multilabel = true if several labels may be right"
            )
        )
        session.refuse(f"it gives the sample {rows[0].tolist()}; {wanted}{way_out}")


def _with_label(read: Read, label: Callable[[NDArray[Any]], NDArray[np.intp]]) -> Read:
    def with_label(found: Sequence[Any]) -> Parts:
        probabilities, values = read(found)
        places = label(values)
        if order.UNKNOWN in places:  # no answer, as if the model had given none
            probabilities = np.where(places[:, None] == order.UNKNOWN, np.float32(np.nan), probabilities)
        return probabilities, places

    return with_label


def _most_probable(decode: Decode) -> Read:
    def most_probable(found: Sequence[Any]) -> Parts:
        probabilities = decode(found)
        return probabilities, probabilities.argmax(axis=1)

    return most_probable


def _as_it_is(outputs: Sequence[Any]) -> Floats:
    return outputs[0]  # type: ignore[no-any-return]


def _logits(outputs: Sequence[Any]) -> Floats:
    return softmax(outputs[0])


def _one_sigmoid(outputs: Sequence[Any]) -> Floats:
    return two_classes(sigmoid(outputs[0]))


def _one_probability(outputs: Sequence[Any]) -> Floats:
    return two_classes(outputs[0])


def _side_by_side(outputs: Sequence[Any]) -> Floats:
    return np.stack([each.reshape(-1) for each in outputs], axis=1)


def _values_of(keys: Sequence[int | str]) -> Decode:
    def decode(outputs: Sequence[Any]) -> Floats:
        return np.array([[each[key] for key in keys] for each in outputs[0]], np.float32)

    return decode
