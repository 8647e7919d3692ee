"""KServe's Python server: a custom model with the v1 protocol, its line of latencies a request on as by default.

Its payload logger is not part of the Python package: it is the agent, a proxy of its own in front (with_kserve_agent).
"""
# mypy: disable-error-code="import-not-found,misc"
# The package is in the peer's own environment.

from __future__ import annotations

from typing import Any

import kserve
from iris import Iris


class IrisModel(kserve.Model):
    """`POST /v1/models/iris:predict` with `{"instances": rows}`."""

    def load(self) -> bool:
        """Open the model."""
        self.model = Iris()
        self.ready = True
        return True

    async def predict(
        self,
        payload: dict[str, Any],
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
        response_headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
    ) -> dict[str, Any]:
        """Return one answer an instance."""
        return {"predictions": self.model.answers(payload["instances"])}


def main() -> None:
    """Serve; KServe reads --http_port and --enable_grpc itself."""
    model = IrisModel("iris")
    model.load()
    kserve.ModelServer().start([model])


if __name__ == "__main__":
    main()
