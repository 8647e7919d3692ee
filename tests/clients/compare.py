"""What this server, KServe's Python server and MLServer answer to the same clients: the table of docs/clients.md.

`python -m tests.clients.compare "this server"=URL KServe=URL MLServer=URL` prints it for servers that run already: this
one as `make run` starts it, KServe's by `kserve_server.py`, MLServer with `bench/peers/on_mlserver.py`. Those two run
the same file by a few lines of a custom model; what does not reach these lines is answered by their own code.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.inference_protocol import tensor
from tests.support.protocol_clients import OPEN_INFERENCE, TRITON

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


def answers(url: str) -> list[str]:
    """Return what came of each case: the status and exception, or what was answered.

    Each has a client of its own: a server may close its connection after an error.
    """
    return [_shown(*client.run(url, [case])) for client, case in CASES.values()]


def answers_of_one_client(url: str) -> list[str]:
    """Return the same, faster, of a server that keeps its connections."""
    found: dict[str, str] = {}
    for client in {client for client, _ in CASES.values()}:
        own = {name: case for name, (whose, case) in CASES.items() if whose == client}
        results = client.run(url, [*own.values()])
        found |= {name: _shown(result) for name, result in zip(own, results, strict=True)}
    return [found[name] for name in CASES]


def _shown(result: Mapping[str, Any]) -> str:
    if "raised" in result:
        return f"{result['status'] or 'none'} {result['raised'].rpartition('.')[2]}"
    if "outputs" in result:
        first = next(iter(result["outputs"].values()))
        return f"200 {len(first['data'])} numbers"
    returned = result["returned"]
    return f"200 {', '.join(returned)}" if isinstance(returned, dict) else str(returned)


def rows(columns: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the table as Markdown."""
    lines = [f"| case | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    cells = zip(CASES, *columns.values(), strict=True)
    return [*lines, *(f"| {' | '.join(each)} |" for each in cells)]


if __name__ == "__main__":
    named = dict(each.split("=", 1) for each in sys.argv[1:])
    print("\n".join(rows({name: answers(url) for name, url in named.items()})))  # noqa: T201 - the table
