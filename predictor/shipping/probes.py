"""Chooses items that may prove a refusal: those of the refused one's event, near it in its stream."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.outbox.layout import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from predictor.outbox.layout import LineSlice, Signal

_SEARCHED = 16 << 20  # B between two tries, while an item of a rare event is searched for


def probes(
    signal: Signal, event: str, read: Callable[[Cursor], LineSlice], line: Cursor, index: int
) -> Iterator[bytes | None]:
    """Yield items of `event` as lines of their own, for ever: first from behind the refused one, then from before it.

    The refused one is item `index` of the line at `line`; `read` returns lines from a place on.
    None at the end of each round, and after 16 MiB in vain. Reads the disk; raises OSError.
    """
    mark = otlp.event_mark(signal, event)
    own = line.segment, line.offset
    for turn in count():
        behind = _lines(read, line), slice(index + 1, None)
        before = _lines(read, Cursor(line.segment), own), slice(index)  # accepted already: a copy is one item there
        searched = 0
        for lines, part_of_own in (behind, before):
            for place, text in lines:
                searched += len(text)
                if items := _items(signal, text, mark, part_of_own if place == own else slice(None)):
                    searched = 0
                    yield items[turn % len(items)]  # another one in the next round: this may be as bad
                elif searched > _SEARCHED:
                    searched = 0
                    yield None
        yield None


def _lines(
    read: Callable[[Cursor], LineSlice], start: Cursor, last: tuple[int, int] | None = None
) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield place and text of the lines from `start` on, up to the one at `last`."""
    while (found := read(start)).lines:
        offset = found.offset - sum(map(len, found.lines))
        for text in found.lines:
            if last and (found.segment, offset) > last:
                return
            yield (found.segment, offset), text
            offset += len(text)
        start = Cursor(found.segment, found.offset)


def _items(signal: Signal, text: bytes, mark: bytes, part: slice) -> list[bytes]:
    try:
        return [item for item in otlp.singles(signal, text)[part] if mark in item] if mark in text else []
    except ValueError:  # a damaged line proves nothing
        return []
