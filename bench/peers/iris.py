"""The models for the peers: the same ONNX files, run as each of their own examples would run them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPOSITORY = os.environ.get("BENCH_MODELS")
"""The folder of the models of images, if they are served too."""
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
MODEL = Path(os.environ.get("BENCH_MODEL", Path(__file__).parents[2] / "models" / "iris"))


class Iris:
    """The classifier and the detector of outliers; `run` may be called by several threads at once."""

    def __init__(self, folder: Path = MODEL) -> None:
        """Open both files."""
        self._classifier, self._detector = (_session(folder / file) for file in ("classifier.onnx", "outlier.onnx"))
        self._inputs = [session.get_inputs()[0].name for session in (self._classifier, self._detector)]

    def run(self, rows: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # noqa: ANN401 - what numpy takes
        """Return the probabilities (N, 3) and the detector's scores (N,), negative for an outlier."""
        data = np.asarray(rows, np.float32)
        (probabilities,) = self._classifier.run(["probabilities"], {self._inputs[0]: data})
        (scores,) = self._detector.run(["scores"], {self._inputs[1]: data})
        return probabilities, scores.reshape(-1)

    def answers(self, rows: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - what numpy takes
        """Return one answer a row, with the fields that the server's own answers have."""
        probabilities, scores = (array.tolist() for array in self.run(rows))
        return [
            {"prediction": each, "is_outlier": score < 0, "outlier_score": score}
            for each, score in zip(probabilities, scores, strict=True)
        ]


class Image:
    """A model of images; `run` may be called by several threads at once."""

    def __init__(self, name: str) -> None:
        """Open its file in the repository."""
        self._session = _session(Path(REPOSITORY or "") / name / "1" / "model.onnx")

    def run(self, images: Any) -> NDArray[np.float32]:  # noqa: ANN401 - what numpy takes
        """Return the scores (N, classes)."""
        (scores,) = self._session.run(["scores"], {"image": np.asarray(images, np.float32)})
        found: NDArray[np.float32] = scores
        return found


def images() -> list[str]:
    """Return the names of the models of images."""
    return sorted(each.parent.parent.name for each in Path(REPOSITORY).glob("*/1/model.onnx")) if REPOSITORY else []


def _session(file: Path) -> ort.InferenceSession:
    """Open a file; every server has one core, so more threads inside the runtime would only wait."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
