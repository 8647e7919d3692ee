"""Errors of reading a log, each shown to the user as one sentence instead of a traceback."""

from __future__ import annotations


class SourceError(Exception):
    """A place cannot be read: which one, and what was wrong or wanted."""

    def __init__(self, where: str, what: str) -> None:
        """Take the place and a sentence."""
        super().__init__(f"{where}: {what}")
