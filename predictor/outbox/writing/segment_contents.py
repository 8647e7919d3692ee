"""Which stream numbers each segment holds, so that those of a removed file can be named."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


class NumberRange(NamedTuple):
    """Stream numbers of records, both ends included."""

    first: int
    last: int


class Contents:
    """The numbers of the segments that this process has completed and nobody has read to the end yet."""

    def __init__(self) -> None:
        """Know of no segment."""
        self._complete: dict[int, NumberRange] = {}
        self._before = 0  # the last number before the current segment
        self._gone: list[NumberRange] = []

    def before(self, number: int | None) -> frozenset[int]:
        """Return the complete segments whose numbers are all below this one, all of them for None."""
        return frozenset(each for each, (_, last) in self._complete.items() if number is None or last < number)

    def complete(self, segment: int, last: int) -> None:
        """Note that the current segment was `segment` and that `last` is the last number in it."""
        if last > self._before:
            self._complete[segment] = NumberRange(self._before + 1, last)
            self._before = last

    def rewritten(self, segments: Collection[int], unreadable: Collection[int], kept: int) -> None:
        """Note that the current segment now holds the removed ones, but for the unreadable, and all after `kept`."""
        self._before = min(self._before, kept)
        for segment, numbers in list(self._complete.items()):
            first, last = numbers.first, min(numbers.last, kept)
            if segment in segments and segment not in unreadable:
                self._before = min(self._before, first - 1)
            elif segment in segments and first <= last:
                self._gone.append(NumberRange(first, last))
            elif segment not in segments and first <= last:
                self._complete[segment] = NumberRange(first, last)
                continue
            del self._complete[segment]

    def lost(self, absent: Collection[int], reached: int) -> list[NumberRange]:
        """Return, once, what went with the `absent` segments and was not read up to the number `reached`."""
        gone, self._gone = self._gone, []
        for segment, numbers in list(self._complete.items()):
            if segment in absent or numbers.last <= reached:
                gone.append(self._complete.pop(segment))
        return [NumberRange(max(first, reached + 1), last) for first, last in gone if last > reached]
