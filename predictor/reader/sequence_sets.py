"""Sets of sequence numbers in pages, 8 bytes a record, so that millions fit in bounded memory.

A page is made when some of its numbers are seen: a record with an absurd number costs little, whatever it is.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = 4096
_FEW = 64
"""Numbers of a page that are remembered one by one, which takes less than the page."""


class Fingerprints:
    """64 bits for each number that was seen; 0 stands for not seen."""

    def __init__(self) -> None:
        """Know of none."""
        self._pages: dict[int, array[int]] = {}
        self._few: dict[int, dict[int, int]] = {}
        """Pages of which only some numbers were seen, by place: numbers that lie far apart are forged or damaged."""

    def add(self, number: int, fingerprint: int) -> int:
        """Remember the first fingerprint of a number and return the one that is remembered, 0 if it is new."""
        at, place = divmod(number, _PAGE)
        page = self._pages.get(at)
        if page is None:
            few = self._few.setdefault(at, {})
            if len(few) < _FEW or place in few:
                before = few.get(place, 0)
                few.setdefault(place, fingerprint or 1)
                return before
            page = self._page(at)
        before = page[place]
        if not before:
            page[place] = fingerprint or 1
        return before

    def add_all(self, first: int, fingerprints: array[int]) -> bool:
        """Remember fingerprints of numbers that follow one another, or none of them, and tell which.

        They are remembered if none of the numbers was seen before.
        """
        if 0 in fingerprints:
            return False
        stretches = []
        done = 0
        while done < len(fingerprints):
            at, place = divmod(first + done, _PAGE)
            count = min(_PAGE - place, len(fingerprints) - done)
            page = self._pages.get(at)
            if page is not None and page[place : place + count].count(0) < count:
                return False
            if any(place <= seen < place + count for seen in self._few.get(at, ())):
                return False
            stretches.append((at, place, fingerprints[done : done + count]))
            done += count
        for at, place, some in stretches:
            few = self._few.get(at, {})
            if at not in self._pages and len(few) + len(some) <= _FEW:
                few.update(enumerate(some, place))
                self._few[at] = few
            else:
                self._page(at)[place : place + len(some)] = some
        return True

    def _page(self, at: int) -> array[int]:
        page = self._pages.get(at)
        if page is None:
            page = self._pages[at] = array("Q", bytes(8 * _PAGE))
            for place, fingerprint in self._few.pop(at, {}).items():
                page[place] = fingerprint
        return page

    def __contains__(self, number: object) -> bool:
        """Tell whether a number was seen."""
        if not isinstance(number, int):
            return False
        at, place = divmod(number, _PAGE)
        page = self._pages.get(at)
        return bool(page[place]) if page is not None else place in self._few.get(at, ())

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the stretches (first, last) of numbers that were seen, ascending."""
        first = last = None
        for begin, end in self._stretches():
            if last is None or begin != last + 1:
                if first is not None and last is not None:
                    yield first, last
                first = begin
            last = end
        if first is not None and last is not None:
            yield first, last

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Yield the same page by page, and number by number where one is not full."""
        for at in sorted(self._pages.keys() | self._few.keys()):
            page, begin = self._pages.get(at), at * _PAGE
            if page is None:
                yield from ((begin + place, begin + place) for place in sorted(self._few[at]))
            elif 0 not in page:
                yield begin, begin + _PAGE - 1
            else:
                yield from ((begin + place, begin + place) for place, value in enumerate(page) if value)

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

    def add_all(self, first: int, last: int) -> bool:
        """Remember the numbers from `first` to `last`, or none of them, and tell which: all if each is new."""
        stretches = []
        while first <= last:
            at = first % _PAGE
            count = min(_PAGE - at, last - first + 1)
            bits = int.from_bytes(self._pages.get(first // _PAGE, b""), "little")
            wanted = ((1 << count) - 1) << at
            if bits & wanted:
                return False
            stretches.append((first // _PAGE, bits | wanted))
            first += count
        for page, bits in stretches:
            self._pages[page] = bytearray(bits.to_bytes(_PAGE // 8, "little"))
        return True

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

    def add_all(self, fingerprints: array[int]) -> None:
        """Take more."""
        parts = self._parts
        for fingerprint in fingerprints:
            parts[fingerprint >> 56].append(fingerprint)

    def twice(self) -> set[int]:
        """Return the fingerprints that came more than once."""
        found: set[int] = set()
        for part in self._parts:
            ordered = sorted(part)
            found.update(one for one, other in pairwise(ordered) if one == other)
        return found
