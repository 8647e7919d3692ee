"""Errors of reading a log, each shown to the user as one sentence instead of a traceback."""

from __future__ import annotations


class SourceError(Exception):
    """A place cannot be read: which one, and what was wrong or wanted."""

    def __init__(self, where: str, what: str) -> None:
        """Take the place and a sentence."""
        super().__init__(f"{where}: {what}")
        self._said = where, what

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str]]:
        """Return what makes it again in another process."""
        return type(self), self._said
