"""A model that waits until it is told to go on, so that a test decides what runs together and what is late."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from predictor.server import app
from tests.support.server import Here, model

if TYPE_CHECKING:
    from predictor.core.result import Rows
    from predictor.inference.model import Outputs
    from predictor.inference.onnx_session import Floats
    from predictor.inference.table_input import Feed

_PATIENCE = 20.0  # s


class Gate:
    """A model that runs its batches when it is told to, and remembers how many rows each had."""

    def __init__(self) -> None:
        """Keep everything waiting until `open`."""
        self.description = model().description
        self.signature = model().signature
        self.batches: list[int] = []
        self._open = threading.Event()

    def run(self, rows: Floats) -> Outputs:
        """Wait, then run iris."""
        self._wait(len(rows))
        return model().run(rows)

    def run_feed(self, feed: Feed, rows: Rows, *, own: bool = True) -> Outputs:
        """Wait, then run iris on tensors."""
        self._wait(len(rows))
        return model().run_feed(feed, rows, own=own)

    def open(self) -> None:
        """Let everything through from now on."""
        self._open.set()

    def _wait(self, rows: int) -> None:
        self.batches.append(rows)
        assert self._open.wait(_PATIENCE)


def pipeline(here: Here, gate: Gate | None = None) -> Any:  # noqa: ANN401 - its inside
    """Return the pipeline, its model behind the gate if there is one."""
    found: Any = here.app[app.MODELS].catalog.meant().pipeline
    if gate:
        found.model = gate
    return found
