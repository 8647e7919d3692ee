"""The state of one stream as read so far, and the verdict on it by the rules of docs/record.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from predictor.reader.sequence_sets import Fingerprints, without
from predictor.reader.verify.digests import StreamDigests
from predictor.reader.verify.run import fingerprint
from predictor.recording.stream_events import CLOSED, LOST, STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from predictor.reader.record import Entry
    from predictor.reader.verify.run import Run
    from predictor.reader.verify.state import StreamThen

SequenceRange = tuple[int, int]
State = Literal["complete", "open", "silent", "unknown"]
SILENCE_NS = 180 * 1_000_000_000
"""Three status periods: whoever has written a record, or has a backlog, says so every minute."""
IDLE_NS = 660 * 1_000_000_000
"""Who has nothing to say says so every ten minutes."""


@dataclass
class Stream:
    """One stream: its numbers, and its own last words on itself."""

    id: str
    partial: bool = False
    """Whether its beginning is not read: what its first status counts explains none of what is missing here."""
    seen: Fingerprints = field(default_factory=Fingerprints)
    records: int = 0
    copies: int = 0
    last: int = 0
    closed: str | None = None
    """The reason of its closing record."""
    closed_at: int | None = None
    rejected: int = 0
    """How many records the process said that the sink has refused; other streams' too, if it shipped those."""
    rejected_before: int = 0
    """How many of them before the window."""
    unrecorded: int = 0
    pending: int = 0
    """Bytes that the sink had not accepted, if the last word is a status; an older status says nothing any more."""
    settled: bool = False
    """Whether the last word is a status without a backlog."""
    last_word: int = 0
    """The greatest number that was seen, outside the window too."""
    lost: list[SequenceRange] = field(default_factory=list)
    altered: list[int] = field(default_factory=list)
    lowest_judged: int = 0
    """From here on numbers are judged; 0 until one was seen that lies in the window."""
    newest_ns: int = 0
    before: int = 0
    """The greatest number before the window, 0 if none is known."""
    reached: bool = False
    """Whether the source reaches back to before the stream began, so that its 1 must be there."""
    lowest: int = 0
    """The smallest number that was read."""
    highest: int = 0
    """The greatest one."""
    digests: StreamDigests = field(default_factory=StreamDigests)
    _status: int = 0
    _counted: bool = False
    _first_status: int = 0
    """The first status in the window, where its count is the only one to begin with."""
    _status_before: int = 0
    _status_after: int = 0

    def add(self, entry: Entry, *, judged: bool, early: bool = False) -> None:
        """Take a record in; `judged` if it lies in the window, `early` if before it, else it lies in its margin."""
        number, said = entry.sequence, entry.attributes
        spoken = max(entry.time_ns, entry.observed_ns)
        if not self.take(number, entry.content.digest(), spoken, judged=judged, early=early):
            return
        self.digests.add(entry)
        if entry.event == STATUS and number == self.last_word:
            self.pending = said["prediction.stream.backlog.size"]
            self.settled = not self.pending
        if entry.event == LOST:
            self.lost.append((said["prediction.stream.lost.first"], said["prediction.stream.lost.last"]))
        elif entry.event == CLOSED:
            self.closed, self.closed_at = said["prediction.stream.reason"], number
        elif entry.event == STATUS and number > self._status:
            self._status = number
            if (self.partial and not self._counted) or (not judged and not self.lowest_judged):
                self.rejected_before = said["prediction.stream.rejected.count"]
                self._first_status = number if judged else 0
            self._counted = True
            self.rejected = said["prediction.stream.rejected.count"]
            self.unrecorded = said["prediction.stream.unrecorded.count"]

    def take(self, number: int, digest: bytes, spoken: int, *, judged: bool, early: bool) -> bool:
        """Take a record's number in, its digest and when it was written; tell whether the number is new."""
        first_bits = fingerprint(digest)
        before = self.seen.add(number, first_bits)
        if before:
            self.copies += 1
            if before != (first_bits or 1):
                self.altered.append(number)
            return False
        self.digests.store.add(number, digest)
        self._took(number, number, spoken, judged=judged, early=early)
        return True

    def take_run(self, run: Run, *, judged: bool, early: bool) -> bool:
        """Take predictions in at once, or none of them, and tell which: at once if all of their numbers are new."""
        if not self.seen.add_all(run.first, run.fingerprints()):
            return False
        self.digests.store.add_all(run.first, run.digests)
        self._took(run.first, run.last, max(run.spoken), judged=judged, early=early)
        return True

    def _took(self, first: int, last: int, spoken: int, *, judged: bool, early: bool) -> None:
        self.records += last - first + 1
        self._read(first, last)
        self.newest_ns = max(self.newest_ns, spoken)
        if last > self.last_word:
            self.last_word, self.pending, self.settled = last, 0, False
        if early:
            self.before = max(self.before, last)
        if judged:
            self.last = max(self.last, last)
            self.lowest_judged = min(self.lowest_judged or first, first)

    def go_on(self, then: StreamThen) -> None:
        """Begin where an earlier run has ended."""
        self.before = self.last = self.last_word = then.last
        self.newest_ns, self.settled = then.spoke, then.settled
        self.rejected = self.rejected_before = then.rejected
        self._counted = True

    def add_elsewhere(self, entry: Entry) -> None:
        """Take in a record that lies outside the window: its number is not missing, and its word explains others."""
        number, said = entry.sequence, entry.attributes
        digest = entry.content.digest()
        if not self.seen.add(number, fingerprint(digest)):
            self.digests.store.add(number, digest)
            self._read(number, number)
            self.digests.add(entry)
        if entry.event == LOST:
            lost = said["prediction.stream.lost.first"], said["prediction.stream.lost.last"]
            if lost not in self.lost:
                self.lost.append(lost)
        elif entry.event == STATUS:
            count = said["prediction.stream.rejected.count"]
            if self._first_status and self._status_before < number < self._first_status:
                self._status_before, self.rejected_before = number, count
            elif number > self.last and (not self._status_after or number < self._status_after):
                self._status_after = number
                self.rejected = max(self.rejected, count)

    def _read(self, first: int, last: int) -> None:
        self.lowest, self.highest = min(self.lowest or first, first), max(self.highest, last)

    def missing(self, first: int, upto: int | None = None) -> list[SequenceRange]:
        """Return the numbers from `first` to the last, or `upto`, that are neither here nor declared lost."""
        last = self.last if upto is None else min(self.last, upto)
        return list(without(self.seen.gaps(first, last), self.lost))

    def state(self, now_ns: int | None, *, writes: bool | None = None) -> State:
        """Return whether the stream has ended, goes on, or has ended without a word.

        `writes` tells whether a process still has the stream, None if the source does not know; then its silence is
        judged. Without a time, as of a window that has ended, nobody can tell.
        """
        if self.closed:
            return "complete"
        if writes:
            return "open"
        if now_ns is None:
            return "unknown"
        silent = writes is False or now_ns - self.newest_ns > (IDLE_NS if self.settled else SILENCE_NS)
        return "silent" if silent else "open"


def size(ranges: Iterable[SequenceRange]) -> int:
    """Return how many numbers lie in the stretches."""
    return sum(last - first + 1 for first, last in ranges)


def shown(ranges: Sequence[SequenceRange], most: int = 5) -> str:
    """Return the stretches as a person reads them: `17-19, 40`, the first few."""
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:most]]
    return ", ".join(texts) + (f" and {len(ranges) - most} more" if len(ranges) > most else "")
