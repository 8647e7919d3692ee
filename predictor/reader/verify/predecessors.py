"""Streams that others name: whoever opens a stream says which ended on the same outbox before it, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.outbox.ended import EndedStream, decoded
from predictor.reader.sources.outbox import OutboxSource
from predictor.reader.verify.surroundings import reaches_back
from predictor.recording.stream_events import PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.reader.record import Entry
    from predictor.reader.sources.source import Source
    from predictor.reader.time_range import TimeRange
    from predictor.reader.verify.stream_state import Stream


class Predecessors:
    """What the streams of one source say of others."""

    def __init__(self, source: Source) -> None:
        """Know of none."""
        self._source = source
        self._named: dict[EndedStream, str] = {}
        """What is said, each different word once, and by whom: a forged one must not hide another's."""
        self._unreadable: set[str] = set()

    def take(self, entry: Entry) -> None:
        """Take in what the opening record of a stream says."""
        named, whole = decoded(entry.attributes.get(PREVIOUS.name, ""))
        if not whole:
            self._unreadable.add(entry.stream)
        for ended in named:
            self._named.setdefault(ended, entry.stream)

    def gone(self, streams: Mapping[str, Stream], elsewhere: TimeRange) -> list[str]:
        """Return a sentence on each that is not there to the end that it is said to have; raises SourceError.

        `streams` were read; the others are looked for in `elsewhere`. What a source may have let go is not accused.
        """
        highest = {name: stream.highest for name, stream in streams.items()}
        expected = [ended for ended in self._named if self._expects(ended)]
        unread = {ended.stream for ended in expected if highest.get(ended.stream, 0) < ended.last}
        for entry in self._source.of(unread, elsewhere) if unread else ():
            highest[entry.stream] = max(highest.get(entry.stream, 0), entry.sequence)
        found = [
            f"stream {name}: what it says of streams before it cannot be read" for name in sorted(self._unreadable)
        ]
        for ended in sorted(expected, key=lambda each: (each.stream, each.last)):
            name, by = ended.stream, self._named[ended]
            if name in self._source.later:  # what it says is not known
                continue
            about = f"stream {name}: stream {by} says that it ended with record {ended.last}"
            if (last := highest.get(name, 0)) == 0:
                if reaches_back(self._source, ended.ended_ns):
                    found.append(f"{about}, and there is nothing of it")
            elif last < ended.last:
                found.append(f"{about}, and no record follows {last}")
            elif last > ended.last:
                found.append(f"{about}, and there are numbers up to {last}")
            elif name in streams and self._differs(streams[name], ended):
                found.append(f"{about} and another digest")
        return found

    @staticmethod
    def _differs(stream: Stream, ended: EndedStream) -> bool:
        last = stream.digests.checkpoints.get(ended.last)
        return bool(ended.digest and (last is None or last.digest.hex() != ended.digest))

    def _expects(self, ended: EndedStream) -> bool:
        """Tell whether a source that lacks a stream has lost it: an outbox lets go of what is shipped, or too old."""
        if not isinstance(self._source, OutboxSource):
            return True
        return ended.kept and self._source.holds_older(ended.ended_ns)
