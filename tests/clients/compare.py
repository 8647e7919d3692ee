"""What this server, KServe's Python server and MLServer answer to the same clients: the tables of docs/clients.md.

`python -m tests.clients.compare "this server"=URL KServe=URL MLServer=URL` prints one for servers that run already:
this one as `make run` starts it, KServe's by `kserve_server.py`, MLServer with `bench/peers/on_mlserver.py`. Those two
run the same file by a few lines of a custom model; what does not reach these lines is answered by their own code.
With `HOST:PORT` in the place of each URL it prints the table of gRPC.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.inference_protocol import tensor
from tests.support.protocol_clients import KSERVE_GRPC, OPEN_INFERENCE, TRITON, TRITON_GRPC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.protocol_clients import Client

_ROW = tensor("features", np.array([[6.7, 3.0, 5.2, 2.3]], np.float32))


def _infer(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"do": "infer", "model": "iris", "inputs": [_ROW], "binary": False} | more


CASES: dict[str, tuple[Client, dict[str, Any]]] = {
    "a row": (TRITON, _infer()),
    "a row, nested": (OPEN_INFERENCE, _infer(inputs=[_ROW | {"data": [_ROW["data"]]}])),
    "an output by name": (TRITON, _infer(outputs=["probabilities"])),
    "data behind the JSON": (TRITON, _infer(binary=True)),
    "the server's metadata": (OPEN_INFERENCE, {"do": "read_server_metadata"}),
    "the model's metadata": (OPEN_INFERENCE, {"do": "read_model_metadata", "arguments": ["iris"]}),
    "the model is ready": (TRITON, {"do": "is_model_ready", "arguments": ["iris"]}),
    "no such model": (OPEN_INFERENCE, _infer(model="nothing")),
    "no such model: ready": (TRITON, {"do": "is_model_ready", "arguments": ["nothing"]}),
    "no such model: metadata": (OPEN_INFERENCE, {"do": "read_model_metadata", "arguments": ["nothing"]}),
    "no such version": (OPEN_INFERENCE, _infer(version="99")),
    "no such input": (OPEN_INFERENCE, _infer(inputs=[_ROW | {"name": "nothing"}])),
    "no inputs": (OPEN_INFERENCE, _infer(inputs=[])),
    "no such output": (OPEN_INFERENCE, _infer(outputs=["nothing"])),
    "another width": (OPEN_INFERENCE, _infer(inputs=[_ROW | {"shape": [1, 3], "data": [1.0, 2.0, 3.0]}])),
    "data that is not of the shape": (OPEN_INFERENCE, _infer(inputs=[_ROW | {"shape": [2, 4]}])),
    "texts for numbers": (OPEN_INFERENCE, _infer(inputs=[_ROW | {"data": ["a", "b", "c", "d"]}])),
    "no such datatype": (OPEN_INFERENCE, _infer(inputs=[_ROW | {"datatype": "FLOAT"}])),
    "statistics": (TRITON, {"do": "get_inference_statistics", "arguments": ["iris"]}),
}


GRPC_CASES: dict[str, tuple[Client, dict[str, Any]]] = {
    "a row": (TRITON_GRPC, _infer()),
    "a row, typed": (KSERVE_GRPC, _infer()),
    "an output by name": (TRITON_GRPC, _infer(outputs=["probabilities"])),
    "compressed": (TRITON_GRPC, _infer(compressed="gzip")),
    "the server is ready": (TRITON_GRPC, {"do": "is_server_ready"}),
    "the server's metadata": (TRITON_GRPC, {"do": "get_server_metadata"}),
    "the model's metadata": (TRITON_GRPC, {"do": "get_model_metadata", "arguments": ["iris"]}),
    "the model is ready": (KSERVE_GRPC, {"do": "is_model_ready", "arguments": ["iris"]}),
    "no such model": (TRITON_GRPC, _infer(model="nothing")),
    "no such model, typed": (KSERVE_GRPC, _infer(model="nothing")),
    "no such model: ready": (TRITON_GRPC, {"do": "is_model_ready", "arguments": ["nothing"]}),
    "no such model: metadata": (TRITON_GRPC, {"do": "get_model_metadata", "arguments": ["nothing"]}),
    "no such version": (TRITON_GRPC, _infer(version="99")),
    "no such input": (TRITON_GRPC, _infer(inputs=[_ROW | {"name": "nothing"}])),
    "no inputs": (TRITON_GRPC, _infer(inputs=[])),
    "no such output": (TRITON_GRPC, _infer(outputs=["nothing"])),
    "another width": (TRITON_GRPC, _infer(inputs=[_ROW | {"shape": [1, 3], "data": [1.0, 2.0, 3.0]}])),
    "another width, typed": (KSERVE_GRPC, _infer(inputs=[_ROW | {"shape": [1, 3], "data": [1.0, 2.0, 3.0]}])),
    "another datatype": (TRITON_GRPC, _infer(inputs=[_ROW | {"datatype": "INT64", "data": [6, 3, 5, 2]}])),
    "statistics": (TRITON_GRPC, {"do": "get_inference_statistics", "arguments": ["iris"]}),
    "a model's configuration": (TRITON_GRPC, {"do": "get_model_config", "arguments": ["iris"]}),
}
"""By gRPC; `tritonclient` sends raw data, KServe's client typed data here."""


def cases_of(place: str) -> dict[str, tuple[Client, dict[str, Any]]]:
    """Return the cases of a URL, or of a place where gRPC is spoken."""
    return CASES if "://" in place else GRPC_CASES


def answers(place: str) -> list[str]:
    """Return what came of each case: the status and exception, or what was answered.

    Each has a client of its own: a server may close its connection after an error.
    """
    return [_shown(place, *client.run(place, [case])) for client, case in cases_of(place).values()]


def answers_of_one_client(place: str) -> list[str]:
    """Return the same, faster, of a server that keeps its connections."""
    found: dict[str, str] = {}
    cases = cases_of(place)
    for client in {client for client, _ in cases.values()}:
        own = {name: case for name, (whose, case) in cases.items() if whose == client}
        results = client.run(place, [*own.values()])
        found |= {name: _shown(place, result) for name, result in zip(own, results, strict=True)}
    return [found[name] for name in cases]


def _shown(place: str, result: Mapping[str, Any]) -> str:
    if "raised" in result:
        status = str(result["status"] or "none").removeprefix("StatusCode.")
        return f"{status} {result['raised'].rpartition('.')[2]}"
    fine = "200" if "://" in place else "OK"
    if "outputs" in result:
        first = next(iter(result["outputs"].values()))
        return f"{fine} {len(first['data'])} numbers"
    returned = result["returned"]
    return f"{fine} {', '.join(returned)}" if isinstance(returned, dict) else str(returned)


def rows(cases: Iterable[str], columns: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the table as Markdown."""
    lines = [f"| case | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    cells = zip(cases, *columns.values(), strict=True)
    return [*lines, *(f"| {' | '.join(each)} |" for each in cells)]


if __name__ == "__main__":
    named = dict(each.split("=", 1) for each in sys.argv[1:])
    found = {name: answers(place) for name, place in named.items()}
    print("\n".join(rows(cases_of(next(iter(named.values()))), found)))  # noqa: T201 - the table
