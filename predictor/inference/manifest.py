"""Reads `model.toml`: names, features, labels, files, and what each output means.

    name = "iris"                          # [a-z][a-z0-9_-]*
    version = "2025-01-31"
    task = "classification"                # or "regression", "tensors"; may be left out: found in the file

    file = "classifier.onnx"               # in the same folder; may be left out if it is the only one
    labels = ["setosa", "versicolor"]      # in the order of the probabilities; may be left out where the file has them
    probabilities = "probabilities"        # the output that holds them; may be left out, as all below
    label = "label"                        # the output that holds the model's own label; false: none
    activation = "softmax"                 # or "sigmoid": the output holds logits, or one probability
    threshold = 0.3                        # of two labels: from this probability on the answer is the second
    multilabel = true                      # several labels may be right at once
    values = ["p10", "p90"]                # the outputs that hold numbers

    [outlier]
    file = "outlier.onnx"
    score = "scores"                       # the output that holds one score a row
    threshold = 0.0                        # a row with a lower score is an outlier

    [[features]]                           # one for each column of the rows, in the order of the inputs
    name = "sepal_length"                  # any text
    unit = "cm"                            # "1" if it has none
    sample = 5.1
    missing = true                         # null is accepted as a missing value
    log = "keep"                           # "drop" or "hash"; what the record holds instead of it

    [[features]]                           # a column that the model is not given
    name = "order"
    role = "key"                           # by which the caller knows the row again
    sample = "A-1017"                      # a text or a whole number
    log = "keep"                           # or "hash"

    [[inputs]]                             # of a model of tensors, and likewise [[outputs]]: only to say
    name = "image"
    log = "drop"                           # or "hash", "keep"

    [log]                                  # may be left out
    outputs = "keep"                       # or "round", "hash", "drop": what the record holds of the answer
    decimals = 2                           # with "round" only: digits after the point, 0 to 15
    rows = "per_row"                       # or "per_request": as many rows of a request in one record as fit

    [session]
    threads = 1
    execution = "sequential"               # or "parallel"
    optimization = "all"                   # "extended", "basic", "off"
    arena = true
    extensions = true                      # operators of onnxruntime-extensions
    providers = ["CPUExecutionProvider"]

    [batching]
    rows = 64                              # run together at most; PREDICTOR_BATCH_ROWS if that is less
    wait = 0.005                           # seconds that fewer rows wait for company; else they do not wait
    inline = "50us"                        # instead: a lone row that takes no longer runs on the event loop

`kind = "classifier"` with a table `[classifier]` (`file`, `probabilities`, `label`) says the same as these keys do.
No other key is allowed: a misspelt key must not become a default.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from predictor.inference.feature_tables import features as _features
from predictor.inference.log_rules import KEEP_OUTPUTS, LogRules, OutputLog, RowsMode, log_rules, tensor_logs
from predictor.inference.model_name import PATTERN, name_of
from predictor.inference.runtime_options import Batching, Runtime
from predictor.inference.session_tables import batching, runtime
from predictor.inference.toml_table import DescriptionError, TomlTable, is_text, one_of, texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from predictor.core.features import Feature, Key, Log

FILE = "model.toml"
SUFFIX = ".onnx"
KINDS = ("classifier",)
TASKS = ("classification", "regression", "tensors")
ACTIVATIONS = ("softmax", "sigmoid")
Gives = Literal["probabilities", "label", "values", "tensors"]
"""Probabilities with a label; a label, perhaps beside values; values alone; tensors as they are."""
_OUTPUT = "the name of an output of the file"


@dataclass(frozen=True, slots=True)
class Classifier:
    """The model's ONNX file and the names of its outputs that hold the probabilities and its own label."""

    file: str
    probabilities: str | None = None
    """None: found in the file."""
    label: str | Literal[False] | None = None
    """False: none is to be used; None: whichever looks like one."""


@dataclass(frozen=True, slots=True)
class Detector:
    """The ONNX file that scores and the name of its output of scores; an outlier is a score below `threshold`."""

    file: str
    score: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a model; features are in the input's order, labels in the probabilities' order.

    As `read` returns it, what `model.toml` leaves out is empty or None; as part of a loaded model it is complete.
    """

    name: str
    version: str
    features: tuple[Feature, ...]
    labels: tuple[str, ...]
    classifier: Classifier
    outlier: Detector | None
    outputs: OutputLog = KEEP_OUTPUTS
    log_rows: RowsMode | None = None
    """How many rows a record has; None: what is usual for the task."""
    tensor_logs: tuple[Mapping[str, Log], Mapping[str, Log]] = ({}, {})
    """What the record holds of inputs and outputs by name, of a model of tensors."""
    task: str | None = None
    activation: str | None = None
    multilabel: bool = False
    values: tuple[str, ...] = ()
    """The outputs that hold numbers, as `read` returns it; the names of the numbers in a loaded model."""
    runtime: Runtime = Runtime()
    gives: Gives = "probabilities"
    """What a row's answer is, in a loaded model."""
    batch_rows: int | None = None
    batch_wait: float = 0.0
    """Seconds that fewer rows wait for company."""
    batch_inline: float = 0.0
    """Seconds that a lone row may take that runs on the event loop; 0: none runs there."""
    threshold: float | None = None
    """Of two labels: from this probability on the answer is the second; None: the more probable one."""
    key: Key | None = None
    """By which callers know their rows again; no feature."""

    @property
    def columns(self) -> tuple[Feature, ...]:
        """What a row of a caller has: the features, and the key at its place."""
        if self.key is None:
            return self.features
        place = self.key.place
        return (*self.features[:place], self.key.column, *self.features[place:])


