"""Loads a classifier's file as a function from rows to probabilities and labels, checked against the description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference import label_order as order
from predictor.inference.checked_file import TENSOR, Checked, checked, tried
from predictor.inference.onnx_graph import classes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts, Run
    from predictor.inference.label_order import Agreement, Places
    from predictor.inference.manifest import Manifest
    from predictor.inference.onnx_graph import ClassNames
    from predictor.inference.onnx_session import Floats, Session

# What skl2onnx writes by default: a map a row.
_NUMBERS, _TEXTS = "seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"
_SUM_TOLERANCE = 1e-3  # a thousand labels in float32 stay well within, scores that are no probabilities do not


def check(session: Session, about: Manifest, content: bytes, rows: Floats, most: int) -> Checked:
    """Return the function from rows to probabilities and the places of their labels; raises ModelError.

    `content` is the file's, `rows` are tried, the sample first, and `most` of them may run together.
    """
    name, labels = about.classifier.probabilities, about.labels
    kind = session.output_type(name)
    label = _label_output(session, about, kind)
    raw = session.asked_for([name, label] if label else [name])
    first = session.try_out(raw, rows[:1])
    if label and np.size(first[1]) != 1:
        if about.classifier.label:
            session.refuse(
                f"its output {label!r} has the shape {np.shape(first[1])} for one row; wanted one label a row"
            )
        label, raw = None, session.asked_for([name])
    decode = _decoder(session, labels, kind, first[0])

    def run(rows: Floats) -> Parts:
        probabilities, *others = raw(rows)
        return decode(probabilities), *(np.reshape(other, -1) for other in others)

    mode, _, parts = tried(session, run, rows, most, "probabilities", (len(labels),))
    _check_probabilities(session, parts[0][0])
    classes = classes_of(content, name) if kind == TENSOR else None
    if classes and len(classes) == len(labels):
        if order.misplaced(classes, labels):
            session.refuse(f"its classes are {list(classes)}, but labels are {list(labels)}; {_WANTED}")
    else:
        classes = None
    read, notes = _label_reader(session, about, label, parts, classes) if label else (None, [])
    if read:
        return checked(session, _with_label(run, read), mode, notes)._replace(own_label=True)
    return checked(session, _most_probable(session.asked_for([name]), decode), mode, notes)


_WANTED = "wanted labels in the order of the file"


def _label_output(session: Session, about: Manifest, kind: str) -> str | None:
    """Return the output that holds the file's own label: the one that the description names, else what looks so."""
    named = about.classifier.label
    if named is None:
        # Beside maps with texts for keys, numbers count something that is not known.
        found = order.candidate(session.outputs, about.classifier.probabilities)
        return None if found and kind == _TEXTS and session.outputs[found] != order.TEXT else found
    if named and session.output_type(named) not in order.LABEL_TYPES:
        session.refuse(f"its output {named!r} is a {session.outputs[named]}; wanted labels: integers or texts")
    return named or None


def _decoder(session: Session, labels: Sequence[str], kind: str, first: Any) -> Callable[[Any], Floats]:  # noqa: ANN401
    """Return a function from the output, of which `first` is one for one row, to probabilities in the labels' order."""
    if kind == TENSOR:
        return _as_it_is
    if kind not in {_NUMBERS, _TEXTS}:
        wanted = f"a {TENSOR} of shape (N, {len(labels)}) or a sequence of maps from labels to float"
        session.refuse(f"its output of probabilities is a {kind}; wanted {wanted}")
    found = list(first[0])
    places = next((each for each in order.readings(found, labels, None) if set(each) == set(found)), None)
    if places is None:
        wanted_keys = list(labels) if kind == _TEXTS else list(range(len(labels)))
        session.refuse(f"its probabilities have the keys {found}, but the description calls for {wanted_keys}")
    return _values_of(sorted(places, key=places.__getitem__))


def _check_probabilities(session: Session, sample: Floats) -> None:
    if not np.isclose(sample.sum(), 1, rtol=0, atol=_SUM_TOLERANCE) or sample.min() < 0:
        wanted = "wanted probabilities, not negative and with a sum of 1"
        session.refuse(f"it gives the sample {sample.tolist()}; {wanted}")


