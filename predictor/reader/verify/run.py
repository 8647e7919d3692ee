"""What `verify` needs of predictions: their numbers, digests and times, and which rows they are; nothing more is kept.

It is made where the records are read, in whatever process, so that nothing of their content is handed on.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple

from predictor.recording.record_schema import EVENT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from predictor.reader.record import Entry

_blake2b = hashlib.blake2b


class Run(NamedTuple):
    """Predictions of one stream whose numbers follow one another."""

    stream: str
    first: int
    digests: bytes
    """32 bytes a record."""
    times: array[int]
    """Arrival of each request, Unix nanoseconds."""
    spoken: array[int]
    """When each was written, or the request arrived if that is later."""
    rows: array[int]
    """A fingerprint of each row."""
    places: array[int]
    """Where the rows of each record begin among these."""

    @property
    def last(self) -> int:
        """The last number."""
        return self.first + len(self.times) - 1

    def halves(self) -> tuple[Run, Run]:
        """Return the same as two runs."""
        at = len(self.times) // 2
        cut = self.places[at]
        return (
            Run(
                self.stream,
                self.first,
                self.digests[: 32 * at],
                self.times[:at],
                self.spoken[:at],
                self.rows[:cut],
                self.places[:at],
            ),
            Run(
                self.stream,
                self.first + at,
                self.digests[32 * at :],
                self.times[at:],
                self.spoken[at:],
                self.rows[cut:],
                array("Q", [place - cut for place in self.places[at:]]),
            ),
        )

    def fingerprints(self) -> array[int]:
        """Return the first 64 bits of each digest."""
        every = array("Q", self.digests)
        return every[::4]


def fingerprint(digest: bytes) -> int:
    """Return the first 64 bits of a digest, as `Run.fingerprints` does."""
    return int.from_bytes(digest[:8], sys.byteorder)


class RunMaker:
    """Makes runs of records; equal rows have equal fingerprints for one key only."""

    def __init__(self, key: bytes) -> None:
        """Take a key that nobody who writes a log can know."""
        self._key = key

    def __call__(self, entries: Iterable[Entry]) -> list[Run | Entry]:
        """Return records in their order: predictions as runs, and the others as they are."""
        made: list[Run | Entry] = []
        run: Run | None = None
        digests: list[bytes] = []
        follows = 0
        for entry in entries:
            if entry.event != EVENT_NAME or entry.content.doubt:
                _ended(made, run, digests)
                run = None
                made.append(entry)
                continue
            if run is None or entry.sequence != follows or entry.stream != run.stream:
                _ended(made, run, digests)
                run = Run(entry.stream, entry.sequence, b"", array("Q"), array("Q"), array("Q"), array("Q"))
                digests = []
            follows = entry.sequence + 1
            digests.append(entry.content.digest())
            run.times.append(entry.time_ns)
            run.spoken.append(max(entry.time_ns, entry.observed_ns))
            run.places.append(len(run.rows))
            self._add_rows(run.rows, entry)
        _ended(made, run, digests)
        return made

    def rows(self, entry: Entry) -> array[int]:
        """Return the fingerprints of a record's rows."""
        found = array("Q")
        self._add_rows(found, entry)
        return found

    def _add_rows(self, found: array[int], entry: Entry) -> None:
        for job, row in entry.identities:
            text = f"{job}\0{row}".encode()
            found.append(int.from_bytes(_blake2b(text, digest_size=8, key=self._key).digest(), sys.byteorder))


def _ended(made: list[Run | Entry], run: Run | None, digests: list[bytes]) -> None:
    if run is not None:
        made.append(run._replace(digests=b"".join(digests)))
