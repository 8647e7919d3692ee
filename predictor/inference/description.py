"""What `model.toml` says about the model beside it: names, features, labels, files and what each output means.

    name = "iris"                          # [a-z][a-z0-9_-]*
    version = "2025-01-31"
    kind = "classifier"                    # the only kind so far
    labels = ["setosa", "versicolor"]      # in the order of the probabilities

    [classifier]
    file = "classifier.onnx"               # in the same folder
    probabilities = "probabilities"        # the output that holds them: a tensor (N, labels) or a sequence of maps

    [outlier]                              # may be left out
    file = "outlier.onnx"
    score = "scores"                       # the output that holds one score a row
    threshold = 0.0                        # a row with a lower score is an outlier

    [[features]]                           # one for each column of the input, in its order
    name = "sepal_length"                  # [a-z][a-z0-9_]*
    unit = "cm"                            # "1" if it has none
    sample = 5.1

Every key is needed and no other is allowed: a misspelt key must not become a default.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

FILE = "model.toml"
KINDS = ("classifier",)
_LARGEST_FLOAT32 = 3.4028234663852886e38
_OUTPUT = "the name of an output of the file"


class DescriptionError(ValueError):
    """The description cannot be used; the message is one sentence: file, key, what was found, what was wanted."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the input, with a value that is typical of it."""

    name: str
    unit: str
    sample: float


@dataclass(frozen=True, slots=True)
class Classifier:
    """The ONNX file that classifies and the name of its output that holds the probabilities."""

    file: str
    probabilities: str


@dataclass(frozen=True, slots=True)
class Detector:
    """The ONNX file that scores and the name of its output of scores; an outlier is a score below `threshold`."""

    file: str
    score: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Description:
    """All of `model.toml`; features are in the input's order, labels in the probabilities' order."""

    name: str
    version: str
    kind: str
    features: tuple[Feature, ...]
    labels: tuple[str, ...]
    classifier: Classifier
    outlier: Detector | None


def read(folder: Path) -> Description:
    """Return the description of the model in `folder`; raises DescriptionError."""
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"{path} cannot be read: {reason}."
        raise DescriptionError(msg) from error
    return _description(_Table(path, values))


class _Table:
    """One table of the file; its methods take the value of a key, and `close` refuses what nobody took."""

    def __init__(self, path: Path, values: dict[str, Any], place: str = "") -> None:
        self._path = path
        self._left = dict(values)
        self._place = place

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, wanted: str) -> Any:  # noqa: ANN401 - the caller checks what TOML holds
        if key not in self._left:
            msg = f"{self._path}: {self._place}{key} is missing; wanted {wanted}."
            raise DescriptionError(msg)
        return self._left.pop(key)

    def text(self, key: str, wanted: str = "a non-empty string", pattern: str = ".+") -> str:
        value = self.take(key, wanted)
        if not _is_text(value) or not re.fullmatch(pattern, value):
            self.refuse(key, value, wanted)
        return str(value)

    def number(self, key: str) -> float:
        wanted = "a number that is finite as float32"
        value = self.take(key, wanted)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST_FLOAT32:
            self.refuse(key, value, wanted)
        return float(value)

    def table(self, key: str) -> _Table:
        value = self.take(key, "a table")
        if not isinstance(value, dict):
            self.refuse(key, value, "a table")
        return _Table(self._path, value, f"{self._place}{key}.")

    def tables(self, key: str) -> list[_Table]:
        wanted = "one table or more"
        value = self.take(key, wanted)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            self.refuse(key, value, wanted)
        return [_Table(self._path, item, f"{self._place}{key}[{index}].") for index, item in enumerate(value)]

    def close(self) -> None:
        for key, value in self._left.items():
            self.refuse(key, value, "no such key")

    def refuse(self, key: str, found: object, wanted: str) -> NoReturn:
        msg = f"{self._path}: {self._place}{key} is {found!r}; wanted {wanted}."
        raise DescriptionError(msg)


def _description(top: _Table) -> Description:
    wanted = "two or more different, non-empty strings"
    labels = top.take("labels", wanted)
    if not isinstance(labels, list) or not all(map(_is_text, labels)) or not 1 < len(labels) == len(set(labels)):
        top.refuse("labels", labels, wanted)
    description = Description(
        name=top.text("name", "a name of the form [a-z][a-z0-9_-]*", "[a-z][a-z0-9_-]*"),
        version=top.text("version"),
        kind=top.text("kind", f"one of {', '.join(KINDS)}", "|".join(KINDS)),
        features=_features(top),
        labels=tuple(labels),
        classifier=_classifier(top.table("classifier")),
        outlier=_detector(top.table("outlier")) if "outlier" in top else None,
    )
    top.close()
    return description


def _features(top: _Table) -> tuple[Feature, ...]:
    features: dict[str, Feature] = {}
    for table in top.tables("features"):
        name = table.text("name", "a name of the form [a-z][a-z0-9_]*", "[a-z][a-z0-9_]*")
        if name in features:
            table.refuse("name", name, "a name that no feature before it has")
        unit = table.text("unit", 'a non-empty string, "1" for no unit')
        features[name] = Feature(name, unit, table.number("sample"))
        table.close()
    return tuple(features.values())


def _classifier(table: _Table) -> Classifier:
    classifier = Classifier(_file(table), table.text("probabilities", _OUTPUT))
    table.close()
    return classifier


def _detector(table: _Table) -> Detector:
    detector = Detector(_file(table), table.text("score", _OUTPUT), table.number("threshold"))
    table.close()
    return detector


def _file(table: _Table) -> str:
    # Without separators it stays in the folder.
    return table.text("file", "the name of an .onnx file in the same folder", r"[A-Za-z0-9_][A-Za-z0-9._-]*\.onnx")


def _is_text(value: object) -> bool:
    """Tell whether `value` is a string that shows something and holds no control characters."""
    return isinstance(value, str) and value.isprintable() and bool(value.strip())
