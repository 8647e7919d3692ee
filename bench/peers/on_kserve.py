"""KServe's Python server: custom models with both protocols, its line of latencies a request on as by default.

Its payload logger is not part of the Python package: it is the agent, a proxy of its own in front (with_kserve_agent).
"""
# mypy: disable-error-code="import-not-found,misc"
# The package is in the peer's own environment.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kserve
from iris import Image, Iris, images
from kserve.utils.utils import generate_uuid

if TYPE_CHECKING:
    from numpy.typing import NDArray


class IrisModel(kserve.Model):
    """`POST /v1/models/iris:predict` with `{"instances": rows}`; `POST /v2/models/iris/infer` with a tensor of rows."""

    def load(self) -> bool:
        """Open the model."""
        self.model = Iris()
        self.ready = True
        return True

    async def predict(
        self,
        payload: Any,  # noqa: ANN401 - by protocol a dict or an InferRequest
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
        response_headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
    ) -> Any:  # noqa: ANN401 - likewise
        """Return one answer an instance, or a tensor of probabilities."""
        if isinstance(payload, dict):
            return {"predictions": self.model.answers(payload["instances"])}
        probabilities, _ = self.model.run(payload.inputs[0].as_numpy())
        return _response(payload, self.name, "probabilities", probabilities)


class ImageModel(kserve.Model):
    """`POST /v2/models/…/infer` with a tensor of images."""

    def load(self) -> bool:
        """Open the model."""
        self.model = Image(self.name)
        self.ready = True
        return True

    async def predict(
        self,
        payload: Any,  # noqa: ANN401 - an InferRequest
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
        response_headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's
    ) -> Any:  # noqa: ANN401 - an InferResponse
        """Return a tensor of scores."""
        return _response(payload, self.name, "scores", self.model.run(payload.inputs[0].as_numpy()))


def _response(request: Any, model: str, name: str, numbers: NDArray[Any]) -> Any:  # noqa: ANN401 - KServe's
    """Return an answer of one tensor, as KServe's own runtimes make it, with its data where the caller wants it."""
    output = kserve.InferOutput(name=name, shape=[*numbers.shape], datatype="FP32")
    output.set_data_from_numpy(numbers, binary_data=request.use_binary_outputs)
    return kserve.InferResponse(
        model_name=model,
        infer_outputs=[output],
        response_id=request.id or generate_uuid(),
        use_binary_outputs=request.use_binary_outputs,
        requested_outputs=request.request_outputs,
    )


def main() -> None:
    """Serve; KServe reads --http_port and --enable_grpc itself."""
    models: list[Any] = [IrisModel("iris"), *map(ImageModel, images())]
    for each in models:
        each.load()
    kserve.ModelServer().start(models)


if __name__ == "__main__":
    main()
