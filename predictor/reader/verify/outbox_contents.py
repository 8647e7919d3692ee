"""What an outbox holds of each stream: numbers that a sink should have, or has refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from predictor.reader.rejected.files import chosen, irregular, items
from predictor.reader.sequence_sets import Fingerprints, without
from predictor.reader.sources.local import Line
from predictor.reader.sources.outbox import OutboxSource
from predictor.reader.time_range import TimeRange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from predictor.reader.rejected.files import RejectedItem
    from predictor.reader.verify.stream_state import SequenceRange


@dataclass
class Held:
    """One stream: the numbers in its segments and in `rejected/`."""

    segments: Fingerprints = field(default_factory=Fingerprints)
    rejected: Fingerprints = field(default_factory=Fingerprints)
    unreadable: list[str] = field(default_factory=list)
    """Items of `rejected/` whose number cannot be read."""
    spans: int = 0
    """Spans in `rejected/`."""


@dataclass
class Lack:
    """What a sink lacks of one stream although the outbox has it."""

    stream: str
    rejected: list[SequenceRange]
    """Numbers in `rejected/`."""
    segments: list[SequenceRange]
    """Numbers in the segments."""
    unreadable: list[str]
    absent: bool
    """Whether the sink has nothing at all of the stream."""


def rejected(outbox: Path, window: TimeRange) -> dict[str, Held]:
    """Return what lies in `rejected/` of the streams of an outbox; raises SourceError and OSError."""
    found: dict[str, Held] = {}
    for files in chosen(outbox):
        for item in items(files):
            _add(found.setdefault(files.stream_id, Held()), item, window)
        for item in irregular(files):
            found.setdefault(files.stream_id, Held()).unreadable.append(item.name)
    return found


def held(
    outbox: Path, window: TimeRange, oldest: int | None, progress: Callable[[int], object]
) -> tuple[dict[str, Held], list[str]]:
    """Return what the streams of an outbox hold in a window, and a sentence on each line that cannot be read.

    What was shipped before `oldest`, Unix nanoseconds, is left out, since the sink is not asked for it.
    Raises SourceError and OSError.
    """
    found = rejected(outbox, window)
    source = OutboxSource(outbox)
    unshipped: dict[str, int] = {}
    for entry in source.read(window):
        progress(1)
        if entry.stream not in unshipped:
            unshipped[entry.stream] = source.kept_from(entry.stream)
        if oldest is None or entry.time_ns >= oldest or entry.sequence >= unshipped[entry.stream]:
            found.setdefault(entry.stream, Held()).segments.add(entry.sequence, 1)
    return found, source.damaged


def lacking(held_by: dict[str, Held], seen: Callable[[str], Fingerprints | None]) -> list[Lack]:
    """Return what a sink lacks, stream by stream; `seen` returns the numbers that it has of one, None if none."""
    lacks = []
    for stream, has in sorted(held_by.items()):
        there = seen(stream)
        known = list(there.ranges()) if there else []
        refused = list(without(has.rejected.ranges(), known))
        segments = list(without(has.segments.ranges(), [*known, *has.rejected.ranges()]))
        if refused or segments or has.unreadable:
            lacks.append(Lack(stream, refused, segments, has.unreadable, there is None))
    return lacks


def _add(has: Held, item: RejectedItem, window: TimeRange) -> None:
    if item.signal == "traces":
        has.spans += 1
        return
    try:
        content = item.path.read_bytes()
    except FileNotFoundError:  # sent again meanwhile
        return
    except OSError:
        has.unreadable.append(item.name)
        return
    entries = list(OutboxSource(item.stream.path).entries(Line(str(item.path), content), TimeRange()))
    if not entries:
        has.unreadable.append(item.name)
    for entry in entries:
        if window.holds(entry.time_ns):
            has.rejected.add(entry.sequence, 1)
