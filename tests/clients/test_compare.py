"""The table of docs/clients.md: this server's column is what it answers, and deviates for one reason only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.clients.compare import CASES, answers_of_one_client
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8").split("## Beside KServe and MLServer")[1]
_ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", _PAGE, re.MULTILINE)[2:]
]
_STRICTER = "400 BadRequestError"


def test_this_servers_column(outbox: Path) -> None:
    """Each case is answered by this server as the table has it."""
    with Server(outbox) as server:
        found = answers_of_one_client(server.url)
    assert [[case, ours] for case, ours, *_ in _ROWS] == [list(each) for each in zip(CASES, found, strict=True)]


def test_deviations() -> None:
    """In each row this server equals one of the others, or refuses as a bad request what they fail at or overlook."""
    for case, ours, *theirs in _ROWS:
        assert ours in theirs or (ours == _STRICTER and all(each[:3] in {"200", "500"} for each in theirs)), case
