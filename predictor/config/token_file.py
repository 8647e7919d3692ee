"""A file of tokens, one a line; blank lines and lines that begin with `#` are none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LEAST = 16
"""Characters: fewer could be found by trying."""
_TOKEN = re.compile(rf"[!-~]{{{_LEAST},}}")


def read_tokens(path: Path, variable: str) -> tuple[str, ...]:
    """Return the tokens of the file that a setting names; raises ValueError with a sentence that shows none of them."""
    try:
        lines = path.read_bytes().decode("ascii", "replace").splitlines()
    except OSError as error:
        msg = f"{variable} is {str(path)!r}, wanted a file of tokens: {error.strerror}"
        raise ValueError(msg) from None
    tokens = []
    for number, line in enumerate(lines, start=1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not _TOKEN.fullmatch(token):
            wanted = f"wanted {_LEAST} or more ASCII characters, no space"
            msg = f"{variable}: line {number} of {path} is not a token, {wanted}"
            raise ValueError(msg)
        tokens.append(token)
    if not tokens:
        msg = f"{variable} is {str(path)!r}, wanted a file of tokens, one a line: it holds none"
        raise ValueError(msg)
    return tuple(tokens)
