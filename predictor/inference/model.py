"""A model folder as something that runs: held to its description once, in `load`, then as lean as can be.

What a classifier's output looks like is found out in `load`, which picks a way to read it; `run` asks no questions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from predictor.inference import description
from predictor.inference.failures import ModelError
from predictor.inference.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from predictor.inference.description import Description
    from predictor.inference.session import Floats, Run

__all__ = ["Model", "ModelError", "Outputs", "load"]

_TENSOR = "tensor(float)"
# What skl2onnx writes by default: a map a row. Numbers count the labels from 0; strings are the labels themselves.
_KEYS: dict[str, Callable[[tuple[str, ...]], list[int | str]]] = {
    "seq(map(int64,tensor(float)))": lambda labels: list(range(len(labels))),
    "seq(map(string,tensor(float)))": list,
}
_SUM_TOLERANCE = 1e-3  # a thousand labels in float32 stay well within, scores that are no probabilities do not
_TRIED_ROWS = 3  # more than one, and not a number that a shape is likely to have by chance


class Outputs(NamedTuple):
    """What a batch of N rows gave, unrounded and unchecked: a model may give NaN for a row, and that row alone."""

    probabilities: Floats  # (N, labels)
    outliers: NDArray[np.bool_] | None  # (N,), None without a detector
    scores: Floats | None  # (N,), None without a detector


class Model:
    """A loaded model; `load` makes it."""

    def __init__(self, about: Description, digest: str, classify: Run, score: Run | None) -> None:
        """Take over what `load` has checked."""
        self.description = about
        self.digest = digest
        self._classify = classify
        self._score = score
        self._threshold = np.float32(about.outlier.threshold if about.outlier else 0)

    def run(self, rows: Floats) -> Outputs:
        """Return the outputs for `rows`, float32 (N, features), N at least 1.

        Any number of threads may call at once; the GIL is free while a session runs.
        Raises what the runtime raises (its exceptions share no base but Exception): then no row has an output.
        """
        probabilities = self._classify(rows)
        if self._score is None:
            return Outputs(probabilities, None, None)
        scores = self._score(rows)
        return Outputs(probabilities, scores < self._threshold, scores)


def load(folder: Path) -> Model:
    """Return the model in `folder`, checked by running its sample; raises DescriptionError or ModelError.

    The digest is the SHA-256 of what sha256sum prints for the description and its ONNX files in the order of their
    names, for example `LC_ALL=C sha256sum classifier.onnx model.toml outlier.onnx | sha256sum`.
    """
    about = description.read(folder)
    named = [about.classifier.file] + ([about.outlier.file] if about.outlier else [])
    files = {name: _content(folder / name) for name in sorted({description.FILE, *named})}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    sample = np.array([[feature.sample for feature in about.features]] * _TRIED_ROWS, np.float32)

    def session(file: str, output: str) -> Session:
        return Session(folder / file, files[file], output, len(about.features))

    classify = _classify(session(about.classifier.file, about.classifier.probabilities), about.labels, sample)
    score = _score(session(about.outlier.file, about.outlier.score), sample) if about.outlier else None
    return Model(about, f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}", classify, score)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise ModelError(msg) from error


def _classify(session: Session, labels: tuple[str, ...], sample: Floats) -> Run:
    """Return a function from rows to their probabilities in the order of `labels`."""
    if session.output_type == _TENSOR:
        run = session.batched(_as_it_is)
    elif session.output_type in _KEYS:
        keys = _KEYS[session.output_type](labels)
        found = list(session.try_out(session.run, sample[:1])[0])
        if set(found) != set(keys):
            session.refuse(f"its probabilities have the keys {found}, but the description calls for {keys}")
        run = session.batched(_values_of(keys))
    else:
        wanted = f"a {_TENSOR} of shape (N, {len(labels)}) or a sequence of maps from labels to float"
        session.refuse(f"its output of probabilities is a {session.output_type}; wanted {wanted}")
    probabilities = session.try_out(run, sample)
    _check_shape(session, "probabilities", probabilities, (len(sample), len(labels)))
    if not np.allclose(probabilities.sum(axis=1), 1, rtol=0, atol=_SUM_TOLERANCE) or probabilities.min() < 0:
        shown = probabilities[0].tolist()
        session.refuse(f"it gives the sample {shown}; wanted probabilities, not negative and with a sum of 1")
    return run


def _score(session: Session, sample: Floats) -> Run:
    """Return a function from rows to their scores, one a row."""
    if session.output_type != _TENSOR:
        session.refuse(f"its output of scores is a {session.output_type}; wanted a {_TENSOR}")
    run = session.batched(_flat)
    scores = session.try_out(run, sample)
    _check_shape(session, "scores", scores, (len(sample),))
    if not np.isfinite(scores).all():
        session.refuse(f"it gives the sample the score {scores[0]}; wanted a finite number")
    return run


def _check_shape(session: Session, what: str, found: Floats, wanted: tuple[int, ...]) -> None:
    if found.shape != wanted:
        given = f"its {what} for {wanted[0]} rows have the shape {found.shape}"
        session.refuse(f"{given}; wanted {wanted}, as the description has it")


def _as_it_is(tensor: Floats) -> Floats:
    return tensor


def _flat(tensor: Floats) -> Floats:
    return tensor.reshape(-1)


def _values_of(keys: Sequence[int | str]) -> Callable[[Any], Floats]:
    def decode(maps: list[dict[int | str, float]]) -> Floats:
        return np.array([[each[key] for key in keys] for each in maps], np.float32)

    return decode