def read(path: Path, name: str | None = None, version: str | None = None) -> Manifest:
    """Return what is known of the model in a folder, or in an ONNX file; raises DescriptionError.

    `name` and `version` are what the folders around it say; that version stands before the one of `model.toml`.
    """
    if path.suffix == SUFFIX and not path.is_dir():
        return Manifest(name or name_of(path.stem), version or "", (), (), Classifier(path.name), None)
    if path.is_file():
        msg = f"{path} is not named like an ONNX file; wanted a name that ends in {SUFFIX}, or a folder with a {FILE}."
        raise DescriptionError(msg)
    path = path / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"{path} cannot be read: {reason}."
        raise DescriptionError(msg) from error
    return _description(TomlTable(path, values), path.parent, name, version)


def _description(top: TomlTable, folder: Path, name: str | None, version: str | None) -> Manifest:
    features, key = _features(top) if "features" in top else ((), None)
    together = batching(top.table("batching")) if "batching" in top else Batching()
    rules = log_rules(top.table("log")) if "log" in top else LogRules()
    description = Manifest(
        name=_name(top, name),
        version=_version(top, version),
        task=_task(top),
        labels=_labels(top),
        features=features,
        key=key,
        threshold=_threshold(top) if "threshold" in top else None,
        classifier=_classifier(top, folder),
        activation=top.text("activation", one_of(ACTIVATIONS), "|".join(ACTIVATIONS)) if "activation" in top else None,
        multilabel=top.flag("multilabel") if "multilabel" in top else False,
        values=texts(top, "values", "names of outputs of the file") if "values" in top else (),
        outlier=_detector(top.table("outlier")) if "outlier" in top else None,
        outputs=rules.outputs,
        log_rows=rules.rows,
        tensor_logs=(tensor_logs(top, "inputs"), tensor_logs(top, "outputs")),
        runtime=runtime(top.table("session")) if "session" in top else Runtime(),
        batch_rows=together.rows,
        batch_wait=together.wait,
        batch_inline=together.inline,
    )
    top.close()
    return description


def _name(top: TomlTable, given: str | None) -> str:
    if given is not None and "name" not in top:
        return given
    name = top.text("name", f"a name of the form {PATTERN}", PATTERN)
    if given not in {None, name}:
        top.refuse("name", name, f"{given!r}, as its folder is called, or no name")
    return name


def _version(top: TomlTable, given: str | None) -> str:
    own = top.text("version") if given is None or "version" in top else ""
    return given or own


def _task(top: TomlTable) -> str | None:
    if "kind" in top:
        top.text("kind", one_of(KINDS), "|".join(KINDS))
        return "classification"
    return top.text("task", one_of(TASKS), "|".join(TASKS)) if "task" in top else None


def _threshold(top: TomlTable) -> float:
    wanted = "a probability between 0 and 1"
    threshold = top.take("threshold", wanted)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 1:
        top.refuse("threshold", threshold, wanted)
    return float(threshold)


def _labels(top: TomlTable) -> tuple[str, ...]:
    wanted = "two or more different, non-empty strings"
    if "labels" not in top:
        return ()
    labels = top.take("labels", wanted)
    if not isinstance(labels, list) or not all(map(is_text, labels)) or not 1 < len(labels) == len(set(labels)):
        top.refuse("labels", labels, wanted)
    return tuple(labels)


def _classifier(top: TomlTable, folder: Path) -> Classifier:
    table = top.table("classifier") if "classifier" in top else top
    classifier = Classifier(
        _file(table) if "file" in table or table is not top else _only_file(top, folder),
        table.text("probabilities", _OUTPUT) if "probabilities" in table or table is not top else None,
        _label(table),
    )
    if table is not top:
        table.close()
    return classifier


def _only_file(top: TomlTable, folder: Path) -> str:
    try:
        found = sorted(each.name for each in folder.iterdir() if each.suffix == SUFFIX)
    except OSError:
        found = []
    return found[0] if len(found) == 1 else _file(top)


def _label(table: TomlTable) -> str | Literal[False] | None:
    if "label" not in table:
        return None
    wanted = f"{_OUTPUT}, or false"
    label = table.take("label", wanted)
    if label is False or (is_text(label) and label):
        return cast("str | Literal[False]", label)
    return table.refuse("label", label, wanted)


def _detector(table: TomlTable) -> Detector:
    detector = Detector(_file(table), table.text("score", _OUTPUT), table.number("threshold"))
    table.close()
    return detector


def _file(table: TomlTable) -> str:
    # Without separators it stays in the folder.
    return table.text("file", "the name of an .onnx file in the same folder", r"[A-Za-z0-9_][A-Za-z0-9._-]*\.onnx")
