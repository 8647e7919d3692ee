"""Sets of sequence numbers in pages, 8 bytes a record, so that millions fit in bounded memory.

A page is made when the first of its numbers is seen: a record with an absurd number costs one page, not its number.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = 4096


class Fingerprints:
    """64 bits for each number that was seen; 0 stands for not seen."""

    def __init__(self) -> None:
        """Know of none."""
        self._pages: dict[int, array[int]] = {}

    def add(self, number: int, fingerprint: int) -> int:
        """Remember the first fingerprint of a number and return the one that is remembered, 0 if it is new."""
        page = self._pages.setdefault(number // _PAGE, array("Q"))
        if not page:
            page.frombytes(bytes(8 * _PAGE))
        before = page[number % _PAGE]
        if not before:
            page[number % _PAGE] = fingerprint or 1
        return before

    def __contains__(self, number: object) -> bool:
        """Tell whether a number was seen."""
        if not isinstance(number, int):
            return False
        page = self._pages.get(number // _PAGE)
        return bool(page and page[number % _PAGE])

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the stretches (first, last) of numbers that were seen, ascending."""
        first = last = None
        for at in sorted(self._pages):
            for offset, value in enumerate(self._pages[at]):
                if not value:
                    continue
                number = at * _PAGE + offset
                if last is None or number != last + 1:
                    if first is not None and last is not None:
                        yield first, last
                    first = number
                last = number
        if first is not None and last is not None:
            yield first, last

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of numbers from `first` to `last` that were not seen, ascending."""
        return without(iter([(first, last)]), list(self.ranges()))


class NumberSet:
    """Which numbers were seen: a bit each."""

    def __init__(self) -> None:
        """Know of none."""
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Remember a number and tell whether it is new."""
        page = self._pages.setdefault(number // _PAGE, bytearray())
        if not page:
            page.extend(bytes(_PAGE // 8))
        at, bit = number % _PAGE // 8, 1 << number % 8
        new = not page[at] & bit
        page[at] |= bit
        return new

    def __contains__(self, number: object) -> bool:
        """Tell whether a number was seen."""
        page = self._pages.get(number // _PAGE) if isinstance(number, int) else None
        return bool(page and isinstance(number, int) and page[number % _PAGE // 8] & 1 << number % 8)


def without(gaps: Iterator[tuple[int, int]], declared: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what is left of `gaps` once the `declared` stretches are taken out of them."""
    declared = sorted(declared)
    for first, last in gaps:
        at = first
        for begin, end in declared:
            if end < at:
                continue
            if begin > last:
                break
            if begin > at:
                yield at, begin - 1
            at = end + 1
        if at <= last:
            yield at, last


class Once:
    """Fingerprints of things that may be there once only; which came twice is found at the end."""

    def __init__(self) -> None:
        """Know of none."""
        self._parts = [array("Q") for _ in range(256)]  # by their top byte: sorting one part at a time is little memory

    def add(self, fingerprint: int) -> None:
        """Take one more."""
        self._parts[fingerprint >> 56].append(fingerprint)

    def twice(self) -> set[int]:
        """Return the fingerprints that came more than once."""
        found: set[int] = set()
        for part in self._parts:
            ordered = sorted(part)
            found.update(one for one, other in pairwise(ordered) if one == other)
        return found
