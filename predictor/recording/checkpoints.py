"""Interval digests: what the status and closing events of a stream say of the records before them.

A checkpoint's digest is of the one before it, of the records since then, that one's own among them, and of its own
record. docs/evidence.md defines it; `predictor log verify` computes it again from what a sink has.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from predictor.recording.canonical import record_digest, record_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIGEST, SIGNATURE = "prediction.stream.digest", "prediction.stream.digest.signature"
FIRST, LAST = "prediction.stream.digest.first", "prediction.stream.digest.last"
COUNT, PREVIOUS = "prediction.stream.digest.count", "prediction.stream.digest.previous"
KEY_ID = "prediction.stream.digest.key_id"
UNCOVERED = frozenset({DIGEST, SIGNATURE})
"""What a checkpoint's digest cannot hold of its own record."""
MOST_RECORDS = 65_536
"""A checkpoint is due after so many: a reader remembers 32 bytes of each until it comes."""


class Signer(Protocol):
    """Signs digests by a private key."""

    @property
    def key_id(self) -> str:
        """Which key it is: 16 hexadecimal digits."""

    def sign(self, digest: bytes) -> str:
        """Return the signature of a digest, in Base64."""


class Interval(NamedTuple):
    """The records since the last checkpoint."""

    first: int
    """The number of the last checkpoint, 1 if there is none."""
    last: int
    records: int
    """How many were written: numbers that are declared lost were not."""
    previous: bytes


def beginning(stream_id: str) -> bytes:
    """Return what stands for the digest before the first checkpoint of a stream."""
    return hashlib.sha256(stream_id.encode()).digest()


class Chain:
    """The digests of one stream while it is written."""

    def __init__(self, stream_id: str) -> None:
        """Begin with the first record."""
        self.later: Callable[[Callable[[], object]], object] | None = None
        """Calls what it is given when there is time for it; without it records are hashed at once."""
        self._waiting: list[tuple[bytes, Sequence[bytes]]] = []
        self._begin(beginning(stream_id), 1)

    @property
    def due(self) -> bool:
        """Whether there are so many records that a checkpoint should come."""
        return self.count >= MOST_RECORDS

    def add(self, scope: bytes, records: Sequence[bytes]) -> None:
        """Take in records that were written; `scope` is `canonical.scope_digest` of theirs."""
        self.count += len(records)
        if self.later is None:
            self._hash.update(record_digests(scope, records))
            return
        if not self._waiting:
            self.later(self.catch_up)
        self._waiting.append((scope, records))

    def catch_up(self) -> None:
        """Hash what was taken in and is not hashed yet."""
        waiting, self._waiting = self._waiting, []
        for scope, records in waiting:
            self._hash.update(record_digests(scope, records))

    def interval(self, last: int) -> Interval:
        """Return what a checkpoint says that comes after record `last`."""
        return Interval(self._first, last, self.count, self._previous)

    def digest(self, scope: bytes, own: bytes) -> bytes:
        """Return the digest of a checkpoint whose record is `own`, without what it cannot hold."""
        self.catch_up()
        whole = self._hash.copy()
        whole.update(record_digest(scope, own))
        return whole.digest()

    def begin_after(self, digest: bytes, number: int) -> None:
        """Begin the interval after a checkpoint that was written under `number`: its record is the first of it."""
        self._begin(digest, number)

    def _begin(self, previous: bytes, first: int) -> None:
        self._previous, self._first, self.count = previous, first, 0
        self._hash = hashlib.sha256(previous)
