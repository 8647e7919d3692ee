"""Loads a model file or folder, finds out what it does, and runs batches of rows.

What a file's outputs look like, and which rows may run together, is found out in `load`, which picks a way to run and
to read them; `run` asks no questions.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.core.features import aliases
from predictor.inference import manifest, training_ranges
from predictor.inference.batch_trial import Mode
from predictor.inference.checked_file import Checked, checked, tried
from predictor.inference.onnx_graph import other_files, takes_missing, texts_of
from predictor.inference.onnx_session import RUNTIME, Session
from predictor.inference.outputs import Outputs
from predictor.inference.runtime_errors import ModelError
from predictor.inference.signature import FLOATS
from predictor.inference.table_input import found_features
from predictor.inference.tasks.finding import find
from predictor.inference.tasks.task import Source
from predictor.inference.trial_rows import table_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from predictor.core.features import Feature
    from predictor.inference.batch_trial import Parts
    from predictor.inference.manifest import Manifest
    from predictor.inference.signature import Signature
    from predictor.inference.table_input import Feed, TableInput
    from predictor.inference.tasks.task import Task

__all__ = ["Model", "ModelError", "Outputs", "load"]

BATCH_ROWS = 256
"""So many rows may run together unless the caller of `load` says otherwise."""
_TENSOR = "tensor(float)"
_KNOWN_TEXTS = 200
_VERSION_DIGITS = 12
_TWO = 2
_LISTED = 8
"""Names in a sentence."""
_NAMED = frozenset({"BYTES", "BOOL"})


class Model:
    """A loaded model; `load` makes it."""

    def __init__(
        self,
        about: Manifest,
        digest: str,
        task: Task,
        score: Checked | None,
        tables: tuple[TableInput, TableInput | None],
        signature: Signature,
        provider: str,
        ranges: training_ranges.Ranges,
        *,
        found_something: bool,
    ) -> None:
        """Take over what `load` has checked; `tables` feed the model and, unless it takes the same, its detector.

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
        self._feed, self._feed_detector = tables[0].feed, tables[1].feed if tables[1] else None
        self._outputs = task.outputs
        self._limit = about.threshold
        self._width = len(about.features) if about.key else None
        self._score = score.run if score else None
        self._threshold = np.float32(about.outlier.threshold if about.outlier else 0)

    def run(self, rows: Sequence[Sequence[Any]] | NDArray[Any]) -> Outputs:
        """Return the outputs for validated rows in the order of the features, at least one; a matrix will do, too.

        What stands in a row behind the features is the caller's key, which no model is given.
        Any number of threads may call at once; the GIL is free while a session runs.
        Raises what the runtime raises (its exceptions share no base but Exception): then no row has an output.
        """
        if self._width:
            rows = [row[: self._width] for row in rows]
        feed = self._feed(rows)
        outputs = self._outputs(feed)
        if self._limit is not None:
            # In the probabilities' own type: float32's 0.3 is 0.3.
            outputs = outputs._replace(labels=(outputs.probabilities[:, 1] >= self._limit).astype(np.intp))
        if self._score is None:
            return outputs
        (scores,) = self._score(feed if self._feed_detector is None else self._feed_detector(rows))
        probabilities, labels, _, _, values = outputs
        return Outputs(probabilities, labels, scores < self._threshold, scores, values)


