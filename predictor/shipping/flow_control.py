"""Flow control of shipping: how much the next request carries, how long it waits after a failure."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 8 << 20  # B; the Collector takes 20 MiB, a longer line is halved before it is sent
_SMALLEST = 64 << 10  # B; one huge record answered 413 must not shrink every body after it for good
_MOST = 1 << 16  # pieces
_FIRST, _LONGEST = 0.5, 30.0  # s


class SendWindow:
    """How many pieces, and how many bytes, may go together: one after a failure, more again with each success."""

    def __init__(self) -> None:
        """Begin wide open."""
        self.pieces = _MOST
        self.bytes = _LARGEST
        self._suspects = 0  # the first pieces of the backlog among which one was refused

    def failed(self) -> None:
        """Try one line next: a sink that was down is not met with everything at once."""
        self.pieces, self._suspects = 1, 0

    def accepted(self, number: int) -> None:
        """Open again; but while a refused piece is near, send a half of those among which it must be."""
        self.pieces = min(2 * self.pieces, _MOST)
        self._suspects = max(0, self._suspects - number)
        if self._suspects:
            self.pieces = max(1, min(self.pieces, self._suspects // 2))

    def refused(self, number: int, size: int, status: int) -> None:
        """Halve: one of `number` pieces is refused, or together they are too long."""
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            self.bytes = max(_SMALLEST, min(self.bytes, size // 2))
        self._suspects = max(number, 2)  # a single piece has been parted in two
        self.pieces = max(1, number // 2)

    def passed_over(self) -> None:
        """Go on after the refused piece, carefully: where one was, there may be many."""
        self.pieces, self._suspects = 1, 0


class Backoff:
    """Longer and longer waits with full jitter, so that many senders do not come back at the same moment."""

    def __init__(self, random: Callable[[], float]) -> None:
        """Take jitter from `random`, which returns 0 to 1."""
        self.longest = _LONGEST
        self._random = random
        self._tries = 0

    def reset(self) -> None:
        """Reset: the sink answers."""
        self._tries = 0

    def seconds(self, at_least: float) -> float:
        """Return how long to wait now; `at_least` is what the sink asked for."""
        longest = min(self.longest, _FIRST * (1 << min(self._tries, 10)))
        self._tries += 1
        return max(at_least, longest * self._random())
