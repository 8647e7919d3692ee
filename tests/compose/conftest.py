"""One project for all tests: images, networks and volumes are made and removed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compose import engine
from tests.compose.composed import Composed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Run compose.yaml."""
    with Composed(engine.find(), tmp_path_factory.mktemp("compose")) as running:
        yield running
