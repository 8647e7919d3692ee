"""The streams that this process's own names in its first record: those that ended on its outbox before it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.outbox import ended

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.outbox import Outbox
    from predictor.recording.stream import LogStream

_logger = logging.getLogger(__name__)


class PreviousStreams:
    """What the outbox's list had when this process began."""

    def __init__(self, root: Path) -> None:
        """Take the outbox folder."""
        self._root = root
        self._named: set[str] = set()

    async def encoded(self) -> str:
        """Return what the first record says, empty if it names none; a list that cannot be read is said."""
        try:
            found = await asyncio.to_thread(ended.unnamed, self._root)
        except OSError as error:
            _logger.warning("%s: %s", error.filename or ended.NAME, error.strerror)
            return ""
        self._named = {each.stream for each in found}
        return ended.encoded(found)

    async def forget(self, stream: LogStream, outbox: Outbox) -> None:
        """Take out of the list what the stream names, once its first record is on the disk; raises OSError."""
        if not (self._named and stream.opened_at):
            return
        if not any(otlp.first_sequence(line) <= stream.opened_at for line in outbox.unsynced[:1]):
            await asyncio.to_thread(ended.named, self._root, self._named)
            self._named = set()
