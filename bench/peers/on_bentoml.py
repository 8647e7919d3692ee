"""BentoML with bentoml.monitor, which appends each prediction to a file: `bentoml serve on_bentoml:IrisService`."""
# mypy: disable-error-code="import-not-found,misc,untyped-decorator"
# The package is in the peer's own environment.

import os  # no `from __future__ import annotations`: BentoML reads the signature
import uuid
from typing import Any

import bentoml
from iris import FEATURES, Iris


@bentoml.service(
    workers=1,
    monitoring={"enabled": True, "type": "default", "options": {"log_path": os.environ["BENCH_LOG"]}},
)
class IrisService:
    """`POST /predict` with `{"data": rows}`."""

    def __init__(self) -> None:
        """Open the model."""
        self.model = Iris()

    @bentoml.api
    async def predict(self, data: list[list[float]]) -> dict[str, Any]:
        """Run and log the rows."""
        job, answers = str(uuid.uuid4()), self.model.answers(data)
        with bentoml.monitor("iris") as monitor:
            for row, answer in zip(data, answers, strict=True):
                monitor.log(job, name="job_id", role="request_id", data_type="categorical")
                for name, value in zip(FEATURES, row, strict=True):
                    monitor.log(value, name=name, role="feature", data_type="numerical")
                monitor.log(answer["prediction"], name="prediction", role="prediction", data_type="numerical_sequence")
                monitor.log(answer["outlier_score"], name="outlier_score", role="prediction", data_type="numerical")
        return {"job_id": job, "predictions": answers}
