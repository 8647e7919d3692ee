"""A label of the file's own, alone or beside numbers that are no probabilities: SVC, KMeans, IsolationForest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference.checked_file import TRIED_ROWS, Checked, Reading, checked, tried
from predictor.inference.onnx_graph import classes_of
from predictor.inference.outputs import Outputs
from predictor.inference.tasks import classification
from predictor.inference.tasks.numbers import as_matrix, names_of, sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from predictor.inference.batch_trial import Parts
    from predictor.inference.manifest import Gives
    from predictor.inference.tasks.task import Source


class Scores:
    """A label a row, and what numbers there are."""

    name = classification.NAME
    gives: Gives = "label"

    def __init__(
        self, labels: tuple[str, ...], values: tuple[str, ...], run: Checked, names: Mapping[Any, str]
    ) -> None:
        """Take the labels as far as they are known, the names of the numbers, and what gives both.

        `names` are the labels by the file's own classes; without them a class is its own text.
        """
        self.labels = labels
        self.values = values
        self.checked = run
        self._names = names

    def answer(self, parts: Parts) -> Outputs:
        """Return labels and numbers."""
        classes, *rest = parts
        found = np.empty(len(classes), object)
        found[:] = (
            [self._names.get(each) for each in classes.tolist()] if self._names else list(map(str, classes.tolist()))
        )
        return Outputs(None, found, None, None, rest[0] if rest else None)


def load(source: Source, label: str, others: Sequence[str]) -> Scores:
    """Return the task for an output that holds labels, and others that hold numbers."""
    session, labels = source.session, source.about.labels
    found = sizes(session, others, source.rows) if others else {}
    classes = next(filter(None, (classes_of(source.content, name) for name in others)), None)

    def read(found: Sequence[Any]) -> Parts:
        texts, *numbers = found
        whole = np.reshape(texts, -1)
        return (whole, as_matrix(numbers)) if numbers else (whole,)

    reading = Reading([label, *others], read)
    mode, _, parts = tried(session, reading.of(session), source.rows, source.most, "labels", ())
    names = _named(source, label, set(parts[0].tolist()), labels) if labels else {}
    known = labels or tuple(map(str, classes or ()))
    values = names_of(found)
    if known and len(values) == len(known) > 1 and len(others) == 1:
        values = known
    if len(parts) > 1 and parts[1].shape[1] != len(values):
        session.refuse(f"it gives {parts[1].shape[1]} numbers for {TRIED_ROWS} rows; wanted the same for each row")
    return Scores(known, values, checked(session, reading, mode, source.rows)._replace(own_label=True), names)


def _named(source: Source, label: str, seen: set[Any], labels: tuple[str, ...]) -> Mapping[Any, str]:
    """Return the description's labels by the file's classes: by name, else numbers count them from 0."""
    by_name = {_class(text, seen): text for text in labels}
    if seen <= set(by_name):
        return by_name
    counted = dict(enumerate(labels))
    if seen <= set(counted):
        return counted
    strange = sorted(map(str, seen - set(by_name)))[:5]
    return source.session.refuse(
        f"its output {label!r} says {strange}, but labels are {list(labels)}; wanted the file's own classes"
    )


def _class(text: str, seen: set[Any]) -> Any:  # noqa: ANN401 - a number or a text, as the file has it
    if all(isinstance(value, str) for value in seen):
        return text
    return int(text) if text.removeprefix("-").isdecimal() else text
