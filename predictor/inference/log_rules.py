"""What `model.toml` says of the log: `[log]`, and `log` of the inputs and outputs of a model of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.core.features import Log
    from predictor.inference.toml_table import TomlTable

OutputMode = Literal["keep", "round", "hash", "drop"]
RowsMode = Literal["per_row", "per_request"]
"""A record for each row, or as many rows of a request in one record as fit."""
_MOST_DECIMALS = 15


@dataclass(frozen=True, slots=True)
class OutputLog:
    """What the record holds of label, probabilities, confidence and outlier score."""

    mode: OutputMode = "keep"
    decimals: int = 0
    """Digits after the point that `round` leaves."""

    def __str__(self) -> str:
        """Return it as the record's scope has it: `drop`, `hash`, `round:2`."""
        return f"round:{self.decimals}" if self.mode == "round" else self.mode


KEEP_OUTPUTS = OutputLog()


@dataclass(frozen=True, slots=True)
class LogRules:
    """What `[log]` says."""

    outputs: OutputLog = KEEP_OUTPUTS
    rows: RowsMode | None = None
    """None: what is usual for the task."""


def log_rules(table: TomlTable) -> LogRules:
    """Return what a table `[log]` says; raises DescriptionError."""
    outputs, rows = KEEP_OUTPUTS, None
    if "rows" in table:
        rows = cast("RowsMode", table.text("rows", "per_row or per_request", "per_row|per_request"))
    if "outputs" in table or rows is None:
        mode = cast("OutputMode", table.text("outputs", "keep, round, hash or drop", "keep|round|hash|drop"))
        decimals = 0
        if mode == "round":
            wanted = f"a whole number from 0 to {_MOST_DECIMALS}"
            decimals = table.take("decimals", wanted)
            if type(decimals) is not int or not 0 <= decimals <= _MOST_DECIMALS:
                table.refuse("decimals", decimals, wanted)
        outputs = OutputLog(mode, decimals)
    table.close()
    return LogRules(outputs, rows)


def log_of(table: TomlTable) -> Log:
    """Return what the record holds of a feature or a tensor: all of it unless the table says otherwise."""
    return cast("Log", table.text("log", "keep, drop or hash", "keep|drop|hash") if "log" in table else "keep")


def tensor_logs(top: TomlTable, key: str) -> Mapping[str, Log]:
    """Return what the record holds of named inputs or outputs; raises DescriptionError."""
    found: dict[str, Log] = {}
    for table in top.tables(key) if key in top else ():
        name = table.text("name", "the name of an input or output of the file")
        if name in found:
            table.refuse("name", name, "a name that none before it has")
        found[name] = log_of(table)
        table.close()
    return found