def _label_reader(
    session: Session, about: Manifest, label: str, parts: Parts, classes: ClassNames | None
) -> tuple[Callable[[NDArray[Any]], NDArray[np.intp]] | None, list[str]]:
    """Return how the file's own label is read, None if it is not understood, and what to say of it; raises ModelError.

    `parts` are the probabilities and labels of the rows that were tried.
    """
    file, explicit = session.file, bool(about.classifier.label)
    probabilities, values = parts
    found = [order.reader(places) for places in _readings(session, about, label, parts, classes)]
    compared = [(order.compare(probabilities, read(values)), read) for read in found]
    if compared:
        agreement, read = min(compared, key=lambda each: each[0].others)  # the first one, if they are equally good
        if explicit or session.outputs[label] == order.TEXT or order.looks_so(label) or agreement.likely:
            if not classes:
                _check_order(session, about, label, agreement)
            return read, list(_notes(file, label, agreement, about, known=bool(classes)))
    return None, [f"{file}: its output {label!r} cannot be read as one of the labels and is not used"]


def _readings(
    session: Session, about: Manifest, label: str, parts: Parts, classes: ClassNames | None
) -> Sequence[Places]:
    probabilities, values = parts
    seen = set(values[np.isfinite(probabilities).all(axis=1)].tolist())
    found = order.readings(seen, about.labels, classes)
    if not found and (about.classifier.label or not seen.isdisjoint(about.labels)):
        strange = sorted(seen - set(about.labels))
        session.refuse(f"its output {label!r} says {strange[:5]}, but labels are {list(about.labels)}; {_WANTED}")
    return found


def _check_order(session: Session, about: Manifest, label: str, agreement: Agreement) -> None:
    certain = bool(about.classifier.label)
    if order.swapped(agreement.reached, certain=certain):
        found = [
            about.labels[agreement.reached[at]] if at in agreement.reached else "?" for at in range(len(about.labels))
        ]
        way_out = f", or label = {label!r} below [classifier] if it is not meant to be the most probable class"
        session.refuse(
            f"by its output {label!r} its classes are {found}, but labels are {list(about.labels)}; {_WANTED}"
            f"{'' if certain or order.swapped(agreement.reached, certain=True) else way_out}"
        )


def _notes(file: str, label: str, agreement: Agreement, about: Manifest, *, known: bool) -> Sequence[str]:
    notes = []
    if not known and len(agreement.reached) < 2:  # noqa: PLR2004 - one class has no order
        only = "".join(f", {about.labels[at]!r}" for at in agreement.reached)
        notes.append(
            f"{file}: the order of the labels is not confirmed, the {agreement.rows} rows that were tried reach "
            f"one class only{only}; training.toml can say what other rows there are"
        )
    if agreement.others:
        seen = f"of {agreement.others} in {agreement.rows} rows that were tried"
        notes.append(f"{file}: its {label!r} {seen} is not the most probable class; its {label!r} is the answer")
    return notes


def _with_label(run: Run, read: Callable[[NDArray[Any]], NDArray[np.intp]]) -> Run:
    def with_label(rows: Floats) -> Parts:
        probabilities, values = run(rows)
        places = read(values)
        if order.UNKNOWN in places:  # no answer, as if the model had given none
            probabilities = np.where(places[:, None] == order.UNKNOWN, np.float32(np.nan), probabilities)
        return probabilities, places

    return with_label


def _most_probable(raw: Callable[[Floats], list[Any]], decode: Callable[[Any], Floats]) -> Run:
    def most_probable(rows: Floats) -> Parts:
        probabilities = decode(raw(rows)[0])
        return probabilities, probabilities.argmax(axis=1)

    return most_probable


def _as_it_is(tensor: Floats) -> Floats:
    return tensor


def _values_of(keys: Sequence[int | str]) -> Callable[[Any], Floats]:
    def decode(maps: list[dict[int | str, float]]) -> Floats:
        return np.array([[each[key] for key in keys] for each in maps], np.float32)

    return decode
