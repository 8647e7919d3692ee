"""Whether a lone row may run on the event loop: only of a model that was measured, at its load, to be fast enough.

While it runs nobody else is served. So the time must be known: rows of floats through one thread, without a loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from predictor.inference.batch_trial import rows_to_try
from predictor.inference.onnx_graph import has_subgraphs
from predictor.inference.runtime_errors import ModelError
from predictor.inference.runtime_options import CPU
from predictor.inference.signature import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from predictor.inference.manifest import Manifest

_ROWS = 64
_TIMES = 5
"""Each row runs so often, and the fastest run counts: the others may have waited for a processor."""


def check(path: Path, about: Manifest, run: Callable[[list[list[float]]], object], contents: Iterable[bytes]) -> str:
    """Return a note on how fast a lone row is; raises ModelError unless it is fast enough for `[batching] inline`.

    `about` is complete, `contents` are those of the model's ONNX files.
    """
    reason = _unbounded(about, contents)
    if not reason:
        sample = [float(each.sample or 0) for each in about.features]
        rows = rows_to_try(sample, {})[:_ROWS].tolist()
        seconds = slowest(run, rows)
        if seconds <= about.batch_inline:
            return f"a lone row takes up to {seconds * 1e6:.0f}us and runs on the event loop"
        reason = f"a lone row takes up to {seconds * 1e6:.0f}us here"
    msg = f'{path}: [batching] inline = "{about.batch_inline * 1e6:.0f}us", but {reason}.'
    raise ModelError(msg)


def slowest(run: Callable[[list[list[float]]], object], rows: Sequence[list[float]]) -> float:
    """Return the seconds of the slowest row that runs, each alone."""
    found = 0.0
    for row in rows:
        times = []
        for _ in range(_TIMES):
            begin = time.perf_counter()
            try:
                run([row])
            except Exception:  # noqa: BLE001 - the runtime's exceptions share no other base, and any row may be refused
                break
            times.append(time.perf_counter() - begin)
        found = max(found, min(times, default=0.0))
    return found


def _unbounded(about: Manifest, contents: Iterable[bytes]) -> str:
    """Return why the time of other rows is not known from a few; empty if it is."""
    runtime = about.runtime
    if not about.features or any(each.datatype not in FLOATS for each in about.features):
        return "how long a row takes is known only of rows whose features are all floats"
    if runtime.threads > 1 or runtime.parallel or runtime.extensions or runtime.providers != (CPU,):
        return "how long a row takes is known only with one thread, the CPU and no extensions ([session])"
    if any(map(has_subgraphs, contents)):
        return "how long a row takes may depend on it: there is a loop, a branch or a function in the graph"
    return ""
