"""Checks that the description's labels stand in the order of the file's classes, and reads the file's own label.

The order is the file's own where it names its classes; else the arg max is held to the file's label on rows that reach
several classes. An order that is wrong stops the start. Where the order is right and a label is still not the arg max
(a support vector machine with probabilities, a threshold), the file's label is the answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.inference.onnx_graph import ClassNames

    Places: TypeAlias = Mapping[Any, int]  # from a class as the file names it to its place among the labels

TEXT = "tensor(string)"
LABEL_TYPES = {"tensor(int64)", "tensor(int32)", TEXT}
UNKNOWN = -1
"""In place of a label that is none of the description's."""


class Agreement(NamedTuple):
    """What the rows of a trial show of the file's labels beside the most probable classes."""

    reached: dict[int, int]
    """By each class that was the most probable one of a row: the label that most of its rows have."""
    rows: int
    others: int
    """Rows whose label is not the most probable class."""

    @property
    def likely(self) -> bool:
        """Whether it is a label at all: several classes were reached, and for most rows it is the most probable one."""
        return len(self.reached) > 1 and 2 * self.others < self.rows


def candidate(outputs: Mapping[str, str], probabilities: str) -> str | None:
    """Return the output that looks like the file's label, by type and name; None if there is none or several."""
    found = [name for name, kind in outputs.items() if kind in LABEL_TYPES and name != probabilities]
    named = [name for name in found if looks_so(name)] or found
    return named[0] if len(named) == 1 else None


def looks_so(output: str) -> bool:
    """Tell whether an output has the name of a label."""
    return "label" in output.lower() or "class" in output.lower()


def readings(values: Iterable[Any], labels: Sequence[str], classes: ClassNames | None) -> list[Places]:
    """Return what classes as the file names them may mean: names, places in the file's order, numbers from 0.

    Empty if none of these fits all values. Several fit where labels are numbers that do not begin at 0, and the file
    does not tell its classes.
    """
    values = list(values)
    found: list[Places] = []
    named = {str(value) for value in values} <= set(labels)
    if all(isinstance(value, str) for value in values):
        if named:
            found.append({label: at for at, label in enumerate(labels)})
    elif named and (not classes or _same_names(classes, labels)):
        found.append({int(label): at for at, label in enumerate(labels) if _is_int(label)})
    if classes and set(values) <= set(classes):
        found.append({value: at for at, value in enumerate(classes)})
    counted = {at: at for at in range(len(labels))}
    if not classes and set(values) <= set(counted) and not (found and set(found[0]) == set(counted)):
        found.append(counted)
    return found


def _is_int(label: str) -> bool:
    return label.removeprefix("-").isdecimal() and str(int(label)) == label


def _same_names(classes: ClassNames, labels: Sequence[str]) -> bool:
    return {str(value) for value in classes} == set(labels)


def misplaced(classes: ClassNames, labels: Sequence[str]) -> bool:
    """Tell whether a label has the name of one of the file's classes and another place.

    Numbers are names only if all are: five stars may well be the classes 0 to 4.
    """
    if isinstance(classes[0], int) and not _same_names(classes, labels):
        return False
    return any(str(value) in labels and labels.index(str(value)) != at for at, value in enumerate(classes))


def compare(probabilities: NDArray[np.float32], places: NDArray[np.intp]) -> Agreement:
    """Hold labels to the most probable classes; rows without a single most probable one tell nothing."""
    top = np.sort(probabilities, axis=1)[:, -2:]
    clear = np.isfinite(probabilities).all(axis=1) & (top[:, 0] < top[:, 1])
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for most, label in zip(probabilities[clear].argmax(axis=1).tolist(), places[clear].tolist(), strict=True):
        counts[most][label] += 1
    others = sum(number for most, labels in counts.items() for label, number in labels.items() if label != most)
    return Agreement(
        {most: labels.most_common(1)[0][0] for most, labels in sorted(counts.items())}, int(clear.sum()), others
    )


def swapped(reached: Mapping[int, int], *, certain: bool) -> bool:
    """Tell whether classes and labels stand in another order.

    They do if the classes that were reached have each another one's label, no two the same. Where those labels were not
    reached as classes, it may also be that the label is not meant to be the most probable class: then only with
    `certain` false.
    """
    moved = any(most != label for most, label in reached.items())
    one_to_one = len(set(reached.values())) == len(reached)
    return moved and one_to_one and (not certain or set(reached.values()) == set(reached))


def reader(places: Places) -> Callable[[NDArray[Any]], NDArray[np.intp]]:
    """Return a function from the file's labels to their places; UNKNOWN for what is none of them."""
    place = places.get

    def read(values: NDArray[Any]) -> NDArray[np.intp]:
        return np.array([place(value, UNKNOWN) for value in values.reshape(-1).tolist()], np.intp)

    return read
