"""What a row costs in a record with others: the measurement runs, and the way by column is the shorter one."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from bench import many_rows

if TYPE_CHECKING:
    import pytest


def test_both_ways(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways are measured over the same rows, and a row that shares its record has a tenth of the bytes."""
    monkeypatch.setattr(sys, "argv", ["bench.many_rows", "--rows", "64", "--rounds", "1"])
    assert many_rows.main() == 0
    sizes = {name: int(size) for name, size in re.findall(r"(\w+) +[\d.]+ µs +(\d+) bytes", capsys.readouterr().out)}
    assert sizes["per_request"] * 10 < sizes["per_row"]
