"""Reads `training.toml`: the range of each feature in training, for the page's plots and the trial at the start."""

from __future__ import annotations

import logging
import math
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

FILE = "training.toml"
Range: TypeAlias = tuple[float, float]
Ranges: TypeAlias = Mapping[str, Range]
_logger = logging.getLogger("predictor.inference")


def ranges(folder: Path) -> dict[str, Range]:
    """Return the lowest and highest value of each feature in training, as far as they are known.

    A model without the file has none; one that cannot be read is said on stderr and stops no prediction.
    """
    path = folder / FILE
    try:
        return _ranges(tomllib.loads(path.read_text(encoding="utf-8")).get("range", {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # no TOML and no UTF-8 are ValueErrors too
        _logger.warning("%s cannot be used, nothing is known of the training ranges: %s", path, error)
        return {}


def _ranges(table: Any) -> dict[str, Range]:  # noqa: ANN401 - whatever TOML holds
    if not isinstance(table, dict):
        msg = "range is not a table"
        raise ValueError(msg)  # noqa: TRY004 - one error for the one who reads the file
    return {str(name): _range(str(name), value) for name, value in table.items()}


def _range(name: str, value: Any) -> Range:  # noqa: ANN401 - as above
    match value:
        case [(int() | float()) as low, (int() | float()) as high] if math.isfinite(high - low) and low <= high:
            return float(low), float(high)
    msg = f"range.{name} is {value!r}, wanted [lowest, highest]"
    raise ValueError(msg)
