"""Names of classes by index: from the log's own records, or from the person who asks.

A record holds probabilities in the order of the model's labels, but no list of these. It also names one class, most
often the most probable one, and has that class's probability as the confidence; so each class that was ever named tells
its place; a tie tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_numbers = msgspec.json.Decoder(list[float])
_row = msgspec.json.Decoder(list[float | int | bool | str | None])
_T = TypeVar("_T")


def numbers(attributes: Mapping[str, Any], name: str) -> list[float]:
    """Return an attribute that is a JSON array of numbers, none if it is absent; raises ValueError."""
    return _array(_numbers, attributes, name)


def probabilities(attributes: Mapping[str, Any]) -> list[float]:
    """Return the probabilities of a record, none if it has none; raises ValueError."""
    return numbers(attributes, "prediction.output")


def wide_row(attributes: Mapping[str, Any]) -> list[float | int | bool | str | None]:
    """Return the values of a row in JSON: None was dropped or is missing; raises ValueError."""
    return _array(_row, attributes, "prediction.input_json")


def _array(decoder: msgspec.json.Decoder[list[_T]], attributes: Mapping[str, Any], name: str) -> list[_T]:
    try:
        return decoder.decode(attributes.get(name, "[]"))
    except msgspec.MsgspecError as error:
        msg = f"{name} is not a JSON array of numbers: {error}"
        raise ValueError(msg) from error


class LearnedClasses:
    """The classes of one model, learned from its records."""

    def __init__(self) -> None:
        """Know of none."""
        self._labels: list[str | None] = []
        self._unknown = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._labels)

    @property
    def labels(self) -> Sequence[str | None]:
        """What is known of each."""
        return self._labels

    def complete(self, size: int) -> bool:
        """Tell whether an output of so many probabilities has nothing left to tell."""
        return size <= len(self._labels) and not self._unknown

    def learn(self, output: Sequence[float], label: str | None, confidence: float | None = None) -> None:
        """Take one record's probabilities, its class, and that class's probability (the largest one, if not said)."""
        if len(output) > len(self._labels):
            self._unknown += len(output) - len(self._labels)
            self._labels += [None] * (len(output) - len(self._labels))
        if label is None or not output:
            return
        shown = max(output) if confidence is None else confidence
        if output.count(shown) == 1 and self._labels[at := output.index(shown)] is None:
            self._labels[at] = label
            self._unknown -= 1

    def merge(self, other: LearnedClasses) -> None:
        """Take what another one has learned of later records."""
        learned = other.labels
        more = max(0, len(learned) - len(self))
        self._labels += [None] * more
        self._unknown += more
        for at, label in enumerate(learned):
            if label is not None and self._labels[at] is None:
                self._labels[at] = label
                self._unknown -= 1

    def columns(self, given: Sequence[str] = ()) -> list[str]:
        """Return one column name a class: by the `given` labels if there are as many, by what was learned, by place."""
        if len(given) == len(self._labels):
            return [f"probability_{label}" for label in given]
        # A label is never taken for a place: no label that was learned begins so, even if it is a number.
        names = [label or f"#{at}" for at, label in enumerate(self._labels)]
        return [f"probability_{name}" for name in names]
