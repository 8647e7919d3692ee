"""Says what a comparison has found: lines for a person, an object for a machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.conversion.comparison import Comparison, Difference
    from predictor.conversion.expected import Prediction

_LONGEST_ROW = 160


def as_text(result: Comparison) -> Iterator[str]:
    """Yield lines for a person."""
    left = [f"{count} {what}" for count, what in ((result.refused, "refused"), (result.without, "without")) if count]
    yield f"{_rows(result.compared)} compared" + (f", {', '.join(left)}" if left else "")
    for row, reason in result.refusals:
        yield f"  row {row} cannot be taken: {reason}"
    if result.failed:
        yield f"{_rows(result.failed)} failed: an error, or no finite number"
    if result.changed_labels:
        yield f"{result.changed_labels} of {result.compared} labels changed"
        for (expected, now), count in result.changed.most_common():
            yield f"  {expected} -> {now}: {count}"
    elif result.compared > result.failed and not result.numbers:
        yield "no label changed"
    if result.numbers:
        yield f"largest difference of a number: {result.largest:.3g}, in row {result.largest_row}"
        yield f"mean difference: {result.total / result.numbers:.3g}"
        yield f"{_rows(result.beyond)} beyond the tolerance of {result.tolerance:g}"
    if result.differences:
        yield "the rows that differ most:"
        for each in result.differences:
            yield f"  row {each.row}: expected {_said(each.expected)}, now {_said(each.now)}; {_row(each)}"
            if each.float32:
                names = ", ".join(each.float32)
                yield f"    {names} one float32 further gives what was expected: a threshold lies that near"


def as_json(result: Comparison) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "compared": result.compared,
        "refused": result.refused,
        "without_expected": result.without,
        "failed": result.failed,
        "changed_labels": result.changed_labels,
        "labels": [
            {"expected": expected, "now": now, "rows": count} for (expected, now), count in result.changed.most_common()
        ],
        "largest_difference": result.largest if result.numbers else None,
        "largest_difference_row": result.largest_row,
        "mean_difference": result.total / result.numbers if result.numbers else None,
        "tolerance": result.tolerance,
        "beyond_tolerance": result.beyond,
        "refusals": [{"row": row, "reason": reason} for row, reason in result.refusals],
        "differences": [_object(each) for each in result.differences],
    }


def _object(each: Difference) -> dict[str, Any]:
    return {
        "row": each.row,
        "expected": _fields(each.expected),
        "now": _fields(each.now),
        "distance": each.distance if math.isfinite(each.distance) else None,
        "features": each.features,
        "float32": list(each.float32),
    }


def _fields(said: Prediction | None) -> dict[str, Any] | None:
    return None if said is None else {"label": said.label, "numbers": list(said.numbers)}


def _said(said: Prediction | None) -> str:
    if said is None:
        return "failed"
    numbers = ", ".join(f"{each:.9g}" for each in said.numbers[:4]) + (", …" if len(said.numbers) > 4 else "")  # noqa: PLR2004
    if said.label is None:
        return numbers
    return f"{said.label} ({numbers})" if numbers else said.label


def _row(each: Difference) -> str:
    text = msgspec.json.encode(each.features).decode()
    return text if len(text) <= _LONGEST_ROW else f"{text[:_LONGEST_ROW]}…"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
