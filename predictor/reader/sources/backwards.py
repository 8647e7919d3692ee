"""Reading of a file of lines from its end, so that the newest records of a large one are found at once."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.reader.record import Entry

_BYTES = 1 << 20  # read at a time


class Part(NamedTuple):
    """Some of the records of one place, those that were written last; the parts after it go back from there."""

    entries: list[Entry]
    before: int
    """What the parts after it hold arrived before this, Unix nanoseconds."""


NEVER = 2**63 - 1
"""`Part.before` where nobody can tell."""


def blocks(file: IO[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines of a file in blocks, the last block first: where each begins, and its lines in their order.

    The last line may be without its newline, as it is in the file.
    """
    end = file.seek(0, 2)
    rest = b""  # the end of a line that begins in an earlier block
    while end > 0:
        begin = max(0, end - _BYTES)
        file.seek(begin)
        data = file.read(end - begin) + rest
        cut = (data.find(b"\n") + 1 or len(data)) if begin else 0
        rest, end = data[:cut], begin
        *lines, last = data[cut:].split(b"\n")
        whole = [line + b"\n" for line in lines]
        if last or whole:
            yield begin + cut, [*whole, last] if last else whole
