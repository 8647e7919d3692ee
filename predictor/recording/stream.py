"""The stream of one process start: numbers its records 1, 2, 3 … without a gap; only it appends log records.

A number is given at the writing and taken back if the writing fails; under the policy `lose` it is not taken back but
declared lost, so that a reader of the sink alone can prove that nothing is missing.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from predictor import otlp
from predictor.outbox import OutboxError
from predictor.outbox.recovery.undeclared import Undeclared
from predictor.recording import record_schema, stream_events
from predictor.recording.canonical import scope_digest
from predictor.recording.checkpoints import Chain
from predictor.recording.encoder import numbered
from predictor.recording.stream_events import LostRange, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.otlp import JSON
    from predictor.recording.checkpoints import Signer

_DECLARE_SECONDS = 60.0
_IDLE_SECONDS = 570.0
"""A status is asked for every minute, so who is idle is heard of every ten; late ticks do not make it eleven."""


class LineWriter(Protocol):
    """Where lines go: the outbox."""

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Write one line, whole or not at all; raises OutboxError."""


class LogStream:
    """The log of this process; not thread-safe, used on the event loop only."""

    def __init__(
        self,
        stream_id: str,
        resource: JSON,
        version: str,
        *,
        refuses: bool,
        signer: Signer | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the stream's id, the resource (`otlp.resource_json`), the package version and the policy.

        `signer` signs checkpoints, if there is a key.
        """
        self.stream_id = stream_id
        self.sequence = 0
        self.lost = 0
        self._refuses = refuses
        self._resource = resource
        self._version = version
        self._now_ns, self._clock = now_ns, clock
        self.opened_at = 0
        """The number of the record that began the stream, 0 before that was written."""
        self._declared: float | None = None  # when, by `clock`: the wall clock may go back by days
        self._undeclared: list[LostRange] = []
        self._said: tuple[int, Status] = (0, Status())
        self._said_backlog = 0
        self._said_at: float | None = None  # when, by `clock`
        self._log: LineWriter | None = None
        self._previous = ""
        self._signer = signer
        self._chain = Chain(stream_id)
        self._scopes: dict[bytes, bytes] = {}  # digests of scopes by the beginnings of their lines
        self.event_head = self.head({})

    def head(self, model: dict[str, str]) -> bytes:
        """Return the constant beginning of this stream's lines; `model` holds the model's scope attributes."""
        pairs = model | {
            "prediction.schema_version": record_schema.SCHEMA_VERSION,
            "prediction.stream.id": self.stream_id,
        }
        scope = otlp.scope_json(record_schema.SCOPE_NAME, self._version, pairs)
        head = otlp.head("logs", self._resource, scope)
        self._scopes[head] = scope_digest(pairs)
        return head

    def hash_later(self, later: Callable[[Callable[[], object]], object]) -> None:
        """From now on hash records when `later` calls for it: who waits for one to be written need not wait for that.

        A checkpoint hashes what is left of those before it.
        """
        self._chain.later = later

    @property
    def checkpoint_due(self) -> bool:
        """Whether so much was written since the last status that the next should not wait for its minute."""
        return self._chain.due

    def open(self, log: LineWriter, previous: str = "") -> None:
        """Begin: write `opened`, now or, if the outbox is full, before the first record that it takes.

        `previous` names the streams before this one, as JSON.
        """
        self._log, self._previous = log, previous
        with contextlib.suppress(OutboxError):
            self._begin()

    def append(self, head: bytes, records: Sequence[bytes]) -> bool:
        """Give numbers to records and write them as one line; False if they were declared lost.

        Under the policy `refuse` raises OutboxError, and no number is used.
        """
        try:
            self._begin()
            self._write(head, records, urgent=False)
        except OutboxError as error:
            if self._refuses:
                raise
            self._lose(len(records), error.reason)
            return False
        if self._undeclared:  # the log takes records again
            with contextlib.suppress(OutboxError):
                self.declare_lost()
        return True

    def declare_lost_sparingly(self, *, full: bool) -> None:
        """Say at once what was lost first, later once a minute while it goes on: the reserve must last for hours."""
        if not full or self._declared is None or self._clock() - self._declared >= _DECLARE_SECONDS:
            self.declare_lost()

    def gone(self, first: int, last: int) -> None:
        """Note that records which were written are no longer in the log: they are declared as lost with the next."""
        self.lost += last - first + 1
        self._undeclared.append(LostRange(first, last, "disk"))

    def declare_lost(self) -> None:
        """Say that the stream is open and which numbers were lost, if that is unsaid; raises OutboxError."""
        self._begin()
        while self._undeclared:
            self._event(stream_events.lost(self.stream_id, self._undeclared[0], self._now_ns()))
            del self._undeclared[0]
            self._declared = self._clock()

    def status(self, status: Status) -> bool:
        """Write a status event if anything happened since the last one or is pending, or ten minutes have passed.

        Raises OutboxError.
        """
        # What a status itself brings (its number, its own backlog) must not call for the next one.
        settled = status._replace(backlog_bytes=0, backlog_age=0.0)
        # A last word of something pending would make whoever reads only the sink believe that the process is gone.
        pending = status.backlog_bytes or self._said_backlog
        # Silence is how a reader knows that a process is gone.
        idle = self._said_at is not None and self._clock() - self._said_at < _IDLE_SECONDS
        if (self.sequence, settled) == self._said and not pending and idle:
            return False
        self.declare_lost()
        now_ns, lost = self._now_ns(), self.lost
        self._checkpoint(lambda pairs: stream_events.status(self.stream_id, status, lost, now_ns, pairs))
        self._said, self._said_backlog = (self.sequence, settled), status.backlog_bytes
        self._said_at = self._clock()
        return True

    @property
    def undeclared(self) -> Undeclared:
        """What the stream has not said of its losses, and the last number that it gave."""
        return Undeclared(self.sequence, [(first, last, reason) for first, last, reason in self._undeclared])

    def close(self) -> None:
        """End: write `closed`, after which there are no more records; raises OutboxError."""
        self.declare_lost()
        now_ns = self._now_ns()
        self._checkpoint(lambda pairs: stream_events.closed(self.stream_id, now_ns, pairs))
        self._log = None

    def _begin(self) -> None:
        if not self.opened_at:
            self._event(stream_events.opened(self.stream_id, self._now_ns(), self._previous))
            self.opened_at = self.sequence

    def _checkpoint(self, event: Callable[[dict[str, object]], bytes]) -> None:
        """Write an event with the digest of what was written since the last one; raises OutboxError."""
        number, signer = self.sequence + 1, self._signer
        pairs = stream_events.sealing(self._chain.interval(self.sequence), signer.key_id if signer else None)
        digest = self._chain.digest(self._scopes[self.event_head], numbered(number, event(pairs)))
        pairs |= stream_events.sealed(digest, signer.sign(digest) if signer else None)
        self._write(self.event_head, [event(pairs)], urgent=True, digest=digest)

    def _event(self, rest: bytes) -> None:
        self._write(self.event_head, [rest], urgent=True)

    def _write(self, head: bytes, records: Sequence[bytes], *, urgent: bool, digest: bytes | None = None) -> None:
        """Write records as one line, which is to be hashed; `digest` is a checkpoint's own."""
        if self._log is None:
            msg = "the stream is not open"
            raise RuntimeError(msg)
        first = self.sequence + 1
        whole = [numbered(first + offset, rest) for offset, rest in enumerate(records)]
        self._log.append(otlp.line(head, whole), urgent=urgent)
        self.sequence += len(records)
        if digest:
            self._chain.begin_after(digest, first)
        self._chain.add(self._scopes[head], whole)

    def _lose(self, records: int, reason: str) -> None:
        lost = LostRange(self.sequence + 1, self.sequence + records, reason)
        self.sequence += records
        self.lost += records
        before = self._undeclared[-1] if self._undeclared else None
        if before and (before.last + 1, before.reason) == (lost.first, reason):
            self._undeclared[-1] = before._replace(last=lost.last)
        else:  # a record in between was written, or the reason is another
            self._undeclared.append(lost)
