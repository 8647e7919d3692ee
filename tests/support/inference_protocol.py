"""Messages of the Open Inference Protocol, made and read without the server's code."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tests.support.server import Answer, Here

DTYPES: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "O",
}
LENGTH = "Inference-Header-Content-Length"


def datatype(array: NDArray[Any]) -> str:
    """Return what the protocol calls the type of an array."""
    return next(name for name, kind in DTYPES.items() if np.dtype(kind) == array.dtype)


def tensor(name: str, array: NDArray[Any], *, nested: bool = False) -> dict[str, Any]:
    """Return an input with its data in JSON; NaN is null."""
    values = array.astype(object)
    if array.dtype.kind == "f":
        values[np.isnan(array)] = None
    data = values.tolist() if nested and array.ndim else values.reshape(-1).tolist()
    return {"name": name, "shape": [*array.shape], "datatype": datatype(array), "data": data}


def packed(array: NDArray[Any]) -> bytes:
    """Return the data of an array as it stands behind the JSON."""
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(each.encode())) + each.encode() for each in array.reshape(-1))
    return array.tobytes()


def binary_body(inputs: Mapping[str, NDArray[Any]], **more: Any) -> tuple[bytes, dict[str, str]]:  # noqa: ANN401 - JSON
    """Return body and headers of a request with all data behind the JSON."""
    parts = {name: packed(array) for name, array in inputs.items()}
    described = [
        {
            "name": name,
            "shape": [*array.shape],
            "datatype": datatype(array),
            "parameters": {"binary_data_size": len(parts[name])},
        }
        for name, array in inputs.items()
    ]
    text = json.dumps({"inputs": described, **more}).encode()
    return b"".join((text, *parts.values())), {LENGTH: str(len(text))}


def outputs(answer: Answer) -> dict[str, NDArray[Any]]:
    """Return the outputs of an answer, whose data may stand in the JSON or behind it."""
    assert answer.status == 200, answer.body
    length = int(answer.headers.get(LENGTH, len(answer.body)))
    message, rest = json.loads(answer.body[:length]), answer.body[length:]
    found = {}
    for each in message["outputs"]:
        kind = np.dtype(DTYPES[each["datatype"]])
        size = each.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(each["data"], kind)
        else:
            part, rest = rest[:size], rest[size:]
            values = np.array(texts(part), object) if kind.kind == "O" else np.frombuffer(part, kind)
        found[each["name"]] = values.reshape(each["shape"])
    assert not rest
    return found


def texts(part: bytes) -> list[str]:
    """Return texts that stand with their lengths before them."""
    found = []
    while part:
        (length,) = struct.unpack_from("<I", part)
        found.append(part[4 : 4 + length].decode())
        part = part[4 + length :]
    return found


async def infer(here: Here, model: str, inputs: Sequence[dict[str, Any]], **more: Any) -> Answer:  # noqa: ANN401 - JSON
    """Ask for an inference in JSON."""
    return await here.post(f"/v2/models/{model}/infer", json={"inputs": inputs, **more})
