"""Which task a model has: what `model.toml` says, else what its outputs look like on the rows that are tried."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from predictor.inference.batch_trial import run_alone
from predictor.inference.checked_file import TRIED_ROWS, three_rows
from predictor.inference.label_order import LABEL_TYPES
from predictor.inference.onnx_graph import made_by
from predictor.inference.tasks import classification, multilabel, regression, scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from predictor.inference.table_input import Feed
    from predictor.inference.tasks.numbers import NamedNumbers
    from predictor.inference.tasks.task import Source, Task

_SECONDS = 0.2
"""Of processor time, for the rows that tell probabilities from other numbers."""
_SEVERAL = 2


class _Found(NamedTuple):
    """The outputs by what they look like."""

    maps: list[str]
    labels: list[str]
    """An integer or a text a row."""
    flat: list[str]
    """One number a row."""
    wide: list[str]
    """Several numbers a row."""
    others: list[str]


def find(source: Source) -> Task | None:
    """Return the task of a file, None if its outputs have no meaning for a row that is known.

    Raises ModelError with the way out if `model.toml` says more than is so.
    """
    about = source.about
    if about.task == regression.NAME:
        return regression.load(source, about.values or [*source.session.outputs])
    if about.multilabel:
        return multilabel.load(
            source, [about.classifier.probabilities] if about.classifier.probabilities else _floats(source)
        )
    if about.classifier.probabilities:
        return classification.load(source, [about.classifier.probabilities])
    found = _look(source)
    if about.classifier.label is False:
        found.labels.clear()
    elif named := about.classifier.label:
        source.session.output_type(named)
        found.labels[:] = [named]
    if about.activation and len(wide := found.wide + found.flat) == 1:
        return classification.load(source, wide)
    return _by_look(source, found)


def _by_look(source: Source, found: _Found) -> Task | None:
    about = source.about
    if len(found.maps) == 1:
        return classification.load(source, found.maps)
    numbers = found.wide + found.flat
    if not found.others and not found.maps and len(found.labels) <= 1:
        label = found.labels[0] if found.labels else None
        if probabilities := _probabilities(source, found):
            return classification.load(source, probabilities)
        if label:
            return scores.load(source, label, [name for name in source.session.outputs if name in numbers])
        if about.task is None and numbers and (len(numbers) == 1 or not found.wide):
            outputs = [name for name in source.session.outputs if name in numbers]
            return _with_hint(source, outputs, regression.load(source, outputs))
    if about.task == classification.NAME:
        source.session.refuse(
            "none of its outputs are probabilities that sum to 1, a label, or a label with scores; say which one is "
            'meant (probabilities = "…", label = "…"), and activation = "softmax" or "sigmoid" if it holds logits'
        )
    if about == replace(about, features=(), labels=(), activation=None, outlier=None):
        return None
    listed = ", ".join(f"{each}" for each in source.session.signature.outputs)
    return source.session.refuse(
        f"what its outputs mean for a row is not known ({listed}); "
        'say task = "regression" with values = [...], task = "classification" with probabilities = "…", '
        'or task = "tensors", which needs neither features nor labels'
    )


def _with_hint(source: Source, outputs: Sequence[str], task: NamedNumbers) -> NamedNumbers:
    """Add to a regression that nobody has asked for what else its numbers may be."""
    makers = {made_by(source.content, name) for name in outputs}
    if makers == {"Sigmoid"}:
        means = (
            'activation = "sigmoid" if it is the probability of the second of two labels'
            if len(task.values) == 1
            else "multilabel = true if each is the probability of a label of its own"
        )
    elif len(outputs) == 1 and "logit" in outputs[0].lower():
        means = f'activation = "{"sigmoid" if len(task.values) == 1 else "softmax"}" if these are logits of labels'
    else:
        return task
    note = f"{source.session.file}: its output is taken for numbers; say {means}"
    task.checked = task.checked._replace(notes=(*task.checked.notes, note))
    return task


def _look(source: Source) -> _Found:
    session = source.session
    found = _Found([], [], [], [], [])
    names = [*session.outputs]
    raw = session.asked_for(names)

    def run(rows: Feed) -> tuple[NDArray[Any], ...]:
        return tuple(_as_array(each) for each in raw(rows))

    for name, part in zip(names, three_rows(session, run, source.rows), strict=True):
        kind = session.outputs[name]
        if kind in classification.MAPS:
            found.maps.append(name)
        elif part.shape[:1] != (TRIED_ROWS,):
            found.others.append(name)
        elif kind in LABEL_TYPES and part.size == TRIED_ROWS:
            found.labels.append(name)
        elif part.dtype.kind not in "fb":
            found.others.append(name)
        elif part.size == TRIED_ROWS:
            found.flat.append(name)
        elif part.ndim == 2:  # noqa: PLR2004 - rows and numbers
            found.wide.append(name)
        else:
            found.others.append(name)
    return found


def _as_array(part: Any) -> NDArray[Any]:  # noqa: ANN401 - a tensor or a list of maps
    if isinstance(part, list):
        whole = np.empty(len(part), object)
        whole[:] = part
        return whole
    return np.asarray(part)


def _probabilities(source: Source, found: _Found) -> list[str] | None:
    """Return the outputs that are probabilities of one label a row: one matrix, or a column for each label."""
    if len(found.wide) == 1 and not found.flat:
        names = found.wide
    elif len(found.flat) >= _SEVERAL and not found.wide and found.labels:
        names = found.flat
    else:
        return None
    if any(source.session.outputs[name] == "tensor(bool)" for name in names):
        return None
    raw = source.session.asked_for(names)

    def run(rows: Feed) -> tuple[NDArray[Any], ...]:
        return (np.concatenate([np.reshape(each, (len(rows), -1)) for each in raw(rows)], axis=1),)

    _, (numbers,) = run_alone(run, source.rows, _SECONDS)
    return names if classification.sums_to_one(numbers) else None


def _floats(source: Source) -> Sequence[str]:
    found = _look(source)
    if len(found.wide) == 1:
        return found.wide
    return found.wide + found.flat
