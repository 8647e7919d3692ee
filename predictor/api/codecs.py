"""Every call that predicts, and the codecs by which one model version has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.pattern import predict as pattern
from predictor.api.v1 import predict as v1
from predictor.api.v2 import infer as v2

if TYPE_CHECKING:
    from predictor.api.dataplane import CallKey, Codec
    from predictor.inference.model import Model

CALLS: tuple[CallKey, ...] = (*pattern.CALLS, *v1.CALLS, *v2.CALLS)
"""Method and path of each; a model that has no use for one has no codec for it."""


def codecs(model: Model, *, batch_rows: int, body_bytes: int) -> dict[CallKey, Codec]:
    """Return the codec of each call that a model has."""
    infer = v2.InferCodec(model, batch_rows=batch_rows, body_bytes=body_bytes)
    predict = v1.PredictCodec(model, batch_rows=batch_rows, body_bytes=body_bytes)
    return {
        **pattern.codecs(model, batch_rows=batch_rows, body_bytes=body_bytes),
        **dict.fromkeys(v1.CALLS, predict),
        **dict.fromkeys(v2.CALLS, infer),
    }
