"""The canonical content of a record that was read, for its digest: made when it is asked for, since few readers do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.recording.canonical import LogRecord, canonical, record_digest

if TYPE_CHECKING:
    from collections.abc import Collection


class Content(NamedTuple):
    """A record in the form in which it was written, as far as its source has kept that."""

    scope: bytes
    """The digest of its scope."""
    record: Any
    """The record, a `LogRecord`, or what makes it."""
    doubt: str = ""
    """Why its digest tells nothing, empty if the types and the order of its attributes are known."""

    def digest(self, without: Collection[str] = ()) -> bytes:
        """Return the digest of the record, perhaps without some of its attributes: 32 bytes."""
        record = self.record if type(self.record) is LogRecord else self.record()
        return record_digest(self.scope, canonical(record, without=without))


NOTHING = Content(b"", LogRecord, doubt="its source was put aside")
"""Of a record whose source was put aside."""
