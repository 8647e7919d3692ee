"""What the protocol tells of the server and its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictor import __version__
from predictor.api.answers import json_answer
from predictor.api.tensor_requests import TensorRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from predictor.api.answers import Answer
    from predictor.api.catalog import Catalog, ServedVersion
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec

    Unready = Callable[[], str | None]

_PLATFORM = "onnxruntime_onnx"  # Triton's name for it, by which clients know what runs


def tensors(model: Model) -> dict[str, Any]:
    """Return what a model takes and gives: its file's own inputs and outputs, in the protocol's words."""
    inputs = TensorRequests(model, 1).inputs.values()
    return {"platform": _PLATFORM, "inputs": _listed(inputs), "outputs": _listed(model.own_outputs)}


def server() -> Answer:
    """Return what the server is and can."""
    return json_answer(server_fields())


def server_fields() -> dict[str, Any]:
    """Return the same, as a message has it."""
    extensions = ["binary_tensor_data", "model_repository"]
    return {"name": "prediction-log-server", "version": __version__, "extensions": extensions}


class ModelDocuments:
    """The metadata calls of each model."""

    def __init__(self, catalog: Catalog, unready: Unready) -> None:
        """Take the models, and what says why the server is not ready."""
        self._catalog = catalog
        self._unready = unready

    def ready(self) -> Answer:
        """Return whether traffic should come."""
        return _readiness({}, self._unready())

    def names(self) -> Answer:
        """Return the names of all models."""
        return json_answer({"models": [version.name for version in self._catalog.models()]})

    def metadata(self, model: str | None, version: str | None) -> Answer:
        """Return what a model takes and gives; raises Problem if it is not served."""
        return json_answer(self.model_fields(model, version))

    def model_fields(self, model: str | None, version: str | None) -> dict[str, Any]:
        """Return the same, as a message has it; raises Problem as well."""
        found = self._found(model, version)
        versions = [each.version for each in self._catalog.versions() if each.name == found.name]
        fields: Mapping[str, Any] = found.facts.tensors
        return {"name": found.name, "versions": versions, **fields}

    def model_ready(self, model: str | None, version: str | None) -> Answer:
        """Return whether traffic for a model should come; raises Problem if it is not served."""
        return _readiness({"name": self._found(model, version).name}, self._unready())

    def _found(self, model: str | None, version: str | None) -> ServedVersion:
        found = self._catalog.find(model, version)
        if found is None:
            raise self._catalog.unknown(model, version)
        return found


def _listed(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": [*spec.shape]} for spec in specs]


def _readiness(fields: dict[str, Any], reason: str | None) -> Answer:
    if reason is None:
        return json_answer(fields | {"ready": True})
    return json_answer(fields | {"ready": False, "error": reason}, 503)
