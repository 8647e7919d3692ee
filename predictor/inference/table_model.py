"""A file as a model of rows: its features, how they reach it, and what its outputs mean for a row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from predictor.core.features import aliases
from predictor.inference.onnx_graph import choices_of, takes_missing, texts_of
from predictor.inference.signature import FLOATS
from predictor.inference.table_input import found_features
from predictor.inference.tasks import tensors
from predictor.inference.tasks.finding import find
from predictor.inference.tasks.task import Source
from predictor.inference.trial_rows import table_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.core.features import Feature
    from predictor.inference.manifest import Manifest
    from predictor.inference.onnx_session import Session
    from predictor.inference.table_input import Feed, TableInput
    from predictor.inference.tasks.task import Task
    from predictor.inference.training_ranges import Ranges

_KNOWN_TEXTS = 200
_CHOICES = 100
"""Categories that a person may choose from."""
_NAMED = frozenset({"BYTES", "BOOL"})


class TableModel(NamedTuple):
    """A file whose inputs are rows of a table, and what its outputs mean for one."""

    features: tuple[Feature, ...]
    table: TableInput
    task: Task
    rows: Callable[[TableInput], Feed]
    """Makes rows to try for what feeds a file."""


def as_table(opened: Session, about: Manifest, content: bytes, ranges: Ranges, most: int) -> TableModel | None:
    """Return a file as one of rows, None if it takes or gives other things and `model.toml` says nothing against it.

    Raises ModelError.
    """
    if about.task == tensors.NAME:
        if about.features:
            opened.refuse('task = "tensors" has no features; wanted neither [[features]] nor labels')
        return None
    features = about.features or _found_features(opened, about, content)
    if not features:
        return None
    if about.key and about.key.name in {each.name for each in features}:
        opened.refuse(f"it takes a feature {about.key.name!r} itself, so the key in model.toml needs another name")
    table = opened.table(features)
    features = _with_types(opened, features, table)
    choices = choices_of(content, _CHOICES)
    features = tuple(
        replace(each, choices=choices.get(name, ())) if each.datatype == "BYTES" else each
        for each, name in zip(features, table.names(), strict=True)
    )
    by_column = {at: ranges[each.name] for at, each in enumerate(features) if each.name in ranges}
    texts = texts_of(content, _KNOWN_TEXTS)

    def rows(table: TableInput) -> Feed:
        return table_rows(features, by_column, {at: texts for at, _ in enumerate(features)}, table)

    task = find(Source(opened, about, content, rows(table), most))
    return TableModel(features, table, task, rows) if task else None


def _found_features(session: Session, about: Manifest, content: bytes) -> tuple[Feature, ...]:
    """Return the features that the file tells of, none if it takes no rows and need not; raises ModelError."""
    found = found_features(session.signature.inputs)
    if found is None:
        if not (
            about.task
            or about.labels
            or about.values
            or about.activation
            or about.multilabel
            or about.outlier
            or about.threshold
        ):
            return ()
        listed = ", ".join(str(each) for each in session.signature.inputs)
        session.refuse(
            f"its inputs do not form rows of a table ({listed}); wanted (N, features), or (N, 1) for each feature"
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
