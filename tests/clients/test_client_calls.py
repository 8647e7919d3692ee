"""The table of tritonclient's calls in docs/clients.md has all of its methods, and says truly which are not here."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.grpc_client import ON, port_said
from tests.support.protocol_clients import TRITON, TRITON_GRPC, python_of
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.protocol_clients import Client

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
ROWS = [
    [re.findall(r"`(\w+)`", cells[1]), *(cell.strip() for cell in cells[2:4])]
    for cells in (
        line.split("|") for line in PAGE.partition("#### Calls of tritonclient")[2].partition("\n#")[0].splitlines()
    )
    if len(cells) > 4 and "`" in cells[1]
]
METHODS = """import json, tritonclient.http as h, tritonclient.grpc as g
print(json.dumps([[n for n in dir(m.InferenceServerClient) if not n.startswith("_")] for m in (h, g)]))"""
OF_THE_CLIENT = {
    "close",
    "generate_request_body",
    "parse_response_body",
    "plugin",
    "register_plugin",
    "unregister_plugin",
}
"""Methods that ask nothing of a server."""
ARGUMENTS = {
    "get_model_config": ["iris"],
    "register_system_shared_memory": ["name", "key", 8],
    "register_cuda_shared_memory": ["name", "", 0, 8],
    "update_trace_settings": ["iris", {}],
    "update_log_settings": [{}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the demo with both doors."""
    with Server(tmp_path_factory.mktemp("calls") / "outbox", **ON) as running:
        yield running


def test_every_method_has_a_row() -> None:
    """The table names each method of both clients that asks a server for something, and none else."""
    done = subprocess.run([python_of("tritonclient"), "-c", METHODS], capture_output=True, check=True, timeout=120)
    http, grpc = (set(names) - OF_THE_CLIENT for names in json.loads(done.stdout))
    assert {name for row in ROWS for name in row[0]} == http | grpc
    assert {name for row in ROWS if row[1] == "not in this client" for name in row[0]} == grpc - http


@pytest.mark.parametrize(("client", "column", "said"), [(TRITON, 1, "404"), (TRITON_GRPC, 2, "`UNIMPLEMENTED`")])
def test_calls_that_are_not_here(server: Server, client: Client, column: int, said: str) -> None:
    """A method whose row says that there is no such call gets that status."""
    names = [name for row in ROWS if row[column] == said for name in row[0] if "stream" not in name]
    assert len(names) >= 10
    place = f"127.0.0.1:{port_said(server)}" if client.calls_grpc else server.url
    cases = [{"do": name, "arguments": ARGUMENTS.get(name, [])} for name in names]
    for name, result in zip(names, client.run(place, cases), strict=True):
        assert said.strip("`") in str(result.get("status")), (name, result)


@pytest.mark.parametrize(("client", "said"), [(TRITON, "400"), (TRITON_GRPC, "INVALID_ARGUMENT")])
@pytest.mark.parametrize("asked", [{"classes": 2, "outputs": ["probabilities"]}, {"sequence": 7}], ids=str)
def test_what_an_inference_may_not_ask_for(server: Server, client: Client, said: str, asked: dict[str, object]) -> None:
    """The best classes and sequences are refused with the status that the row says."""
    row = next(row for row in ROWS if "infer" in row[0])
    assert said in row[1 if client is TRITON else 2]
    place = f"127.0.0.1:{port_said(server)}" if client.calls_grpc else server.url
    features = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [6.7, 3.0, 5.2, 2.3]}
    case = {"do": "infer", "model": "iris", "inputs": [features], "binary": True}
    fine, refused = client.run(place, [case, case | asked])
    assert "raised" not in fine
    assert said in str(refused.get("status")), refused
