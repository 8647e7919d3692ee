"""The outlier detector beside a model: a file that gives one score a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference.checked_file import Checked, Reading, checked, tried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.features import Feature
    from predictor.inference.batch_trial import Parts
    from predictor.inference.onnx_session import Session
    from predictor.inference.table_input import Feed, TableInput

_TENSOR = "tensor(float)"


def table_of_its_own(detector: Session, model: Session, features: Sequence[Feature]) -> TableInput | None:
    """Return what feeds the detector, None if it takes the very arrays that the model takes; raises ModelError."""
    table = detector.table(features)
    ours, theirs = detector.signature.inputs, model.signature.inputs
    if len(ours) == len(theirs) == 1 and ours[0].datatype == theirs[0].datatype and len(ours[0].shape) != 1:
        return None
    return table


def load_score(session: Session, output: str, rows: Feed, most: int) -> Checked:
    """Return the function from rows to their scores, one a row; raises ModelError."""
    kind = session.output_type(output)
    if kind != _TENSOR:
        session.refuse(f"its output of scores is a {kind}; wanted a {_TENSOR}")

    def read(found: Sequence[Any]) -> Parts:
        return (found[0].reshape(-1),)

    reading = Reading([output], read)
    mode, _, (scores,) = tried(session, reading.of(session), rows, most, "scores", ())
    if not np.isfinite(scores[0]):
        session.refuse(f"it gives the sample the score {scores[0]}; wanted a finite number")
    return checked(session, reading, mode, rows)
