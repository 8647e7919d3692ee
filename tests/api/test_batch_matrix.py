"""Many rows of numbers are made a matrix once, for their check and for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from predictor.api.dataplane import InferRequest
from predictor.api.json_body import BodyHead
from predictor.api.pattern.predict import codecs
from predictor.core.problems import Problem
from tests.support.server import model

if TYPE_CHECKING:
    from predictor.inference.model import Model

_CALL = ("POST", "/predict/batch")
_HEAD = BodyHead("application/json", None)
_ROW = [5.1, 3.5, 1.4, 0.2]


def _decoded(of: Model, rows: object) -> InferRequest | Problem:
    codec = codecs(of, batch_rows=300, body_bytes=1 << 20)[_CALL]
    return codec.decode(_HEAD, msgspec.json.encode({"data": rows}))


def test_the_model_is_given_what_was_checked() -> None:
    """The matrix of a request holds its rows as the model itself would have made them, and gives the same answer."""
    rows = [[5.1 + at / 100, 3.4028235e38 if at == 7 else 0.1, -1e-40, 1e-60] for at in range(256)]
    wanted = _decoded(model(), rows)
    assert isinstance(wanted, InferRequest)
    assert wanted.rows == rows
    assert wanted.tensors
    ((name, matrix),) = wanted.tensors.items()
    made = model().feed(rows)
    assert isinstance(made, np.ndarray)
    assert [each.name for each in model().signature.inputs] == [name]
    assert (matrix.dtype, matrix.shape, matrix.tobytes()) == (made.dtype, made.shape, made.tobytes())
    together, apart = model().run_feed(matrix, rows, own=False), model().run(rows)
    assert np.array_equal(together.probabilities, apart.probabilities, equal_nan=True)
    assert together.scores is not None
    assert apart.scores is not None
    assert np.array_equal(together.scores, apart.scores, equal_nan=True)


@pytest.mark.parametrize("rows", [[_ROW] * 2, [dict(zip("abcd", _ROW, strict=True))] * 20], ids=["few", "objects"])
def test_few_rows_are_not_looked_at_together(rows: list[object]) -> None:
    """Few rows have no matrix of their own, many have one, whether they came as arrays or as objects."""
    names = [each.name for each in model().description.features]
    named = [dict(zip(names, row.values(), strict=True)) if isinstance(row, dict) else row for row in rows]
    wanted = _decoded(model(), named)
    assert isinstance(wanted, InferRequest)
    assert len(wanted.rows) == len(rows)
    assert (wanted.tensors is None) == (len(rows) == 2)


@pytest.mark.parametrize("at", [0, 100, 255])
@pytest.mark.parametrize("row", [[1.0, 2.0, 3.0], [3.5e38, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -3.5e38]])
def test_a_bad_row_among_many_is_named(row: list[float], at: int) -> None:
    """Looked at together, rows are refused in the words in which one is refused that is looked at alone."""
    rows = [_ROW] * 256
    found, alone = _decoded(model(), [*rows[:at], row, *rows[at + 1 :]]), _decoded(model(), [row])
    assert isinstance(found, Problem)
    assert isinstance(alone, Problem)
    assert str(found) == str(alone).replace("data[0]", f"data[{at}]")
