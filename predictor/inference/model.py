"""Loads a model folder, checks it against its description, and runs batches of rows.

What a file's outputs look like, and which rows may run together, is found out in `load`, which picks a way to run and
to read them; `run` asks no questions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from predictor.inference import classifier, manifest, training_ranges
from predictor.inference.batch_trial import Mode, rows_to_try
from predictor.inference.checked_file import TENSOR, Checked, checked, tried
from predictor.inference.onnx_session import Session
from predictor.inference.runtime_errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts
    from predictor.inference.manifest import Manifest
    from predictor.inference.onnx_session import Floats

__all__ = ["Model", "ModelError", "Outputs", "load"]

BATCH_ROWS = 256
"""So many rows may run together unless the caller of `load` says otherwise."""


class Outputs(NamedTuple):
    """What a batch of N rows gave, unrounded and unchecked: a model may give NaN for a row, and that row alone.

    A row whose own label is none of the description's has NaN too: there is no answer for it.
    """

    probabilities: Floats  # (N, labels)
    labels: NDArray[np.intp]  # (N,), places among the description's labels
    outliers: NDArray[np.bool_] | None  # (N,), None without a detector
    scores: Floats | None  # (N,), None without a detector


class Model:
    """A loaded model; `load` makes it."""

    def __init__(
        self, about: Manifest, digest: str, classify: Checked, score: Checked | None, ranges: training_ranges.Ranges
    ) -> None:
        """Take over what `load` has checked."""
        self.description = about
        self.digest = digest
        self.ranges = ranges
        """What each feature was in training, as far as that is known."""
        parts = (classify, score) if score else (classify,)
        self.notes = tuple(note for part in parts for note in part.notes)
        """What a person should know when it starts, one sentence each."""
        self.together = all(part.mode is not Mode.ONE_BY_ONE for part in parts)
        """Whether the rows of a batch run together; else one by one."""
        self.own_label = classify.own_label
        """Whether the answered label is the file's own, which need not be the most probable class."""
        self._classify = classify.run
        self._score = score.run if score else None
        self._threshold = np.float32(about.outlier.threshold if about.outlier else 0)

    def run(self, rows: Floats) -> Outputs:
        """Return the outputs for `rows`, float32 (N, features), N at least 1.

        Any number of threads may call at once; the GIL is free while a session runs.
        Raises what the runtime raises (its exceptions share no base but Exception): then no row has an output.
        """
        probabilities, labels = self._classify(rows)
        if self._score is None:
            return Outputs(probabilities, labels, None, None)
        (scores,) = self._score(rows)
        return Outputs(probabilities, labels, scores < self._threshold, scores)


def load(folder: Path, batch_rows: int = BATCH_ROWS) -> Model:
    """Return the model in `folder`, checked by running its sample and others; raises DescriptionError or ModelError.

    Up to `batch_rows` rows are tried together.
    The digest is the SHA-256 of what sha256sum prints for the description and its ONNX files in the order of their
    names, for example `LC_ALL=C sha256sum classifier.onnx model.toml outlier.onnx | sha256sum`.
    """
    about = manifest.read(folder)
    named = [about.classifier.file] + ([about.outlier.file] if about.outlier else [])
    files = {name: _content(folder / name) for name in sorted({manifest.FILE, *named})}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    digest = f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}"
    ranges = training_ranges.ranges(folder)
    by_column = {at: ranges[each.name] for at, each in enumerate(about.features) if each.name in ranges}
    rows = rows_to_try([feature.sample for feature in about.features], by_column)
    most = max(batch_rows, 2)

    def session(file: str) -> Session:
        return Session(folder / file, files[file], len(about.features))

    opened = session(about.classifier.file)
    classify = classifier.check(opened, about, files[opened.file], rows, most)
    score = _score(session(about.outlier.file), about.outlier.score, rows, most) if about.outlier else None
    return Model(about, digest, classify, score, ranges)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise ModelError(msg) from error


def _score(session: Session, output: str, rows: Floats, most: int) -> Checked:
    """Return the function from rows to their scores, one a row."""
    kind = session.output_type(output)
    if kind != TENSOR:
        session.refuse(f"its output of scores is a {kind}; wanted a {TENSOR}")
    raw = session.asked_for([output])

    def run(rows: Floats) -> Parts:
        return (raw(rows)[0].reshape(-1),)

    mode, _, (scores,) = tried(session, run, rows, most, "scores", ())
    if not np.isfinite(scores[0]):
        session.refuse(f"it gives the sample the score {scores[0]}; wanted a finite number")
    return checked(session, run, mode)
