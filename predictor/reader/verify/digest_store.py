"""Digests of records by their numbers, 32 bytes each, until the checkpoint that they belong to was tried."""

from __future__ import annotations

_PAGE = 256
_SIZE = 32
_MOST_PAGES = 2048
"""Half a million records: a stream writes a checkpoint after 65,536, so what is older has none that could be tried."""


class _Page:
    """The digests of one page of numbers."""

    __slots__ = ("digests", "there")

    def __init__(self) -> None:
        self.digests = bytearray(_PAGE * _SIZE)
        self.there = bytearray(_PAGE)


class DigestStore:
    """What was read of one stream and not tried yet."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._pages: dict[int, _Page] = {}
        self._tried: list[tuple[int, int]] = []
        self.forgotten = 0
        """Up to this number digests were let go untried."""

    def add(self, number: int, digest: bytes) -> None:
        """Remember the digest of a record."""
        at, place = divmod(number, _PAGE)
        page = self._page(at)
        page.digests[place * _SIZE : (place + 1) * _SIZE] = digest
        page.there[place] = 1

    def add_all(self, first: int, digests: bytes) -> None:
        """Remember the digests of records that follow one another."""
        at, number = 0, first
        while at < len(digests):
            place = number % _PAGE
            count = min(_PAGE - place, (len(digests) - at) // _SIZE)
            page = self._page(number // _PAGE)
            page.digests[place * _SIZE : (place + count) * _SIZE] = digests[at : at + count * _SIZE]
            page.there[place : place + count] = b"\1" * count
            at, number = at + count * _SIZE, number + count

    def between(self, first: int, last: int) -> tuple[int, bytes]:
        """Return how many digests there are from `first` to `last`, and these one after the other.

        Only pages that exist are looked at: what a record says of its numbers may be absurd.
        """
        count, pieces = 0, []
        wanted = range(first // _PAGE, last // _PAGE + 1)
        few = wanted if len(wanted) <= len(self._pages) else sorted(at for at in self._pages if at in wanted)
        for at in few:
            if (page := self._pages.get(at)) is None:
                continue
            begin, end = max(first - at * _PAGE, 0), min(last - at * _PAGE + 1, _PAGE)
            there = page.there[begin:end]
            count += there.count(1)
            if there.count(1) == len(there):
                pieces.append(page.digests[begin * _SIZE : end * _SIZE])
            else:
                places = (place for place in range(begin, end) if page.there[place])
                pieces += [page.digests[place * _SIZE : (place + 1) * _SIZE] for place in places]
        return count, b"".join(pieces)

    def absent(self, first: int, last: int) -> int:
        """Return the first of these numbers of which there is no digest; `first` if there is none such."""
        for number in range(first, last + 1):
            page = self._pages.get(number // _PAGE)
            if page is None or not page.there[number % _PAGE]:
                return number
        return first

    def tried(self, first: int, last: int) -> None:
        """Let go of what was tried: of pages of which no number is left."""
        before = [(a, b) for a, b in self._tried if b + 1 >= first and a <= last + 1]
        whole = (min([first, *(a for a, _ in before)]), max([last, *(b for _, b in before)]))
        self._tried = [each for each in self._tried if each not in before] + [whole]
        begin, end = -(-whole[0] // _PAGE) if whole[0] > 1 else 0, (whole[1] + 1) // _PAGE
        for at in [at for at in self._pages if begin <= at < end]:
            del self._pages[at]

    def _page(self, at: int) -> _Page:
        page = self._pages.get(at)
        if page is None:
            page = self._pages[at] = _Page()
            self._bound()
        return page

    def _bound(self) -> None:
        if len(self._pages) > _MOST_PAGES:
            oldest = min(self._pages)
            del self._pages[oldest]
            self.forgotten = max(self.forgotten, (oldest + 1) * _PAGE - 1)
