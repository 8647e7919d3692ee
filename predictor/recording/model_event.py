"""The event `prediction.model`: what a reader of the log must know of a model, said in the log itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from predictor.core.features import aliases
from predictor.recording import record_schema
from predictor.recording.encoder import encode_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.core.features import Feature
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec

SIGNATURE_BYTES = 32 << 10
"""Half of what Loki takes as attributes of one record (64 KB); a longer signature leaves names out."""
_OPTIONAL = ("labels", "values", "features")
_KINDS = {"BYTES": "string", "BOOL": "bool", "FP16": "double", "FP32": "double", "FP64": "double"}


def encoded(model: Model) -> Callable[[], bytes]:
    """Return what makes the record of a model as it is written now, all but its number."""
    about = model.description
    attributes: dict[str, object] = {
        "prediction.model.task": about.task,
        "prediction.model.runtime": model.runtime,
        "prediction.model.provider": model.provider,
        "prediction.model.signature": signature(model),
        "event.name": record_schema.MODEL_EVENT,
    }
    body = f"model {about.name}@{about.version} {about.task} {model.digest}"

    def event() -> bytes:
        now_ns = time.time_ns()
        return encode_event(
            attributes=attributes,
            body=body,
            severity=record_schema.INFO,
            event_name=record_schema.MODEL_EVENT,
            time_ns=now_ns,
            observed_ns=now_ns,
        )

    return event


def signature(model: Model) -> str:
    """Return features, labels, values, inputs and outputs as a JSON object; docs/record.md describes it."""
    about = model.description
    whole: dict[str, Any] = {
        "inputs": [_tensor(each) for each in model.signature.inputs],
        "outputs": [_tensor(each) for each in model.signature.outputs],
        "features": [_feature(each) for each in about.features],
        **({} if about.threshold is None else {"threshold": about.threshold}),
        **({"key": {"name": about.key.name, "log": about.key.log}} if about.key else {}),
        # A label that is not logged is not told by the list of all either.
        "labels": list(about.labels) if about.outputs.mode in {"keep", "round"} else [],
        "values": [{"alias": a, "name": n} for a, n in zip(aliases(about.values), about.values, strict=True)],
    }
    text = msgspec.json.encode(whole)
    for name in _OPTIONAL:
        if len(text) > SIGNATURE_BYTES:
            del whole[name]
            text = msgspec.json.encode(whole | {"truncated": True})
    return text.decode()


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _feature(feature: Feature) -> dict[str, Any]:
    kind = _KINDS.get(feature.datatype, "int")
    return {"alias": feature.alias, "name": feature.name, "type": kind, "datatype": feature.datatype}
