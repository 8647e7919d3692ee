"""Text that callers have written, made harmless for a spreadsheet or a terminal that a file is opened in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from predictor.core.operator_log import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 - some programs take the wide ones too
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(e[+-]?\d+)?\s?%?")


_BEGINNINGS = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


def harmless_column(values: Sequence[str | None]) -> list[str | None]:
    """Return the texts of a column as `harmless` does, at once if there is nothing to do for any."""
    texts = [value for value in values if value]
    if "".join(texts).isprintable() and not {text[0] for text in texts} & _BEGINNINGS:
        return list(values)
    return [value and harmless(value) for value in values]


def harmless(text: str) -> str:
    """Return text whose control characters are escaped, and which no spreadsheet takes for a formula.

    What begins like one gets an apostrophe before it, as spreadsheets mark text; a number stays as it is. Line ends and
    tabs inside stay, too.
    """
    before = "'" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else ""
    return before + printable(text, but="\t\r\n")
