"""Keeps refused items beside the stream: two files an item, a bounded number of bytes.

`rejected/<name>.json` is the item as it was sent, `rejected/<name>.reason.json` what the sink answered.
Other programs may remove both, as `predictor log resend` does.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Protocol

import msgspec

from predictor.outbox.layout import file_size, replace_file, sync_directory
from predictor.outbox.modes import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from predictor.outbox.layout import Signal, StreamFiles

LIMITS: Mapping[Signal, int] = {"logs": 64 << 20, "traces": 16 << 20}  # B of a stream; spans take no record's room


class RefusalRecord(msgspec.Struct, frozen=True):
    """What stands in `<name>.reason.json`."""

    status: int
    words: str  # the sink's own
    endpoint: str  # without secrets
    time_unix_ns: int


class Reject(Protocol):
    """Keeps a refused item (see `Rejected.keep`)."""

    async def __call__(self, files: StreamFiles, name: str, content: bytes, reason: RefusalRecord, /) -> bool:
        """Return once `content` is durable, or False if there is no room for it now; raises OSError."""


class Rejected:
    """Keeps refused items under `rejected/`; the shippers of both signals share one."""

    def __init__(
        self, limits: Mapping[Signal, int] = LIMITS, *, added: Callable[[int], object] = lambda _: None
    ) -> None:
        """Bound what each signal has in a stream's folder; `added` is called with each change of the records' bytes."""
        self._limits = {str(signal): limit for signal, limit in limits.items()}
        self._added = added
        self._sizes: dict[tuple[StreamFiles, str], int] = {}
        self._lock = threading.Lock()  # a cancelled task leaves its thread at work

    async def keep(self, files: StreamFiles, name: str, content: bytes, reason: RefusalRecord) -> bool:
        """Write an item and its reason, and return once they are durable; False if the bound leaves no room.

        `name` begins with the signal and a hyphen. Raises OSError.
        """
        grown = await asyncio.to_thread(self._keep, files, name, content, msgspec.json.encode(reason))
        if grown is None:
            return False
        if name.startswith("logs-"):
            self._added(grown)
        return True

    def forget(self, files: StreamFiles) -> None:
        """Forget a stream whose directory goes."""
        with self._lock:
            for signal in self._limits:
                self._sizes.pop((files, signal), None)

    def _keep(self, files: StreamFiles, name: str, content: bytes, reason: bytes) -> int | None:
        """Return by how many bytes the folder has grown, None if there is no room."""
        signal = name.partition("-")[0]
        with self._lock:
            if (files, signal) not in self._sizes:
                make_folder(files.rejected, exist_ok=True)
                sync_directory(files.path)
                self._sizes[files, signal] = _size(files, signal)
            path, beside = files.rejected / f"{name}.json", files.rejected / f"{name}.reason.json"
            # They are there already if a crash came before the cursor.
            grown = len(content) + len(reason) - file_size(path) - file_size(beside)
            if self._sizes[files, signal] + grown > self._limits[signal]:
                self._sizes[files, signal] = _size(files, signal)  # somebody may have removed some
                if self._sizes[files, signal] + grown > self._limits[signal]:
                    return None
            try:
                replace_file(beside, reason)  # first: where the item is, its reason is
                replace_file(path, content)
            except FileNotFoundError:  # somebody has removed the folder
                del self._sizes[files, signal]
                raise
            self._sizes[files, signal] += grown
            return grown


def _size(files: StreamFiles, signal: str) -> int:
    return sum(file_size(path) for path in files.rejected.glob(f"{signal}-*"))
