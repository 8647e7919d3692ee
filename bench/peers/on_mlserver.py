"""MLServer: custom runtimes for the v2 protocol. It has no payload log of its own."""
# mypy: disable-error-code="import-not-found,misc"
# The package is in the peer's own environment.

from __future__ import annotations

from iris import Image, Iris
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class IrisModel(MLModel):
    """`POST /v2/models/iris/infer` with one tensor of rows."""

    async def load(self) -> bool:
        """Open the model."""
        self.model = Iris()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return a tensor of probabilities and one of scores."""
        probabilities, scores = self.model.run(self.decode(payload.inputs[0], default_codec=NumpyCodec))
        outputs = [
            NumpyCodec.encode_output("probabilities", probabilities),
            NumpyCodec.encode_output("outlier_score", scores),
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class ImageModel(MLModel):
    """`POST /v2/models/…/infer` with a tensor of images."""

    async def load(self) -> bool:
        """Open the model."""
        self.model = Image(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return a tensor of scores."""
        scores = self.model.run(self.decode(payload.inputs[0], default_codec=NumpyCodec))
        outputs = [NumpyCodec.encode_output("scores", scores)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
