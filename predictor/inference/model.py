"""Loads a model file or folder, finds out what it does, and runs batches of rows.

What a file's outputs look like, and which rows may run together, is found out in `load`, which picks a way to run and
to read them; `run` asks no questions.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference import lone_row, manifest, training_ranges
from predictor.inference.batch_trial import Mode
from predictor.inference.detector import load_score, table_of_its_own
from predictor.inference.onnx_graph import other_files
from predictor.inference.onnx_session import RUNTIME, Session
from predictor.inference.outputs import Outputs
from predictor.inference.runtime_errors import ModelError
from predictor.inference.table_input import Columns
from predictor.inference.table_model import as_table
from predictor.inference.tasks import tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from predictor.inference.checked_file import Checked
    from predictor.inference.manifest import Manifest
    from predictor.inference.signature import Signature, TensorSpec
    from predictor.inference.table_input import Feed, TableInput
    from predictor.inference.tasks.task import Task

__all__ = ["Model", "ModelError", "Outputs", "load"]

BATCH_ROWS = 256
"""So many rows may run together unless the caller of `load` says otherwise."""
_VERSION_DIGITS = 12
_TWO = 2
_LISTED = 8
"""Names in a sentence."""
_NO_TABLES: tuple[TableInput | None, TableInput | None] = (None, None)


class Model:
    """A loaded model; `load` makes it."""

    def __init__(
        self,
        about: Manifest,
        digest: str,
        task: Task,
        score: Checked | None,
        tables: tuple[TableInput, TableInput | None] | None,
        signature: Signature,
        provider: str,
        ranges: training_ranges.Ranges,
        *,
        found_something: bool,
    ) -> None:
        """Take over what `load` has checked; `tables` feed the model and, unless it takes the same, its detector.

        Without `tables` it takes tensors, not rows.

        With `found_something` the summary is a note: `model.toml` does not say it.
        """
        self.description = about
        self.digest = digest
        self.signature = signature
        self.runtime = RUNTIME
        """What runs it, and its version."""
        self.provider = provider
        """The execution provider that comes first."""
        self.ranges = ranges
        """What each feature was in training, as far as that is known."""
        self.summary = _summary(about)
        """What the model does, in one sentence."""
        parts = (task.checked, score) if score else (task.checked,)
        found = (self.summary,) if found_something else ()
        self.notes = (*found, *(note for part in parts for note in part.notes))
        """What a person should know when it starts, one sentence each."""
        self.together = all(part.mode is not Mode.ONE_BY_ONE for part in parts)
        """Whether the rows of a batch run together; else one by one."""
        self.own_label = task.checked.own_label or about.threshold is not None
        """Whether the answered label need not be the most probable class."""
        self._limit = about.threshold
        self._width = len(about.features) if about.key else None
        self.own_outputs: tuple[TensorSpec, ...] = task.checked.own
        """The file's own outputs, as far as each row or request has its part of them."""
        whole = task if isinstance(task, tensors.Tensors) else None
        self.tensors = whole.found if whole else None
        """How it takes tensors; None if it takes rows."""
        self.shapeless: frozenset[str] = whole.shapeless if whole else frozenset()
        """Inputs that may have any shape."""
        self._table, self._table_detector = tables or _NO_TABLES
        self._answer = task.answer
        self._run, self._run_whole = task.checked.run, task.checked.whole
        self._score = score.run if score else None
        self._threshold = np.float32(about.outlier.threshold if about.outlier else 0)

    def run(self, rows: Sequence[Sequence[Any]] | NDArray[Any]) -> Outputs:
        """Return the outputs for validated rows in the order of the features, at least one; a matrix will do, too.

        What stands in a row behind the features is the caller's key, which no model is given.
        Any number of threads may call at once; the GIL is free while a session runs.
        Raises what the runtime raises (its exceptions share no base but Exception): then no row has an output.
        """
        feed = self.feed(rows)
        outputs = self._answer(self._run(feed))
        return outputs if self._limit is None and self._score is None else self._scored(outputs, feed, rows)

    def feed(self, rows: Sequence[Sequence[Any]] | NDArray[Any]) -> Feed:
        """Return rows as the runtime takes them."""
        if self._table is None:
            msg = "this model takes tensors, not rows"
            raise TypeError(msg)
        return self._table.feed(self._without_key(rows))

    def run_feed(
        self, feed: Feed | Mapping[str, NDArray[Any]], rows: Sequence[Sequence[Any]] = (), *, own: bool = True
    ) -> Outputs:
        """Return the outputs for what the runtime takes, with the file's own ones unless not `own`; raises as `run`.

        `rows` are the same as values, for a detector that takes them otherwise.
        """
        ready = feed if isinstance(feed, Columns | np.ndarray) else Columns(feed)
        if not own:
            return self._scored(self._answer(self._run(ready)), ready, rows)
        found = self._run_whole(ready)
        count = len(found) - len(self.own_outputs)
        named = {spec.name: part for spec, part in zip(self.own_outputs, found[count:], strict=True)}
        return self._scored(self._answer(found[:count]), ready, rows)._replace(own=named)

    def _without_key(self, rows: Sequence[Sequence[Any]] | NDArray[Any]) -> Sequence[Sequence[Any]] | NDArray[Any]:
        return [row[: self._width] for row in rows] if self._width else rows

    def _scored(self, outputs: Outputs, feed: Feed, rows: Sequence[Sequence[Any]] | NDArray[Any]) -> Outputs:
        if self._limit is not None:
            # In the probabilities' own type: float32's 0.3 is 0.3.
            outputs = outputs._replace(labels=(outputs.probabilities[:, 1] >= self._limit).astype(np.intp))
        if self._score is None:
            return outputs
        (scores,) = self._score(
            feed if self._table_detector is None else self._table_detector.feed(self._without_key(rows))
        )
        probabilities, labels, _, _, values, own = outputs
        return Outputs(probabilities, labels, scores < self._threshold, scores, values, own)


