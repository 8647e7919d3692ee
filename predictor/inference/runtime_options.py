"""How the runtime runs a file: what `[session]` of `model.toml` says."""

from __future__ import annotations

from dataclasses import dataclass

CPU = "CPUExecutionProvider"
OPTIMIZATION = ("all", "extended", "basic", "off")
"""What the runtime may change in a graph, from most to nothing."""


@dataclass(frozen=True, slots=True)
class Batching:
    """Which rows of several requests run together."""

    rows: int | None = None
    """So many at most; None: as many as the server allows."""
    wait: float = 0.0
    """Seconds that rows wait for company, while they are fewer."""
    inline: float = 0.0
    """Seconds that a lone row may take that runs on the event loop; 0: none runs there."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """How sessions are made."""

    threads: int = 1
    """Of one run: batches run side by side, so that none is split up."""
    parallel: bool = False
    """Whether operators that do not need one another may run at once, by as many threads."""
    optimization: str = "all"
    arena: bool = True
    """Whether memory that was needed once is kept for the next run."""
    extensions: bool = False
    """Whether the operators of onnxruntime-extensions are there."""
    providers: tuple[str, ...] = (CPU,)
    """Execution providers in the order in which they may take a part of the graph."""
