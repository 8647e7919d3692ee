"""Finds the numbers of a stream that are in no file and were not declared lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor import otlp

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOST = "prediction.stream.lost"


class Seen:
    """The numbers that were seen, as ranges: a stream in order is one, whatever its length."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self._ranges: list[tuple[int, int]] = []

    @property
    def first(self) -> int:
        """The lowest number, 0 if there is none."""
        return min((first for first, _ in self._ranges), default=0)

    def add(self, first: int, last: int) -> None:
        """Count these numbers as seen."""
        if self._ranges and self._ranges[-1][0] <= first <= self._ranges[-1][1] + 1:
            first, last = self._ranges[-1][0], max(last, self._ranges[-1][1])
            self._ranges.pop()
        self._ranges.append((first, last))

    def add_line(self, line: bytes) -> None:
        """Count the numbers of a line of ours as seen, and those that it declares as lost."""
        self.add(otlp.first_sequence(line), otlp.last_sequence(line))
        for first, last in otlp.declared(line) if _LOST.encode() in line else ():
            self.add(first, last)

    def gaps(self, after: int, before: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges between these two numbers that were not seen."""
        for first, last in sorted(self._ranges):
            if after + 1 < min(first, before):
                yield after + 1, min(first, before) - 1
            after = max(after, last)
        if after + 1 < before:
            yield after + 1, before - 1
