"""The terminal: a line for each prediction, however many share a record."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import TYPE_CHECKING

from predictor.core.result import ManyPredictions, Origin
from predictor.recording.record_schema import Schema
from predictor.serving import listeners

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from predictor.core.result import Prediction

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


class _Broken:
    """A listener that fails."""

    def __call__(self, _: Sequence[Prediction | ManyPredictions]) -> None:
        """Fail."""
        msg = "not shown"
        raise ValueError(msg)


def test_one_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails keeps no other from a prediction, and is reported once a minute."""
    heard: list[object] = []
    both = listeners.together(_Broken(), heard.append)
    assert both
    both([])
    both([])
    assert heard == [[], []]
    assert [record.getMessage() for record in caplog.records] == ["predictions could not be shown"]


def test_one_that_failed_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that failed goes with the model version that it listened to."""
    monkeypatch.setattr(logging.getLogger("predictor"), "disabled", True)  # a record would hold it, by its traceback
    broken = _Broken()
    there = weakref.ref(broken)
    alone = listeners.together(broken)
    assert alone
    alone([])
    del broken, alone
    gc.collect()
    assert there() is None
