"""Reads the tables `[session]` and `[batching]` of `model.toml`: how the runtime runs the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.inference.runtime_options import CPU, OPTIMIZATION, Runtime
from predictor.inference.toml_table import one_of, texts

if TYPE_CHECKING:
    from predictor.inference.toml_table import TomlTable

_MOST_ROWS = 4096


def runtime(table: TomlTable) -> Runtime:
    """Return how sessions are made; raises DescriptionError, as below."""
    modes, levels = ("sequential", "parallel"), OPTIMIZATION
    found = Runtime(
        threads=table.count("threads", 256) if "threads" in table else 1,
        parallel="execution" in table and table.text("execution", one_of(modes), "|".join(modes)) == "parallel",
        optimization=table.text("optimization", one_of(levels), "|".join(levels)) if "optimization" in table else "all",
        arena=table.flag("arena") if "arena" in table else True,
        providers=texts(table, "providers", "names of execution providers") if "providers" in table else (CPU,),
    )
    table.close()
    return found


def batch_rows(table: TomlTable) -> int | None:
    """Return how many rows may run together, None if it does not say."""
    rows = table.count("rows", _MOST_ROWS) if "rows" in table else None
    table.close()
    return rows
