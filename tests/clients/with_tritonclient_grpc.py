"""Triton's client over gRPC, plain and asyncio: does what the cases on stdin say, writes what came of each to stdout.

Run in an environment of its own as `python with_tritonclient_grpc.py HOST:PORT plain|asyncio`. Its data is raw always.
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
import tritonclient.grpc as plain
import tritonclient.grpc.aio as with_asyncio
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2
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
        one.set_data_from_numpy(array(tensor))
        inputs.append(one)
    outputs = [plain.InferRequestedOutput(name, case.get("classes", 0)) for name in case.get("outputs", [])]
    more = {"model_version": case["version"]} if "version" in case else {}
    more |= {"compression_algorithm": case["compressed"]} if "compressed" in case else {}
    more |= {"client_timeout": case["timeout"]} if "timeout" in case else {}
    result = client.infer(
        case["model"],
        inputs,
        outputs=outputs or None,
        request_id=case.get("id", ""),
        sequence_id=case.get("sequence", 0),
        headers=case.get("headers"),
        **more,
    )
    if inspect.isawaitable(result):
        result = await result
    message = result.get_response()
    found = {}
    for each in message.outputs:
        values = result.as_numpy(each.name)
        found[each.name] = {"datatype": each.datatype, "shape": [*values.shape], "data": listed(values)}
    parameters = {name: value.string_param for name, value in message.parameters.items()}
    return {"outputs": found, "id": message.id, "parameters": parameters, "model_version": message.model_version}


async def done(client: Any, case: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the client returns
    """Do what a case says."""
    try:
        if case["do"] == "infer":
            return await infer(client, case)
        if case["do"] == "many":  # only of the variant for asyncio do they really go at once
            return {"returned": await asyncio.gather(*(infer(client, each) for each in case["cases"]))}
        if case["do"] == "messages":
            file = descriptor_pb2.FileDescriptorProto()
            service_pb2.DESCRIPTOR.CopyToProto(file)
            return {"returned": MessageToDict(file)}
        result = getattr(client, case["do"])(*case.get("arguments", []), **case.get("more", {}))
        result = await result if inspect.isawaitable(result) else result
        return {"returned": MessageToDict(result) if isinstance(result, Message) else result}
    except Exception as error:  # noqa: BLE001 - what it raises is what is asked
        status = getattr(error, "status", lambda: None)()
        kind = type(error)
        return {"raised": f"{kind.__module__}.{kind.__name__}", "status": status, "message": str(error)}


async def main(place: str, kind: str) -> None:
    """Work off the cases."""
    cases = json.load(sys.stdin)
    client = (plain if kind == "plain" else with_asyncio).InferenceServerClient(place)
    try:
        json.dump([await done(client, case) for case in cases], sys.stdout)
    finally:
        closed = client.close()
        if inspect.isawaitable(closed):
            await closed


asyncio.run(main(sys.argv[1], sys.argv[2]))
