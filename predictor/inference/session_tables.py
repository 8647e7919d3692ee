"""Reads the tables `[session]` and `[batching]` of `model.toml`: how the runtime runs the files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from predictor.inference.runtime_options import CPU, OPTIMIZATION, Batching, Runtime
from predictor.inference.toml_table import one_of, texts

if TYPE_CHECKING:
    from predictor.inference.toml_table import TomlTable

_MOST_ROWS = 4096
_LONGEST_WAIT = 1
"""Seconds: a tenth of the usual deadline of a request, PREDICTOR_DEADLINE."""

_LONGEST_INLINE = 1000
"""Microseconds for which one row may hold up everybody else."""
_MICROSECONDS = re.compile(r"([0-9]{1,6})us")


def runtime(table: TomlTable) -> Runtime:
    """Return how sessions are made; raises DescriptionError, as below."""
    modes, levels = ("sequential", "parallel"), OPTIMIZATION
    found = Runtime(
        threads=table.count("threads", 256) if "threads" in table else 1,
        parallel="execution" in table and table.text("execution", one_of(modes), "|".join(modes)) == "parallel",
        optimization=table.text("optimization", one_of(levels), "|".join(levels)) if "optimization" in table else "all",
        extensions=table.flag("extensions") if "extensions" in table else False,
        arena=table.flag("arena") if "arena" in table else True,
        providers=texts(table, "providers", "names of execution providers") if "providers" in table else (CPU,),
    )
    table.close()
    return found


def batching(table: TomlTable) -> Batching:
    """Return what is said of rows that run together."""
    rows = table.count("rows", _MOST_ROWS) if "rows" in table else None
    wait = _wait(table) if "wait" in table else 0.0
    inline = _inline(table) if "inline" in table else 0.0
    if wait and inline:
        table.refuse("inline", f"{inline * 1e6:g}us", "no wait with it: a row that runs at once waits for no others")
    table.close()
    return Batching(rows, wait, inline)


def _inline(table: TomlTable) -> float:
    wanted = f'a time from "1us" to "{_LONGEST_INLINE}us"'
    inline = table.take("inline", wanted)
    match = _MICROSECONDS.fullmatch(inline) if isinstance(inline, str) else None
    if match is None or not 1 <= int(match[1]) <= _LONGEST_INLINE:
        table.refuse("inline", inline, wanted)
    return int(match[1]) / 1e6


def _wait(table: TomlTable) -> float:
    wanted = f"seconds from 0 to {_LONGEST_WAIT}"
    wait = table.take("wait", wanted)
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= _LONGEST_WAIT:
        table.refuse("wait", wait, wanted)
    return float(wait)
