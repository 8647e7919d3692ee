"""The table of calls: which call that predicts a path means, and of which model."""

from __future__ import annotations

import pytest

from predictor.api.answers import Answer
from predictor.api.routes import Document, Match, Predict, PredictingCalls, Route

_INFER = ("POST", "/models/{model}/infer")
_VERSION = ("POST", "/models/{model}/versions/{version}/infer")
_CALLS = PredictingCalls(
    [
        Route("POST", "/predict", Predict(("POST", "/predict"))),
        Route(*_INFER, Predict(_INFER)),
        Route(*_VERSION, Predict(_INFER)),
        Route("GET", "/metadata", Document(lambda: Answer(200, [], ()))),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "match"),
    [
        ("POST", "/predict", Match("/predict", ("POST", "/predict"))),
        ("POST", "/predict/", Match("/predict", ("POST", "/predict"))),
        ("POST", "/models/iris/infer", Match(_INFER[1], _INFER, "iris")),
        ("POST", "/models/iris/versions/2/infer/", Match(_VERSION[1], _INFER, "iris", "2")),
        ("GET", "/predict", None),
        ("GET", "/metadata", None),
        ("POST", "/predict?a=b", None),
        ("POST", "/models/a%20b/infer", None),
        ("POST", "/models//infer", None),
        ("POST", "/models/a/b/infer", None),
    ],
)
def test_a_path_means_a_call_and_a_model(method: str, path: str, match: Match | None) -> None:
    """Names in a path are read where nothing is escaped; a query, and whatever does not predict, is aiohttp's."""
    assert _CALLS.find(method, path) == match
