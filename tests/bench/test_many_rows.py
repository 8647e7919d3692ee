"""What a row of many costs: the measurement runs, and the way by column is the shorter one."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from bench import many_rows

if TYPE_CHECKING:
    import pytest


def test_both_ways(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is measured both ways over the same rows; a row that shares its record has a tenth of the bytes."""
    monkeypatch.setattr(sys, "argv", ["bench.many_rows", "--rows", "64", "--rounds", "1"])
    assert many_rows.main() == 0
    said = capsys.readouterr().out
    steps = re.findall(r"^(.+?) +[\d.]+ µs a row$", said, flags=re.MULTILINE)
    assert steps[:4] == ["decode and check", "model", "predictions", "answer"]
    assert {step.partition(": ")[2] for step in steps[4:]} == {"records", "numbers", "line", "digests", "write"}
    sizes = {name: int(size) for name, size in re.findall(r"^(\w+) +(\d+) bytes", said, flags=re.MULTILINE)}
    assert sizes["per_request"] * 10 < sizes["per_row"]
