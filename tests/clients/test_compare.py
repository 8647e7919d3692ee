"""The tables of docs/clients.md: this server's column is what it answers, and deviates for one reason only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.clients.compare import CASES, GRPC_CASES, answers_of_one_client
from tests.support.grpc_client import ON, port_said
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8").split("## Beside KServe and MLServer")[1]
_HTTP, _GRPC = (
    [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", part, re.MULTILINE)[2:]]
    for part in _PAGE.split("### By gRPC")
)
_STRICTER = {"400 BadRequestError", "INVALID_ARGUMENT InferenceServerException", "INVALID_ARGUMENT AioRpcError"}
_OVERLOOKED = ("200", "500", "OK", "INTERNAL")


def test_this_servers_column(outbox: Path) -> None:
    """Each case is answered by this server as the table has it."""
    with Server(outbox, **ON) as server:
        by_http, by_grpc = (answers_of_one_client(place) for place in (server.url, f"127.0.0.1:{port_said(server)}"))
    assert [[case, ours] for case, ours, *_ in _HTTP] == [list(each) for each in zip(CASES, by_http, strict=True)]
    assert [[case, ours] for case, ours, *_ in _GRPC] == [list(each) for each in zip(GRPC_CASES, by_grpc, strict=True)]


def test_deviations() -> None:
    """In each row this server answers what one of the others does, or refuses what they fail at or overlook."""
    for case, ours, *theirs in (*_HTTP, *_GRPC):
        # It may say more: metadata.
        assert any(ours.startswith(each) for each in theirs) or (
            ours in _STRICTER and all(each.startswith(_OVERLOOKED) for each in theirs)
        ), case
