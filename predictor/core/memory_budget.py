"""A budget of memory that requests share: bodies on their way, what is read ahead, and answers that nobody takes.

Each connection has a bounded part of its own (`PREDICTOR_CONNECTIONS` counts with it); what goes beyond that is charged
here, so that many large bodies together cannot use up the process's memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from typing import Self

_RETRY_AFTER = 1
"""Seconds: bodies come and go within PREDICTOR_DEADLINE, most of them far sooner."""


class MemoryBudget:
    """So many bytes for all requests together."""

    __slots__ = ("_most", "_used")

    def __init__(self, most: int) -> None:
        """Begin with all of them free."""
        self._most = most
        self._used = 0

    @property
    def most(self) -> int:
        """Bytes that may be held."""
        return self._most

    @property
    def used(self) -> int:
        """Bytes that are held."""
        return self._used

    def take(self, size: int) -> bool:
        """Hold so many bytes more; return False, and hold none, where they do not fit."""
        if self._used + size > self._most:
            return False
        self._used += size
        return True

    def give(self, size: int) -> None:
        """Hold so many bytes less."""
        self._used -= size

    def share(self, free: int = 0) -> Share:
        """Return the share of one request, of which the first `free` bytes are not charged."""
        return Share(self, free)

    def refusal(self) -> Problem:
        """Return the problem for a caller whose bytes do not fit."""
        detail = f"the bodies on their way hold {self._used} of {self._most} bytes (PREDICTOR_BUFFERED_BYTES)"
        return Problem(Kind.BODIES_FULL, detail, retry_after=_RETRY_AFTER)


class Share:
    """What one request holds of the budget, until its answer; a context manager that gives all of it back."""

    __slots__ = ("_budget", "_charged", "_free", "_size")

    def __init__(self, budget: MemoryBudget, free: int) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self._free = free
        self._size = 0
        self._charged = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.resize(0)

    def grow(self, size: int) -> None:
        """Hold so many bytes more; raises Problem where they do not fit."""
        self.resize(self._size + size)

    def resize(self, size: int) -> None:
        """Hold so many bytes in all; raises Problem where they do not fit."""
        if not self.fit(size):
            raise self._budget.refusal()

    def fit(self, size: int) -> bool:
        """Hold so many bytes in all; return False, and change nothing, where they do not fit."""
        charged = max(0, size - self._free)
        if charged > self._charged:
            if not self._budget.take(charged - self._charged):
                return False
        else:
            self._budget.give(self._charged - charged)
        self._size, self._charged = size, charged
        return True
