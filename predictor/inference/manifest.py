"""Reads `model.toml`: names, features, labels, files, and what each output means.

    name = "iris"                          # [a-z][a-z0-9_-]*
    version = "2025-01-31"
    kind = "classifier"                    # the only kind so far
    labels = ["setosa", "versicolor"]      # in the order of the probabilities

    [classifier]
    file = "classifier.onnx"               # in the same folder
    probabilities = "probabilities"        # the output that holds them: a tensor (N, labels) or a sequence of maps

    label = "label"                        # may be left out: the output that holds the model's own label; false: none

    [outlier]                              # may be left out
    file = "outlier.onnx"
    score = "scores"                       # the output that holds one score a row
    threshold = 0.0                        # a row with a lower score is an outlier

    [[features]]                           # one for each column of the input, in its order
    name = "sepal_length"                  # [a-z][a-z0-9_]*
    unit = "cm"                            # "1" if it has none
    sample = 5.1
    log = "keep"                           # may be left out; "drop" or "hash": what the record holds instead of it

    [log]                                  # may be left out
    outputs = "keep"                       # or "round", "hash", "drop": what the record holds of the answer
    decimals = 2                           # with "round" only: digits after the point, 0 to 15

Every other key is needed and no other is allowed: a misspelt key must not become a default.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from predictor.inference.toml_table import DescriptionError, TomlTable, is_text

if TYPE_CHECKING:
    from pathlib import Path

FILE = "model.toml"
LogMode = Literal["keep", "drop", "hash"]
OutputMode = Literal["keep", "round", "hash", "drop"]
_MOST_DECIMALS = 15
KINDS = ("classifier",)
_TAKEN = {"json", "truncated", "sha256"}  # Loki turns prediction.input.json into prediction_input_json
_OUTPUT = "the name of an output of the file"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the input, with a value that is typical of it."""

    name: str
    unit: str
    sample: float
    log: LogMode = "keep"
    """What the record holds of it: the value, nothing, or a keyed hash."""


@dataclass(frozen=True, slots=True)
class OutputLog:
    """What the record holds of label, probabilities, confidence and outlier score."""

    mode: OutputMode = "keep"
    decimals: int = 0
    """Digits after the point that `round` leaves."""

    def __str__(self) -> str:
        """Return it as the record's scope has it: `drop`, `hash`, `round:2`."""
        return f"round:{self.decimals}" if self.mode == "round" else self.mode


KEEP_OUTPUTS = OutputLog()


@dataclass(frozen=True, slots=True)
class Classifier:
    """The ONNX file that classifies and the names of its outputs that hold the probabilities and its own label."""

    file: str
    probabilities: str
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
    """All of `model.toml`; features are in the input's order, labels in the probabilities' order."""

    name: str
    version: str
    kind: str
    features: tuple[Feature, ...]
    labels: tuple[str, ...]
    classifier: Classifier
    outlier: Detector | None
    outputs: OutputLog = KEEP_OUTPUTS


def read(folder: Path) -> Manifest:
    """Return the description of the model in `folder`; raises DescriptionError."""
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"{path} cannot be read: {reason}."
        raise DescriptionError(msg) from error
    return _description(TomlTable(path, values))


def _description(top: TomlTable) -> Manifest:
    wanted = "two or more different, non-empty strings"
    labels = top.take("labels", wanted)
    if not isinstance(labels, list) or not all(map(is_text, labels)) or not 1 < len(labels) == len(set(labels)):
        top.refuse("labels", labels, wanted)
    description = Manifest(
        name=top.text("name", "a name of the form [a-z][a-z0-9_-]*", "[a-z][a-z0-9_-]*"),
        version=top.text("version"),
        kind=top.text("kind", f"one of {', '.join(KINDS)}", "|".join(KINDS)),
        features=_features(top),
        labels=tuple(labels),
        classifier=_classifier(top.table("classifier")),
        outlier=_detector(top.table("outlier")) if "outlier" in top else None,
        outputs=_outputs(top.table("log")) if "log" in top else KEEP_OUTPUTS,
    )
    top.close()
    return description


def _features(top: TomlTable) -> tuple[Feature, ...]:
    features: dict[str, Feature] = {}
    for table in top.tables("features"):
        name = table.text("name", "a name of the form [a-z][a-z0-9_]*", "[a-z][a-z0-9_]*")
        if name in features:
            table.refuse("name", name, "a name that no feature before it has")
        # Some versions of Loki make one underscore of several: one of the two would hide the other there.
        if re.sub("_+", "_", name) in {re.sub("_+", "_", other) for other in features}:
            table.refuse("name", name, "a name that differs from those before it in more than repeated underscores")
        if name in _TAKEN:
            table.refuse("name", name, f"a name other than {', '.join(sorted(_TAKEN))}, which the record uses")
        unit = table.text("unit", 'a non-empty string, "1" for no unit')
        log = table.text("log", "keep, drop or hash", "keep|drop|hash") if "log" in table else "keep"
        features[name] = Feature(name, unit, table.number("sample"), cast("LogMode", log))
        table.close()
    return tuple(features.values())


def _classifier(table: TomlTable) -> Classifier:
    classifier = Classifier(_file(table), table.text("probabilities", _OUTPUT), _label(table))
    table.close()
    return classifier


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


def _outputs(table: TomlTable) -> OutputLog:
    mode = cast("OutputMode", table.text("outputs", "keep, round, hash or drop", "keep|round|hash|drop"))
    decimals = 0
    if mode == "round":
        wanted = f"a whole number from 0 to {_MOST_DECIMALS}"
        decimals = table.take("decimals", wanted)
        if type(decimals) is not int or not 0 <= decimals <= _MOST_DECIMALS:
            table.refuse("decimals", decimals, wanted)
    table.close()
    return OutputLog(mode, decimals)


def _file(table: TomlTable) -> str:
    # Without separators it stays in the folder.
    return table.text("file", "the name of an .onnx file in the same folder", r"[A-Za-z0-9_][A-Za-z0-9._-]*\.onnx")
