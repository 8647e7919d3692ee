"""Fixtures of the outbox's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.outbox.layout import SignalFiles
from tests.support.faulty_disk import Faulty

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def disk() -> Faulty:
    """Return a disk without faults so far."""
    return Faulty()


@pytest.fixture
def files(tmp_path: Path) -> SignalFiles:
    """Return an empty folder for segments."""
    (tmp_path / "logs").mkdir()
    return SignalFiles(tmp_path / "logs")
