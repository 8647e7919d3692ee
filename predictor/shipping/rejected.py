"""What the sink refused for its content, kept beside the stream: one file a record, a bounded number of bytes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from predictor.outbox.segments import file_size, replace_file, sync_directory

if TYPE_CHECKING:
    from predictor.outbox.segments import StreamFiles

_LIMIT = 64 << 20  # a stream; a sink that refuses everything must not fill the disk a second time


class Reject(Protocol):
    """Keeps a refused item, called in a thread (see `Rejected.keep`)."""

    def __call__(self, files: StreamFiles, name: str, content: bytes, /) -> bool:
        """Return once `content` is durable, or False if it cannot be kept; raises OSError to be asked again."""


class Rejected:
    """Keeps refused records under `rejected/`; the shippers of both signals share one."""

    def __init__(self, limit: int = _LIMIT) -> None:
        """Bound every stream's directory to `limit` bytes."""
        self._limit = limit
        self._sizes: dict[StreamFiles, int] = {}
        self._lock = threading.Lock()  # both shippers call from threads

    def keep(self, files: StreamFiles, name: str, content: bytes) -> bool:
        """Write `rejected/<name>.json` whole, in a thread; False if the bound leaves no room; raises OSError."""
        folder = files.rejected
        with self._lock:
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                sync_directory(files.path)
            if files not in self._sizes:
                self._sizes[files] = sum(file_size(path) for path in folder.iterdir())
            path = folder / f"{name}.json"
            size = (
                self._sizes[files] - file_size(path) + len(content)
            )  # there already if a crash came before the cursor
            if size > self._limit:
                return False
            replace_file(path, content)
            self._sizes[files] = size
            return True

    def forget(self, files: StreamFiles) -> None:
        """Forget a stream whose directory goes."""
        with self._lock:
            self._sizes.pop(files, None)
