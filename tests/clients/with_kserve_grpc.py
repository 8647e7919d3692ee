"""KServe's client over gRPC: does what the cases on stdin say, writes what came of each to stdout.

Run in an environment of its own as `python with_kserve_grpc.py HOST:PORT`. The data of a `binary` case is raw, that of
others typed.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the client's own environment.

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import MessageToDict
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import to_np_dtype


def tensor(case: dict[str, Any], each: dict[str, Any]) -> InferInput:
    """Return an input of a case; null is NaN."""
    values = np.array(each["data"], to_np_dtype(each["datatype"])).reshape(each["shape"])
    one = InferInput(each["name"], each["shape"], each["datatype"])
    one.set_data_from_numpy(values, binary_data=case["binary"])
    return one


def listed(values: np.ndarray) -> list[Any]:
    """Return an array as JSON has it."""
    flat = values.reshape(-1).tolist()
    return [each.decode() if isinstance(each, bytes) else each for each in flat]


async def infer(client: InferenceGRPCClient, case: dict[str, Any]) -> dict[str, Any]:
    """Ask for an inference."""
    request = InferRequest(
        case["model"],
        [tensor(case, each) for each in case["inputs"]],
        request_id=case.get("id"),
        request_outputs=[RequestedOutput(name) for name in case.get("outputs", [])] or None,
        model_version=case.get("version"),
    )
    response = await client.infer(request, headers=[*case.get("headers", {}).items()])
    found = {}
    for each in response.outputs:
        values = each.as_numpy()
        found[each.name] = {"datatype": each.datatype, "shape": [*values.shape], "data": listed(values)}
    parameters = {name: value.string_param for name, value in response.parameters.items()}
    return {"outputs": found, "id": response.id, "parameters": parameters}


async def done(client: InferenceGRPCClient, case: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Do what a case says."""
    try:
        if case["do"] == "infer":
            return await infer(client, case)
        if case["do"] == "messages":
            file = descriptor_pb2.FileDescriptorProto()
            grpc_predict_v2_pb2.DESCRIPTOR.CopyToProto(file)
            return {"returned": MessageToDict(file)}
        return {"returned": await getattr(client, case["do"])(*case.get("arguments", []))}
    except Exception as error:  # noqa: BLE001 - what it raises is what is asked
        status = str(error.code()) if hasattr(error, "code") else None
        kind = type(error)
        return {"raised": f"{kind.__module__}.{kind.__name__}", "status": status, "message": str(error)}


async def main(place: str) -> None:
    """Work off the cases."""
    logging.disable()  # it logs what it raises
    cases = json.load(sys.stdin)
    async with InferenceGRPCClient(place, retries=0) as client:
        results = [await done(client, case) for case in cases]
    json.dump(results, sys.stdout)


asyncio.run(main(sys.argv[1]))
