"""Runs the comparison: reads the table, asks the model, says what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from predictor.conversion.comparison import Comparer, Comparison
from predictor.conversion.expected import ExpectedColumns
from predictor.conversion.model_rows import RefusedRowError, RowTaker
from predictor.conversion.report import as_json, as_text
from predictor.conversion.table_file import parts
from predictor.core.operator_log import printable, show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from predictor.inference.model import Model

TOLERANCE = 1e-5
"""Of 1, or of the number if that is more: what float32 and another order of additions may cost."""
KEPT = 10
"""Rows that are shown."""


class Wanted(NamedTuple):
    """What a person asks for."""

    rows: Path
    expected: Sequence[str]
    tolerance: float = TOLERANCE
    changed: int = 0
    """So many labels may change."""
    json: bool = False


def check_rows(model: Model, wanted: Wanted) -> int:
    """Return 0 if the model answers every row as it is expected, 1 if not; raises ValueError or OSError."""
    if not model.description.features:
        msg = f"{model.description.name} takes tensors; --rows compares models of rows of a table"
        raise ValueError(msg)
    result = _compared(model, wanted)
    about = model.description
    whose = {"model": about.name, "version": about.version, "digest": model.digest}
    good = not (result.refused or result.failed or result.beyond or result.changed_labels > wanted.changed)
    if wanted.json:
        _print(msgspec.json.encode({**whose, "equal": good, **as_json(result)}).decode())
    else:
        _print(f"{about.name}@{about.version} beside {', '.join(wanted.expected)} of {wanted.rows}")
        for line in as_text(result):
            _print(line)
    return 0 if good else 1


def _compared(model: Model, wanted: Wanted) -> Comparison:
    comparer = Comparer(model, wanted.tolerance, KEPT)
    expected = ExpectedColumns(model.description, wanted.expected)
    taker: RowTaker | None = None
    number = 0
    for part in parts(wanted.rows):
        if taker is None:
            columns = [*part[0]]
            if absent := [each for each in wanted.expected if each not in columns]:
                msg = f"{wanted.rows} has no column {absent[0]!r}, only {', '.join(map(repr, columns))}"
                raise ValueError(msg)
            taker = RowTaker(model.description.features, columns, _others(model, wanted))
            if taker.by_order:
                show(f"note    {wanted.rows}: no column has the name of a feature, so they are taken in their order")
        rows = []
        for at, record in enumerate(part, number):
            said = expected.of(record)
            if said is None:
                comparer.comparison.without += 1
                continue
            try:
                rows.append((at, taker.row(record), said))
            except RefusedRowError as error:
                comparer.comparison.refuse(at, str(error))
        if rows:
            comparer.compare(rows)
        number += len(part)
    if not number:
        msg = f"{wanted.rows} has no rows"
        raise ValueError(msg)
    return comparer.comparison


def _others(model: Model, wanted: Wanted) -> set[str]:
    key = model.description.key
    return {*wanted.expected, *([key.name] if key else ())}


def _print(line: str) -> None:
    print(printable(line))  # noqa: T201 - its purpose
