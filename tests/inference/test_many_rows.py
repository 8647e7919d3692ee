"""Many rows at once: one look at all of them finds what a look at each would, and the model gets the same bits."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from predictor.api.pattern.rows import RowDecoder
from predictor.core.features import Feature
from predictor.core.problems import Kind, Problem
from predictor.inference.signature import DTYPES, FREE, TensorSpec
from predictor.inference.table_input import TableInput

WIDTH = 3
FEATURES = [Feature(name, "1", 0.0, datatype="FP32") for name in "abc"]
DRAW = np.random.default_rng(0).uniform(-1e6, 1e6, (40, WIDTH)).tolist()


def changed(at: int, row: list[float], and_at: int = 0, other: list[float] | None = None) -> list[list[float]]:
    """Return many rows of which one or two are others."""
    rows = [list(each) for each in DRAW]
    rows[at] = row
    if other is not None:
        rows[and_at] = other
    return rows


@pytest.mark.parametrize("count", [1, 15, 16, 40])
def test_the_rows_are_those_of_the_body(count: int) -> None:
    """However many rows a request has, they come as they were sent."""
    rows = DRAW[:count]
    assert RowDecoder(FEATURES, 256).rows(msgspec.json.encode({"data": rows})) == rows


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        (changed(39, [0.0, 3.5e38, 0.0]), r"data\[39\]\[1\] is 3.5e\+38, which is not finite as float32"),
        (changed(17, [-3.5e38, 0.0, 0.0]), r"data\[17\]\[0\] is -3.5e\+38"),
        (changed(20, [0.0], 30, [0.0] * 5), r"data\[20\] has 1 numbers, wanted 3"),
        (changed(21, [0.0] * 4), r"data\[21\] has 4 numbers, wanted 3"),
    ],
    ids=["too large", "too small", "as many numbers in other rows", "one too many"],
)
def test_a_bad_row_among_many_is_named(rows: list[list[float]], detail: str) -> None:
    """The look at all numbers lets nothing through, and the refusal names row and place as for a few rows."""
    with pytest.raises(Problem, match=detail) as refusal:
        RowDecoder(FEATURES, 256).rows(msgspec.json.encode({"data": rows}))
    assert refusal.value.kind is Kind.INVALID_DATA


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT64", "BOOL"])
@pytest.mark.parametrize("count", [1, 15, 16, 40])
def test_the_model_is_given_the_same_bits(datatype: str, count: int) -> None:
    """Numbers that are taken one after the other are rounded as those of lists of lists, and null is NaN."""
    draw = np.random.default_rng(1).normal(0, 1000, (count, WIDTH))
    kinds: dict[str, Any] = {"INT64": draw.astype(np.int64), "BOOL": draw > 0}
    rows: list[list[Any]] = kinds.get(datatype, draw).tolist()
    if datatype.startswith("FP"):
        rows[-1][1] = None
        rows[0][0] = 7
    table = TableInput([TensorSpec("x", datatype, (FREE, WIDTH))], WIDTH)
    found, wanted = table.feed(rows), np.array(rows, DTYPES[datatype])
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (wanted.dtype, (count, WIDTH))
    assert found.tobytes() == wanted.tobytes()
    again = table.feed(wanted)
    assert isinstance(again, np.ndarray)
    assert again.tobytes() == wanted.tobytes()


def test_rows_of_another_width_are_no_matrix() -> None:
    """Rows that nobody has checked are refused by numpy, not cut to what a matrix has room for."""
    table = TableInput([TensorSpec("x", "FP32", (FREE, WIDTH))], WIDTH)
    with pytest.raises(ValueError, match="inhomogeneous"):
        table.feed([*DRAW, [1.0] * 5])
