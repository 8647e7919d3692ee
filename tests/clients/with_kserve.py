"""KServe's REST client, versions 1 and 2 of the protocol: does what the cases on stdin say, writes what came of each.

Run in an environment of its own as `python with_kserve.py URL v1|v2`.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the client's own environment.

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
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


async def infer(client: InferenceRESTClient, url: str, case: dict[str, Any]) -> dict[str, Any]:
    """Ask for an inference."""
    if "instances" in case:
        return {"returned": await client.infer(url, {"instances": case["instances"]}, model_name=case["model"])}
    wanted = [RequestedOutput(name, {"binary_data": case["binary"]}) for name in case.get("outputs", [])]
    request = InferRequest(
        case["model"],
        [tensor(case, each) for each in case["inputs"]],
        request_id=case.get("id"),
        parameters={"binary_data_output": case["binary"]},
        request_outputs=wanted or None,
    )
    response = await client.infer(url, request, model_name=case["model"])
    found = {}
    for each in response.outputs:
        values = each.as_numpy()
        found[each.name] = {"datatype": each.datatype, "shape": [*values.shape], "data": listed(values)}
    return {"outputs": found, "id": response.id, "parameters": response.parameters}


async def done(client: InferenceRESTClient, url: str, case: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Do what a case says."""
    try:
        if case["do"] == "infer":
            return await infer(client, url, case)
        return {"returned": await getattr(client, case["do"])(url, *case.get("arguments", []))}
    except Exception as error:  # noqa: BLE001 - what it raises is what is asked
        status = getattr(getattr(error, "response", None), "status_code", None)
        kind = type(error)
        return {"raised": f"{kind.__module__}.{kind.__name__}", "status": status, "message": str(error)}


async def main(url: str, protocol: str) -> None:
    """Work off the cases."""
    cases = json.load(sys.stdin)
    async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0)) as client:
        results = [await done(client, url, case) for case in cases]
    json.dump(results, sys.stdout)


asyncio.run(main(sys.argv[1], sys.argv[2]))
