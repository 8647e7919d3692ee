"""The label that a file gives itself: whether it is understood, in which order its classes stand, what to say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference import label_order as order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts
    from predictor.inference.label_order import Agreement, Places
    from predictor.inference.manifest import Manifest
    from predictor.inference.onnx_graph import ClassNames
    from predictor.inference.onnx_session import Session

WANTED = "wanted labels in the order of the file"


def label_reader(
    session: Session, about: Manifest, labels: Sequence[str], label: str, parts: Parts, classes: ClassNames | None
) -> tuple[Callable[[NDArray[Any]], NDArray[np.intp]] | None, list[str]]:
    """Return how the file's own label is read, None if it is not understood, and what to say of it; raises ModelError.

    `parts` are the probabilities and labels of the rows that were tried.
    """
    file, explicit = session.file, bool(about.classifier.label)
    probabilities, values = parts
    found = [order.reader(places) for places in _readings(session, about, labels, label, parts, classes)]
    compared = [(order.compare(probabilities, read(values)), read) for read in found]
    if compared:
        agreement, read = min(compared, key=lambda each: each[0].others)  # the first one, if they are equally good
        if explicit or session.outputs[label] == order.TEXT or order.looks_so(label) or agreement.likely:
            if not classes:
                _check_order(session, about, labels, label, agreement)
            return read, list(_notes(file, label, agreement, labels, known=bool(classes)))
    return None, [f"{file}: its output {label!r} cannot be read as one of the labels and is not used"]


def _readings(
    session: Session, about: Manifest, labels: Sequence[str], label: str, parts: Parts, classes: ClassNames | None
) -> Sequence[Places]:
    probabilities, values = parts
    seen = set(values[np.isfinite(probabilities).all(axis=1)].tolist())
    found = order.readings(seen, labels, classes)
    if not found and (about.classifier.label or not seen.isdisjoint(labels)):
        strange = sorted(seen - set(labels))
        session.refuse(f"its output {label!r} says {strange[:5]}, but labels are {list(labels)}; {WANTED}")
    return found


def _check_order(session: Session, about: Manifest, labels: Sequence[str], label: str, agreement: Agreement) -> None:
    certain = bool(about.classifier.label)
    if order.swapped(agreement.reached, certain=certain):
        found = [labels[agreement.reached[at]] if at in agreement.reached else "?" for at in range(len(labels))]
        way_out = f", or label = {label!r} below [classifier] if it is not meant to be the most probable class"
        session.refuse(
            f"by its output {label!r} its classes are {found}, but labels are {list(labels)}; {WANTED}"
            f"{'' if certain or order.swapped(agreement.reached, certain=True) else way_out}"
        )


def _notes(file: str, label: str, agreement: Agreement, labels: Sequence[str], *, known: bool) -> Sequence[str]:
    notes = []
    if not known and len(agreement.reached) < 2:  # noqa: PLR2004 - one class has no order
        only = "".join(f", {labels[at]!r}" for at in agreement.reached)
        notes.append(
            f"{file}: the order of the labels is not confirmed, the {agreement.rows} rows that were tried reach "
            f"one class only{only}; training.toml can say what other rows there are"
        )
    if agreement.others:
        seen = f"of {agreement.others} in {agreement.rows} rows that were tried"
        notes.append(f"{file}: its {label!r} {seen} is not the most probable class; its {label!r} is the answer")
    return notes
