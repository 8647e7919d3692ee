"""Several labels at once: a probability for each, which do not exclude one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference.checked_file import Reading, checked, tried
from predictor.inference.onnx_graph import made_by
from predictor.inference.tasks import classification
from predictor.inference.tasks.activation import sigmoid
from predictor.inference.tasks.numbers import NamedNumbers, as_matrix, names_of, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.batch_trial import Parts
    from predictor.inference.tasks.task import Source


def load(source: Source, outputs: Sequence[str]) -> NamedNumbers:
    """Return the task; raises ModelError for numbers that are no probabilities."""
    session, labels = source.session, source.about.labels
    found = sizes(session, outputs, source.rows)
    if None in found.values():
        session.refuse(
            f"its outputs {', '.join(map(repr, outputs))} are not numbers for each row; wanted one for each label"
        )
    names = labels or names_of(found)
    squeeze = sigmoid if source.about.activation == "sigmoid" and not _made_so(source, outputs) else None

    def read(found: Sequence[Any]) -> Parts:
        numbers = as_matrix(found)
        return (squeeze(numbers) if squeeze else numbers,)

    reading = Reading(outputs, read)
    mode, _, (numbers,) = tried(session, reading.of(session), source.rows, source.most, "probabilities", (len(names),))
    beyond = (numbers < 0) | (numbers > 1)
    if beyond.any() or not np.isfinite(numbers[0]).all():
        row = numbers[beyond.any(axis=1).argmax()].tolist()
        session.refuse(f'it gives a row {row}; wanted numbers from 0 to 1: say activation = "sigmoid"')
    return NamedNumbers(classification.NAME, names, checked(session, reading, mode, source.rows))


def _made_so(source: Source, outputs: Sequence[str]) -> bool:
    return all(made_by(source.content, each) == "Sigmoid" for each in outputs)
