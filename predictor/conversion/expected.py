"""What the original predicted: a label, numbers, or both, from one column of a table or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.conversion.table_file import Record
    from predictor.inference.manifest import Manifest


class Prediction(NamedTuple):
    """What the original or the converted model says of a row."""

    label: str | None
    numbers: tuple[float, ...]
    """Probabilities or values in the model's order; empty if none were expected."""


class ExpectedColumns:
    """Reads the original's predictions for one model."""

    def __init__(self, about: Manifest, columns: Sequence[str]) -> None:
        """Take the model and the columns."""
        self._columns = columns
        self._gives_label = about.gives != "values"
        self._labels = about.labels
        self._names = about.labels if about.gives == "probabilities" else about.values

    def of(self, record: Record) -> Prediction | None:
        """Return what a row is expected to be, None if that is missing; raises ValueError if it cannot be that."""
        values: list[Any] = []
        for column in self._columns:
            found = record.get(column)
            values += found if isinstance(found, list) else [found]
        if any(value is None or value == "" or value != value for value in values):  # noqa: PLR0124 - NaN
            return None
        count = len(self._names)
        with_label = self._gives_label and len(values) in {1, count + 1}
        numbers = values[1:] if with_label else values
        if not with_label and len(numbers) != count:
            wanted = f"{count} numbers" if count else "a label"
            if self._gives_label and count:
                wanted = f"a label, {wanted}, or both"
            msg = f"{len(values)} values are expected of a row, and the model gives {wanted}"
            raise ValueError(msg)
        return Prediction(self._label(values[0]) if with_label else None, tuple(map(_number, numbers)))

    def _label(self, value: Any) -> str:  # noqa: ANN401
        """Return a label as the model has it: by its name, else by its place."""
        text = str(int(value)) if isinstance(value, float | bool) and value == int(value) else str(value)
        for name in (text, str(value)):
            if name in self._labels or not self._labels:
                return name
        if text.isdecimal() and int(text) < len(self._labels) and not any(each.isdecimal() for each in self._labels):
            return self._labels[int(text)]
        listed = ", ".join(self._labels[:8])
        msg = (
            f"{value!r} is expected, which is not one of the labels {listed}; wanted a column of labels, their places "
            "from 0 on, or a column for each label's probability"
        )
        raise ValueError(msg)


def _number(value: Any) -> float:  # noqa: ANN401
    try:
        return float(value)
    except (TypeError, ValueError):
        msg = f"{value!r} is expected, wanted a number"
        raise ValueError(msg) from None
