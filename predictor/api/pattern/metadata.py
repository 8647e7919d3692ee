"""`GET /metadata` and `GET /label`: a model's inputs and outputs in the words of the prediction log pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from predictor.inference.model import Model


def metadata(model: Model) -> dict[str, object]:
    """Return types, shapes and samples; the samples of the answers are what the model gives for its sample row.

    `batch` is beyond the pattern: whether rows of several requests run together, or one by one.
    """
    about = model.description
    sample = [[feature.sample for feature in about.features]]
    outputs = model.run(np.array(sample, dtype=np.float32))
    fields: dict[str, object] = {
        "data_type": "float32",
        "data_structure": f"(1,{len(about.features)})",
        "data_sample": sample,
        "prediction_type": "float32",
        "prediction_structure": f"(1,{len(about.labels)})",
        "prediction_sample": outputs.probabilities[0].tolist(),
        "outlier_type": None,
        "outlier_structure": None,
        "outlier_sample": None,
        "batch": model.together,
    }
    if outputs.outliers is not None and outputs.scores is not None:
        fields["outlier_type"] = "bool, float32"
        fields["outlier_structure"] = "(1,2)"
        fields["outlier_sample"] = [bool(outputs.outliers[0]), float(outputs.scores[0])]
    return fields


def labels(model: Model) -> dict[str, str]:
    """Return the labels by their index."""
    return {str(index): label for index, label in enumerate(model.description.labels)}
