"""open-inference-openapi's client, plain and asyncio: does what the cases on stdin say, writes what came of each.

Run in an environment of its own as `python with_open_inference.py URL plain|asyncio`.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the client's own environment.

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any

from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.types import InferenceRequest, RequestInput, RequestOutput, TensorData


async def infer(client: Any, case: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - one of two
    """Ask for an inference."""
    inputs = [
        RequestInput(
            name=each["name"],
            shape=each["shape"],
            datatype=each["datatype"],
            data=TensorData.parse_obj(each["data"]),
        )
        for each in case["inputs"]
    ]
    wanted = [RequestOutput(name=name) for name in case.get("outputs", [])]
    request = InferenceRequest(id=case.get("id"), inputs=inputs, outputs=wanted or None)
    if "version" in case:
        response = client.model_version_infer(case["model"], case["version"], request=request)
    else:
        response = client.model_infer(case["model"], request=request)
    if inspect.isawaitable(response):
        response = await response
    message = json.loads(response.json())
    found = {each["name"]: {key: each[key] for key in ("datatype", "shape", "data")} for each in message["outputs"]}
    return {"outputs": found, **{name: message.get(name) for name in ("id", "parameters", "model_version")}}


async def done(client: Any, case: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the client returns
    """Do what a case says."""
    try:
        if case["do"] == "infer":
            return await infer(client, case)
        result = getattr(client, case["do"])(*case.get("arguments", []))
        if inspect.isawaitable(result):
            result = await result
        return {"returned": json.loads(result.json()) if result is not None else None}
    except Exception as error:  # noqa: BLE001 - what it raises is what is asked
        kind = type(error)
        status = getattr(error, "status_code", None)
        return {"raised": f"{kind.__module__}.{kind.__name__}", "status": status, "message": str(error)}


async def main(url: str, kind: str) -> None:
    """Work off the cases."""
    cases = json.load(sys.stdin)
    client = (OpenInferenceClient if kind == "plain" else AsyncOpenInferenceClient)(base_url=url)
    json.dump([await done(client, case) for case in cases], sys.stdout)


asyncio.run(main(sys.argv[1], sys.argv[2]))
