"""LogStream: one process start's records, numbered 1, 2, 3 … without a gap; the only one that appends log records.

A number is given at the writing and taken back if the writing fails; under the policy `lose` it is not taken back but
declared lost, so that a reader of the sink alone can prove that nothing is missing.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from predictor import otlp, record
from predictor.encoding import encode_event, numbered
from predictor.outbox import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.otlp import JSON

OPENED, STATUS = "prediction.stream.opened", "prediction.stream.status"
LOST, CLOSED = "prediction.stream.lost", "prediction.stream.closed"
_DECLARE_NS = 60 * 10**9


class Log(Protocol):
    """Where lines go: the outbox."""

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Write one line, whole or not at all; raises OutboxError."""


class Lost(NamedTuple):
    """Numbers given to records that could not be written."""

    first: int
    last: int
    reason: str


class Status(NamedTuple):
    """What a status event says beside the stream's own numbers."""

    backlog_bytes: int = 0
    backlog_age: float = 0.0
    rejected: int = 0
    unrecorded: int = 0


class LogStream:
    """The log of this process; not thread-safe, used on the event loop only."""

    def __init__(
        self,
        stream_id: str,
        resource: JSON,
        version: str,
        *,
        refuses: bool,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take the stream's id, the resource (`otlp.resource_json`), the package version and the policy."""
        self.stream_id = stream_id
        self.sequence = 0
        self.lost = 0
        self._refuses = refuses
        self._resource = resource
        self._version = version
        self._now_ns = now_ns
        self._opened = False
        self._declared_ns = 0
        self._pending: Lost | None = None
        self._said: tuple[int, Status] = (0, Status())
        self._log: Log | None = None
        self.event_head = self.head({})

    def head(self, model: dict[str, str]) -> bytes:
        """Return the constant beginning of this stream's lines; `model` holds the model's scope attributes."""
        pairs = model | {
            "prediction.schema_version": record.SCHEMA_VERSION,
            "prediction.stream.id": self.stream_id,
        }
        scope = otlp.scope_json(record.SCOPE_NAME, self._version, pairs)
        return otlp.head("logs", self._resource, scope)

    def open(self, log: Log) -> None:
        """Begin: write `opened`, now or, if the outbox is full, before the first record that it takes."""
        self._log = log
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
        if self._pending:  # the log takes records again
            with contextlib.suppress(OutboxError):
                self.declare_lost()
        return True

    def declare_lost_sparingly(self, *, full: bool) -> None:
        """Say at once what was lost first, later once a minute while it goes on: the reserve must last for hours."""
        if not full or self._now_ns() - self._declared_ns >= _DECLARE_NS:
            self.declare_lost()

    def declare_lost(self) -> None:
        """Say that the stream is open and which numbers were lost, if that is unsaid; raises OutboxError."""
        self._begin()
        if self._pending is None:
            return
        first, last, reason = self._pending
        self._event(
            LOST,
            {
                "prediction.stream.lost.first": first,
                "prediction.stream.lost.last": last,
                "prediction.stream.reason": reason,
            },
            f"stream {self.stream_id} lost records {first} to {last}: {reason}",
            severity=record.ERROR,
        )
        self._pending = None
        self._declared_ns = self._now_ns()

    def status(self, status: Status) -> bool:
        """Write a status event if anything happened since the last one or is pending; raises OutboxError."""
        if (self.sequence, status) == self._said and not status.backlog_bytes:
            return False
        self.declare_lost()
        self._event(
            STATUS,
            {
                "prediction.stream.backlog_bytes": status.backlog_bytes,
                "prediction.stream.backlog_age": status.backlog_age,
                "prediction.stream.lost.total": self.lost,
                "prediction.stream.rejected": status.rejected,
                "prediction.stream.unrecorded": status.unrecorded,
            },
            f"stream {self.stream_id} at {self.sequence + 1}: backlog {status.backlog_bytes} bytes, "
            f"{status.backlog_age:.0f} s old, lost {self.lost}, rejected {status.rejected}",
        )
        # What the status itself brought (its number, its own backlog) must not call for the next one.
        self._said = (self.sequence, status._replace(backlog_bytes=0, backlog_age=0.0))
        return True

    def close(self) -> None:
        """End: write `closed`, after which there are no more records; raises OutboxError."""
        self.declare_lost()
        self._event(CLOSED, {"prediction.stream.reason": "shutdown"}, f"stream {self.stream_id} closed: shutdown")

    def _begin(self) -> None:
        if not self._opened:
            self._event(OPENED, {}, f"stream {self.stream_id} opened")
            self._opened = True

    def _event(
        self,
        name: str,
        pairs: dict[str, Any],
        body: str,
        *,
        severity: tuple[int, str] = record.INFO,
    ) -> None:
        rest = _event_record(name, pairs, body, severity, self._now_ns())
        self._write(self.event_head, [rest], urgent=True)

    def _write(self, head: bytes, records: Sequence[bytes], *, urgent: bool) -> None:
        if self._log is None:
            msg = "the stream is not open"
            raise RuntimeError(msg)
        first = self.sequence + 1
        line = otlp.line(head, [numbered(first + offset, rest) for offset, rest in enumerate(records)])
        self._log.append(line, urgent=urgent)
        self.sequence += len(records)

    def _lose(self, records: int, reason: str) -> None:
        first = self._pending.first if self._pending else self.sequence + 1
        self.sequence += records
        self.lost += records
        self._pending = Lost(first, self.sequence, reason)


def closing_line(event_head: bytes, sequence: int) -> bytes:
    """Return the closing record of a stream whose process died, under its own resource and scope."""
    rest = _event_record(
        CLOSED, {"prediction.stream.reason": "crash"}, "stream closed: crash", record.WARN, time.time_ns()
    )
    return otlp.line(event_head, [numbered(sequence, rest)])


def _event_record(name: str, pairs: dict[str, Any], body: str, severity: tuple[int, str], now_ns: int) -> bytes:
    return encode_event(
        attributes=pairs | {"event.name": name},
        body=body,
        severity=severity,
        event_name=name,
        time_ns=now_ns,
        observed_ns=now_ns,
    )
