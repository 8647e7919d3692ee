"""Tries the digests of a stream's checkpoints against the records that were read; docs/evidence.md has the rules."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from predictor.reader.verify.digest_store import DigestStore
from predictor.recording import checkpoints
from predictor.recording.stream_events import CLOSED, LOST, STATUS

if TYPE_CHECKING:
    from predictor.reader.record import Entry

SequenceRange = tuple[int, int]
Outcome = Literal["proved", "altered", "unknown"]


class Checkpoint(NamedTuple):
    """What a status or closing event says of the records before it."""

    number: int
    first: int
    last: int
    records: int
    """How many were written."""
    previous: bytes
    digest: bytes
    own: bytes
    """The digest of its own record, without what that cannot hold."""
    written_ns: int
    key_id: str
    signature: str


class Declaration(NamedTuple):
    """Numbers that the stream declares lost, and the record that does."""

    number: int
    lost: SequenceRange
    reason: str


@dataclass
class StreamDigests:
    """The checkpoints of one stream, and what was read of its records."""

    store: DigestStore = field(default_factory=DigestStore)
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """Of the checkpoints, by their numbers."""
    unsealed: list[int] = field(default_factory=list)
    """Events that should be checkpoints and have no digest."""
    malformed: list[int] = field(default_factory=list)
    """Checkpoints that cannot be read."""
    inexact: list[tuple[int, int, str]] = field(default_factory=list)
    """Records whose digest tells nothing, since their source has not kept all of them, and why."""
    declared: list[Declaration] = field(default_factory=list)
    counted: list[tuple[int, int]] = field(default_factory=list)
    """How many are lost so far as the stream counts, by the number of the status."""

    def add(self, entry: Entry) -> None:
        """Take in what a record says whose number was not seen before; its own digest is in the store."""
        number, said = entry.sequence, entry.attributes
        if entry.content.doubt:
            self._add_inexact(number, entry.content.doubt)
        if entry.event == LOST:
            lost = (said["prediction.stream.lost.first"], said["prediction.stream.lost.last"])
            self.declared.append(Declaration(number, lost, said["prediction.stream.reason"]))
        elif entry.event == STATUS:
            self.counted.append((number, said["prediction.stream.lost.count"]))
        if entry.event == STATUS or (entry.event == CLOSED and said["prediction.stream.reason"] != "crash"):
            self._add_checkpoint(entry)

    def try_again(self) -> None:
        """Try what could not be tried when it was read: records may have come later than their checkpoint."""
        for number, checkpoint in self.checkpoints.items():
            if self.outcomes[number] == "unknown":
                self._try(checkpoint)

    def doubt(self, first: int, last: int) -> str:
        """Return why the digest of one of these records tells nothing, empty if all do."""
        return next((why for begin, end, why in self.inexact if begin <= last and end >= first), "")

    def _add_inexact(self, number: int, why: str) -> None:
        if self.inexact and self.inexact[-1][1:] == (number - 1, why):
            self.inexact[-1] = (self.inexact[-1][0], number, why)
        else:
            self.inexact.append((number, number, why))

    def _add_checkpoint(self, entry: Entry) -> None:
        said, number = entry.attributes, entry.sequence
        if checkpoints.DIGEST not in said:
            self.unsealed.append(number)
            return
        try:
            found = Checkpoint(
                number,
                said[checkpoints.FIRST],
                said[checkpoints.LAST],
                said[checkpoints.COUNT],
                bytes.fromhex(said[checkpoints.PREVIOUS]),
                bytes.fromhex(said[checkpoints.DIGEST]),
                entry.content.digest(checkpoints.UNCOVERED),
                entry.time_ns,
                said.get(checkpoints.KEY_ID, ""),
                said.get(checkpoints.SIGNATURE, ""),
            )
        except (KeyError, ValueError):
            self.malformed.append(number)
            return
        self.checkpoints[number] = found
        self._try(found)

    def _try(self, each: Checkpoint) -> None:
        """Compute a digest again if all of its records are there."""
        if not 1 <= each.first <= each.last == each.number - 1:
            self.outcomes[each.number] = "altered"
            return
        count, digests = self.store.between(each.first, each.last)
        if count < each.records or self.doubt(each.first, each.number):
            self.outcomes[each.number] = "unknown"
            return
        whole = hashlib.sha256(each.previous + digests + each.own).digest()
        self.outcomes[each.number] = "proved" if (count, whole) == (each.records, each.digest) else "altered"
        self.store.tried(each.first, each.last)
