"""The terminal: a line for each prediction, however many share a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.core.result import ManyPredictions, Origin
from predictor.recording.record_schema import Schema
from predictor.serving import listeners

if TYPE_CHECKING:
    import pytest

SCHEMA = Schema("iris@1", ("a",), ("one", "two"))


def test_rows_of_one_record_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever watches the terminal sees each row that was predicted, in its order, not the record that they share."""
    origin = Origin("0" * 32, "0" * 16, "/predict/batch", 0, 0.0)
    record = ManyPredictions(
        "job-7", origin, [[1.0], [2.0]], [[0.9, 0.1], [0.2, 0.8]], [0, 1], None, None, None, 0.1, 0.2, 0.5, 2
    )
    show = listeners.display("on", SCHEMA)
    assert show
    show([record, record.row(1)])
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" iris@1")[0][-9:] for line in lines] == ["one 0.900", "two 0.800", "two 0.800"]