def _summary(about: Manifest) -> str:
    """Return in one sentence what a model does."""
    if about.gives == "tensors":
        return f"{about.name}@{about.version} is a model of tensors"
    rows = f"rows of {len(about.features)} {'feature' if len(about.features) == 1 else 'features'}"
    names = about.labels or about.values
    listed = ", ".join(names[:_LISTED]) + (f", … ({len(names)})" if len(names) > _LISTED else "")
    what = {
        "probabilities": f"one of {len(about.labels)} labels: {listed}",
        "label": "a label of the model's own" + (f" with {', '.join(about.values[:_LISTED])}" if about.values else ""),
        "values": f"{len(about.values)} {'number' if len(about.values) == 1 else 'numbers'}: {listed}",
    }[about.gives]
    from_on = f", {about.labels[1]} from {about.threshold:g} on" if about.threshold is not None else ""
    return f"{about.name}@{about.version} is a model for {about.task}: {rows} to {what}{from_on}"


def load(path: Path, batch_rows: int = BATCH_ROWS, *, name: str | None = None, version: str | None = None) -> Model:
    """Return the model in a folder or a file, checked by running its sample and others.

    Raises DescriptionError or ModelError. Up to `batch_rows` rows are tried together.
    `name` and `version` are what the folders around it say of it, if they do.
    The digest is the SHA-256 of what sha256sum prints for the description, its ONNX files and the files with their
    weights in the order of their names, for example
    `LC_ALL=C sha256sum classifier.onnx model.toml outlier.onnx | sha256sum`.
    """
    about = manifest.read(path, name, version)
    folder = path if path.is_dir() else path.parent
    files = _files(folder, about, [manifest.FILE] if path.is_dir() else [])
    digest = _digest(files)

    def session(file: str) -> Session:
        others = {name: files[name] for name in other_files(files[file])}
        return Session(folder / file, files[file], others, about.runtime)

    opened = session(about.classifier.file)
    most = max(min(batch_rows, about.batch_rows or batch_rows), 2)
    ranges = training_ranges.ranges(path) if path.is_dir() else {}
    found = as_table(opened, about, files[opened.file], ranges, most)
    complete = replace(about, version=about.version or digest.removeprefix("sha256:")[:_VERSION_DIGITS])
    if found is None:
        if about.batch_inline:
            opened.refuse("[batching] inline is for rows of floats, and it takes tensors")
        task = tensors.load(opened, files[opened.file], most)
        logs = tensors.logs(opened, about)
        complete = replace(
            complete, task=task.name, gives=task.gives, batch_rows=task.found.batch_rows, tensor_logs=logs
        )
        return Model(
            complete, digest, task, None, None, opened.signature, opened.provider, {}, found_something=not about.task
        )
    if any(about.tensor_logs):
        opened.refuse('[[inputs]] and [[outputs]] are for task = "tensors"; wanted [[features]] for a model of rows')
    table = found.table
    if about.threshold is not None and (found.task.gives != "probabilities" or len(found.task.labels) != _TWO):
        opened.refuse(
            f"threshold = {about.threshold} is for two labels with probabilities, and it gives "
            + (f"{len(found.task.labels)} labels" if found.task.gives == "probabilities" else "no probabilities")
        )
    score, own_table = None, None
    if about.outlier:
        detector = session(about.outlier.file)
        own_table = table_of_its_own(detector, opened, found.features)
        score = load_score(detector, about.outlier.score, found.rows(own_table or table), most)
    complete = replace(
        complete,
        features=found.features,
        labels=found.task.labels,
        task=found.task.name,
        values=found.task.values,
        gives=found.task.gives,
    )
    made = Model(
        complete,
        digest,
        found.task,
        score,
        (table, own_table),
        opened.signature,
        opened.provider,
        ranges,
        found_something=not (about.features and about.labels and about.task),
    )
    if about.batch_inline:
        files_run = [about.classifier.file, *([about.outlier.file] if about.outlier else [])]
        made.notes += (lone_row.check(path, complete, made.run, [files[name] for name in files_run]),)
    return made


def _files(folder: Path, about: Manifest, more: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of all files that make the model, by name in the order of the names."""
    models = [about.classifier.file] + ([about.outlier.file] if about.outlier else [])
    files = {name: _content(folder / name) for name in sorted({*models, *more})}
    for name in models:
        for other in other_files(files[name]):
            if other not in files:
                if "/" in other or "\\" in other or not (folder / other).is_file():
                    where = f"{folder / name}: its weights are in another file, {other!r}"
                    msg = f"{where}, which is not there; wanted it in the same folder."
                    raise ModelError(msg)
                files[other] = _content(folder / other)
    return dict(sorted(files.items()))


def _digest(files: Mapping[str, bytes]) -> str:
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise ModelError(msg) from error