def _summary(about: Manifest) -> str:
    """Return in one sentence what a model does."""
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
    content = files[opened.file]
    features = about.features or _found_features(opened, content)
    if about.key and about.key.name in {each.name for each in features}:
        opened.refuse(f"it takes a feature {about.key.name!r} itself, so the key in model.toml needs another name")
    table = opened.table(features)
    features = _with_types(opened, features, table)
    ranges = training_ranges.ranges(folder) if path.is_dir() else {}
    by_column = {at: ranges[each.name] for at, each in enumerate(features) if each.name in ranges}
    texts = texts_of(content, _KNOWN_TEXTS)
    rows = table_rows(features, by_column, {at: texts for at, _ in enumerate(features)}, table)
    most = max(min(batch_rows, about.batch_rows or batch_rows), 2)
    task = find(Source(opened, about, content, rows, most))
    if about.threshold is not None and (task.gives != "probabilities" or len(task.labels) != _TWO):
        opened.refuse(
            f"threshold = {about.threshold} is for two labels with probabilities, and it gives "
            + (f"{len(task.labels)} labels" if task.gives == "probabilities" else "no probabilities")
        )
    score, own_table = None, None
    if about.outlier:
        detector = session(about.outlier.file)
        own_table = _table_of_its_own(detector, opened, features)
        its_rows = table_rows(features, by_column, {at: texts for at, _ in enumerate(features)}, own_table or table)
        score = _score(detector, about.outlier.score, its_rows, most)
    complete = replace(
        about,
        version=about.version or digest.removeprefix("sha256:")[:_VERSION_DIGITS],
        features=features,
        labels=task.labels,
        task=task.name,
        values=task.values,
        gives=task.gives,
    )
    return Model(
        complete,
        digest,
        task,
        score,
        (table, own_table),
        opened.signature,
        opened.provider,
        ranges,
        found_something=not (about.features and about.labels and about.task),
    )


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


def _found_features(session: Session, content: bytes) -> tuple[Feature, ...]:
    """Return the features that the file tells of; raises ModelError if it takes no rows of a table."""
    found = found_features(session.signature.inputs)
    if found is None:
        listed = ", ".join(str(each) for each in session.signature.inputs)
        session.refuse(
            f"its inputs are no rows of a table ({listed}); wanted (N, features), or (N, 1) for each feature"
        )
    missing = takes_missing(content)
    named = zip(found, aliases([each.name for each in found]), strict=True)
    return tuple(replace(each, alias=alias, missing=missing and each.datatype in FLOATS) for each, alias in named)


def _with_types(session: Session, features: Sequence[Feature], table: TableInput) -> tuple[Feature, ...]:
    """Return features with the datatypes of the file; raises ModelError for a sample of another type."""
    found = []
    for feature, datatype in zip(features, table.datatypes(), strict=True):
        sample = feature.sample
        kind = datatype if datatype in _NAMED else "number"
        if kind != ("BYTES" if isinstance(sample, str) else "BOOL" if isinstance(sample, bool) else "number"):
            session.refuse(f"the sample of {feature.name!r} is {sample!r}; wanted one that is {datatype}, as its input")
        if kind == "number":
            sample = float(sample or 0) if datatype in FLOATS else int(sample or 0)
        if feature.missing and datatype not in FLOATS:
            session.refuse(f"the feature {feature.name!r} is {datatype}, which has no missing values; wanted floats")
        found.append(replace(feature, datatype=datatype, sample=sample))
    return tuple(found)


def _table_of_its_own(detector: Session, model: Session, features: Sequence[Feature]) -> TableInput | None:
    """Return what feeds the detector, None if it takes the very arrays that the model takes."""
    table = detector.table(features)
    ours, theirs = detector.signature.inputs, model.signature.inputs
    if len(ours) == len(theirs) == 1 and ours[0].datatype == theirs[0].datatype and len(ours[0].shape) != 1:
        return None
    return table


def _score(session: Session, output: str, rows: Feed, most: int) -> Checked:
    """Return the function from rows to their scores, one a row."""
    kind = session.output_type(output)
    if kind != _TENSOR:
        session.refuse(f"its output of scores is a {kind}; wanted a {_TENSOR}")
    raw = session.asked_for([output])

    def run(rows: Feed) -> Parts:
        return (raw(rows)[0].reshape(-1),)

    mode, _, (scores,) = tried(session, run, rows, most, "scores", ())
    if not np.isfinite(scores[0]):
        session.refuse(f"it gives the sample the score {scores[0]}; wanted a finite number")
    return checked(session, run, mode)
