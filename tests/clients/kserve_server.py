"""KServe's Python server with iris by version 2, for `tests.clients.compare`.

Run in KServe's environment as `python kserve_server.py --http_port 18441 --grpc_port 18442`; PYTHONPATH=bench/peers.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the peer's own environment.

from __future__ import annotations

from typing import Any

import kserve
from iris import Iris
from kserve.utils.utils import get_predict_response


class IrisModel(kserve.Model):
    """`POST /v2/models/iris/infer` with one tensor of rows."""

    def load(self) -> bool:
        """Open the model."""
        self.model = Iris()
        self.ready = True
        return True

    async def predict(
        self,
        payload: kserve.InferRequest,
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
        response_headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
    ) -> Any:  # noqa: ANN401 - KServe's
        """Return the probabilities, as KServe's own runtimes make an answer."""
        probabilities, _ = self.model.run(payload.inputs[0].as_numpy())
        return get_predict_response(payload, probabilities, self.name)


if __name__ == "__main__":
    model = IrisModel("iris")
    model.load()
    kserve.ModelServer().start([model])
