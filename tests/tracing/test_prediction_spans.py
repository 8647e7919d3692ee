"""The spans of a prediction from a template: the same bytes as made of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor import otlp
from predictor.recording.record_schema import Schema
from predictor.tracing.prediction_spans import fields_of_predict, spans_of
from tests.support.sample_predictions import CASES, IRIS, origin, success

if TYPE_CHECKING:
    from predictor.core.result import Kept, Prediction


def _is_plain(schema: Schema, predictions: list[Prediction]) -> None:
    predict = spans_of(schema, predictions)[0]
    assert predict.endswith(otlp.span_rest(fields_of_predict(schema, predictions)))


@pytest.mark.parametrize("name", CASES)
def test_predict_is_as_made_of_its_fields(name: str) -> None:
    """Whatever the model and the prediction, failures and redacted answers too, the span has the plain way's bytes."""
    schema, prediction = CASES[name]
    _is_plain(schema, [prediction])


@pytest.mark.parametrize("kept", ["head", "outlier", "slow", None])
@pytest.mark.parametrize("outlier", [True, False, None])
def test_each_kind_has_its_own(kept: Kept | None, outlier: bool | None) -> None:  # noqa: FBT001
    """Verdict, reason, label and rows of one request are not those of another."""
    for label, probabilities in ((0, [0.9, 0.1, 1e-9]), (2, [0.0, 0.25, 0.75])):
        one = success(origin=origin(kept=kept), outlier=outlier, label=label, probabilities=probabilities)
        _is_plain(IRIS, [one])
        _is_plain(IRIS, [one, one])


def test_names_that_look_like_places() -> None:
    """A model or a label may have any name, also one that means something in a template."""
    schema = Schema('50%b"@%d', ("a",), ("%b", '%%d"\\'))
    for label in (0, 1):
        _is_plain(schema, [success(features=[1.0], label=label, probabilities=[0.5, 0.5])])
