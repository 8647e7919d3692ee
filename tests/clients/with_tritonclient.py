"""Triton's client over HTTP, plain and asyncio: does what the cases on stdin say, writes what came of each to stdout.

Run in an environment of its own as `python with_tritonclient.py URL plain|asyncio`.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the client's own environment.

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as plain
import tritonclient.http.aio as with_asyncio
from tritonclient.utils import triton_to_np_dtype


def array(tensor: dict[str, Any]) -> np.ndarray:
    """Return a tensor of a case; null is NaN."""
    return np.array(tensor["data"], triton_to_np_dtype(tensor["datatype"])).reshape(tensor["shape"])


def listed(values: np.ndarray) -> list[Any]:
    """Return an array as JSON has it."""
    flat = values.reshape(-1).tolist()
    return [each.decode() if isinstance(each, bytes) else each for each in flat]


async def infer(client: Any, case: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - one of two
    """Ask for an inference."""
    inputs = []
    for tensor in case["inputs"]:
        one = plain.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        one.set_data_from_numpy(array(tensor), binary_data=case["binary"])
        inputs.append(one)
    names = case.get("outputs")
    outputs = [
        plain.InferRequestedOutput(name, binary_data=case["binary"], class_count=case.get("classes", 0))
        for name in names or []
    ]
    more = {"model_version": case["version"]} if "version" in case else {}
    more |= {"headers": case["headers"]} if "headers" in case else {}
    more |= {"request_compression_algorithm": case["compressed"]} if "compressed" in case else {}
    result = client.infer(
        case["model"],
        inputs,
        outputs=outputs or None,
        request_id=case.get("id", ""),
        sequence_id=case.get("sequence", 0),
        **more,
    )
    if inspect.isawaitable(result):
        result = await result
    message = result.get_response()
    found = {}
    for each in message["outputs"]:
        values = result.as_numpy(each["name"])
        found[each["name"]] = {
            "datatype": each["datatype"],
            "shape": [*values.shape],
            "data": listed(values),
            "binary": "binary_data_size" in each.get("parameters", {}),
        }
    return {"outputs": found, **{name: message.get(name) for name in ("id", "parameters", "model_version")}}


async def done(client: Any, case: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the client returns
    """Do what a case says."""
    try:
        if case["do"] == "infer":
            return await infer(client, case)
        if case["do"] == "many":  # only of the variant for asyncio do they really go at once
            return {"returned": await asyncio.gather(*(infer(client, each) for each in case["cases"]))}
        result = getattr(client, case["do"])(*case.get("arguments", []), **case.get("more", {}))
        return {"returned": await result if inspect.isawaitable(result) else result}
    except Exception as error:  # noqa: BLE001 - what it raises is what is asked
        status = getattr(error, "status", lambda: None)()
        kind = type(error)
        return {"raised": f"{kind.__module__}.{kind.__name__}", "status": status, "message": str(error)}


async def main(url: str, kind: str) -> None:
    """Work off the cases."""
    cases = json.load(sys.stdin)
    client = (plain if kind == "plain" else with_asyncio).InferenceServerClient(url.removeprefix("http://"))
    try:
        json.dump([await done(client, case) for case in cases], sys.stdout)
    finally:
        closed = client.close()
        if inspect.isawaitable(closed):
            await closed


asyncio.run(main(sys.argv[1], sys.argv[2]))
