"""What was read of each stream so far, inside a window and around it, and the verdicts that follow."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from predictor.reader.sequence_sets import Once
from predictor.reader.sources.outbox import GONE, OutboxSource
from predictor.reader.time_range import MARGIN_NS, TimeRange
from predictor.reader.verify.predecessors import Predecessors
from predictor.reader.verify.proof import proof
from predictor.reader.verify.report import Verdict
from predictor.reader.verify.run import RunMaker
from predictor.reader.verify.stream_state import Stream
from predictor.reader.verify.surroundings import around, before, going_on, reaches_back
from predictor.recording.record_schema import EVENT_NAME
from predictor.recording.stream_events import OPENED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from predictor.reader.record import Entry
    from predictor.reader.sequence_sets import Fingerprints
    from predictor.reader.sources.source import Source
    from predictor.reader.verify.keys import PublicKeys
    from predictor.reader.verify.run import Run
    from predictor.reader.verify.state import StreamThen

_FEW = 8
"""Records that are taken one by one."""
_UNSEALED_NS = 900 * 10**9
"""A stream that has no checkpoint for longer has none, or has ended."""


@dataclass
class Check:
    """What was read so far of each stream."""

    source: Source
    window: TimeRange
    progress: Callable[[int], object]
    now_ns: int
    outbox: Path | None
    then: Mapping[str, StreamThen]
    jobs: Once = field(default_factory=Once)
    maker: RunMaker = field(default_factory=lambda: RunMaker(os.urandom(16)))
    predecessors: Predecessors = field(init=False)
    _streams: dict[str, Stream] = field(default_factory=dict)
    _going_on: set[str] = field(default_factory=set)
    """Streams that have spoken after the window, or in it by a clock that was set."""

    def __post_init__(self) -> None:
        """Know of no stream that others name."""
        self.predecessors = Predecessors(self.source)

    def reading(self) -> TimeRange:
        """Return what is read: the window with its margin, and what the last run could not prove yet."""
        whole = self.window.wider()
        if whole.start is None or self.window.start is None:
            return whole
        oldest = self.window.start - _UNSEALED_NS
        ages = [each.sealed_ns - MARGIN_NS for each in self.then.values() if each.sealed_ns > oldest]
        return whole._replace(start=min([whole.start, *ages]))

    def take(self, entry: Entry) -> None:
        """Take a record in."""
        self.progress(1)
        if entry.event == OPENED:
            self.predecessors.take(entry)
        stream = self._stream(entry.stream)
        known = stream.records
        early, late = self._outside(entry.time_ns)
        if late:
            self._going_on.add(entry.stream)
        stream.add(entry, judged=not early and not late, early=early)
        if stream.records > known and entry.event == EVENT_NAME:
            self.jobs.add_all(self.maker.rows(entry))

    def take_run(self, run: Run) -> None:
        """Take predictions in, at once if they lie on one side of the window's ends and none was read before."""
        self.progress(len(run.times))
        self._take_run(self._stream(run.stream), run)

    def _take_run(self, stream: Stream, run: Run) -> None:
        early, late = self._outside(min(run.times))
        if (early, late) == self._outside(max(run.times)):
            if late:
                self._going_on.add(run.stream)
            if stream.take_run(run, judged=not early and not late, early=early):
                self.jobs.add_all(run.rows)
                return
        if len(run.times) > _FEW:  # a part of them may be copies
            for half in run.halves():
                self._take_run(stream, half)
            return
        ends = [*run.places[1:], len(run.rows)]
        for at, time_ns in enumerate(run.times):
            early, late = self._outside(time_ns)
            if late:
                self._going_on.add(run.stream)
            digest = run.digests[32 * at : 32 * at + 32]
            judged = not early and not late
            if stream.take(run.first + at, digest, run.spoken[at], judged=judged, early=early):
                self.jobs.add_all(run.rows[run.places[at] : ends[at]])

    def _stream(self, name: str) -> Stream:
        return self._streams.get(name) or self._streams.setdefault(name, self._begun(name))

    def _outside(self, time_ns: int) -> tuple[bool, bool]:
        """Tell whether a time lies before the window, and whether behind it."""
        start, end = self.window
        return start is not None and time_ns < start, end is not None and time_ns >= end

    def take_missed(self, streams: set[str]) -> None:
        """Read once more, for records of these streams that have arrived meanwhile."""
        for entry in self.source.read(self.reading()):
            if entry.stream in streams and entry.sequence not in (self.seen(entry.stream) or ()):
                self.take(entry)

    def seen(self, stream: str) -> Fingerprints | None:
        """Return the numbers that were read of a stream, None if it is unknown."""
        return self._streams[stream].seen if stream in self._streams else None

    def look_before(self) -> None:
        """Look up where the streams stood that began before the window, and find those of an earlier run again."""
        silent = {name for name in self.then if not self._judged(name) and not self._left(name)}
        start = min((self.then[name].spoke for name in silent), default=0)
        for name in silent:
            self._streams[name] = self._begun(name)
        for entry in self.source.of(silent, TimeRange(start)) if silent else ():
            if entry.sequence > self.then[entry.stream].last:  # it has arrived since, and is older than the window
                self._streams[entry.stream].add(entry, judged=True)
        if self.window.start in {None, self.source.oldest}:  # what is older goes at the moment, in no order
            return
        unknown = {
            name
            for name, stream in self._streams.items()
            if self._early(name) and 1 < stream.lowest_judged > self.source.kept_from(name) and not stream.before
        }
        found = before(self.source, unknown, self.window.start) if unknown else {}
        for name in unknown:
            if name in found:
                self._streams[name].before = found[name]
            else:
                self._streams[name].reached = reaches_back(self.source, opened_ns(name))

    def look_around(self) -> None:
        """Look outside the window for what is missing, and for a later word of who has fallen silent."""
        if self.window.end is None and self.window.start in {None, self.source.oldest}:
            return
        accused = {verdict.stream.id for verdict in self.verdicts() if verdict.missing}
        for entry in self.source.of(accused, around(self.source, self.window.start)) if accused else ():
            if entry.sequence not in self._streams[entry.stream].seen:
                self._streams[entry.stream].add_elsewhere(entry)
        silent = {v.stream.id: v.stream.last_word for v in self.verdicts() if v.state == "silent"}
        self._going_on |= going_on(self.source, silent, self.window.start)

    def verdicts(self) -> list[Verdict]:
        """Return what follows, by stream."""
        return [self._verdict(stream) for _, stream in sorted(self._streams.items())]

    def highest(self) -> dict[str, Stream]:
        """Return the streams that were read."""
        return self._streams

    def prove(self, verdict: Verdict, keys: PublicKeys | None) -> None:
        """Set what the digests of a stream prove."""
        stream = verdict.stream
        if not stream.lowest:
            return

        def why_absent(number: int) -> str:
            if number < self.source.kept_from(stream.id):
                return f"record {number} is not kept here any more"
            if any(first <= number <= last for first, last in stream.lost):
                return f"record {number} is declared lost"
            if (later := self.source.later.get(stream.id)) and number >= later.number:
                return f"record {number} is, or may be, of schema version {later.version!r}"
            if number < stream.lowest:
                return "they begin before what was read"
            return f"record {number} is not there"

        verdict.proof = proof(
            stream.id,
            stream.digests,
            (max(stream.lowest, self.then[stream.id].sealed if stream.id in self.then else 0), stream.highest),
            why_absent,
            _tail(verdict),
            keys,
        )

    def judges(self, verdict: Verdict) -> bool:
        """Tell whether the verdict is of this window, and no earlier run has told it."""
        name = verdict.stream.id
        if verdict.stream.lowest_judged:
            return True
        return name in self.then and not (self.then[name].told and verdict.state == "silent")

    def _verdict(self, stream: Stream) -> Verdict:
        kept = self.source.kept_from(stream.id)
        first = kept
        if self._early(stream.id) and not stream.reached:
            first = max(kept, min(stream.lowest_judged, stream.before + 1) if stream.before else stream.lowest_judged)
        if not stream.lowest_judged:
            first = stream.last + 1
        beyond = stream.closed_at is not None and stream.last > stream.closed_at
        gone = kept == GONE  # its last words were not read, so its silence tells nothing
        writes = stream.id in self._going_on or self._writes(stream.id)
        later = self.source.later.get(stream.id)
        unknown = gone or later is not None
        state = stream.state(None if unknown else self.now_ns, writes=None if unknown else writes)
        return Verdict(stream, state, first, stream.missing(first, later.number - 1 if later else None), beyond)

    def _begun(self, name: str) -> Stream:
        stream = Stream(name, partial=self._early(name) or self.source.kept_from(name) > 1)
        if name in self.then:
            stream.go_on(self.then[name])
        return stream

    def _early(self, stream: str) -> bool:
        """Tell whether a stream began before the window."""
        return stream in self.then or (self.window.start is not None and opened_ns(stream) < self.window.start)

    def _judged(self, stream: str) -> bool:
        return stream in self._streams and self._streams[stream].lowest_judged > 0

    def _left(self, stream: str) -> bool:
        """Tell whether an outbox has let a stream go: its sink has it."""
        return isinstance(self.source, OutboxSource) and self.source.writes(stream) is None

    def _writes(self, stream: str) -> bool | None:
        """Tell whether a process has a stream; one that has it in `outbox` goes on, however far behind the sink is."""
        if self.outbox and OutboxSource(self.outbox).writes(stream):
            return True
        return self.source.writes(stream)


def _tail(verdict: Verdict) -> str:
    """Return why nothing follows the last checkpoint of a stream."""
    if not verdict.stream.digests.checkpoints:
        return "they have no checkpoint"
    if verdict.state == "complete":
        return "the process ended without a checkpoint"
    return "their checkpoint is not written yet" if verdict.state == "open" else "their checkpoint is not there"


def opened_ns(stream: str) -> int:
    """Return when a stream began, Unix nanoseconds, as its UUIDv7 says; 0 if it is none."""
    try:
        return (UUID(stream).int >> 80) * 1_000_000
    except ValueError:
        return 0
