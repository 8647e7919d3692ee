"""Numbers: one a row, or several with names (targets, quantiles)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.inference.checked_file import Reading, checked, tried
from predictor.inference.tasks.numbers import NamedNumbers, as_matrix, names_of, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.tasks.task import Source

NAME = "regression"


def load(source: Source, outputs: Sequence[str], names: Sequence[str] = ()) -> NamedNumbers:
    """Return the task for these outputs; `names` are the values' own, in the place of the outputs' names."""
    session = source.session
    for name in outputs:
        session.output_type(name)
    found = sizes(session, outputs, source.rows)
    if strange := [name for name, size in found.items() if size is None]:
        session.refuse(
            f"its output {strange[0]!r} is not a number for each row; wanted one number, or a matrix (N, values)"
        )
    values = names_of(found)
    if names and len(names) != len(values):
        session.refuse(f"it gives {len(values)} values a row, but {len(names)} are named: {', '.join(names)}")
    reading = Reading(outputs, lambda found: (as_matrix(found),))
    mode, _, (numbers,) = tried(session, reading.of(session), source.rows, source.most, "values", (len(values),))
    if not numbers[0].size or not abs(numbers[0].sum()) < float("inf"):
        session.refuse(f"it gives the sample {numbers[0].tolist()}; wanted finite numbers")
    return NamedNumbers(NAME, tuple(names) or values, checked(session, reading, mode, source.rows))
