"""Text that callers have written, made harmless for a spreadsheet or a terminal that a file is opened in."""

from __future__ import annotations

import re

from predictor.core.operator_log import printable

_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 - some programs take the wide ones too
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(e[+-]?\d+)?\s?%?")


def harmless(text: str) -> str:
    """Return text whose control characters are escaped, and which no spreadsheet takes for a formula.

    What begins like one gets an apostrophe before it, as spreadsheets mark text; a number stays as it is. Line ends and
    tabs inside stay, too.
    """
    before = "'" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else ""
    return before + printable(text, but="\t\r\n")
