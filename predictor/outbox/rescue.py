"""The last resort for lines that were acknowledged and that the outbox's own disk does not take."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def rescue(lines: Iterable[bytes], stream_id: str) -> Path:
    """Write lines durably to a file of their own in the folder for temporary files (TMPDIR); raises OSError.

    Like a segment it has one OTLP JSON object a line; nobody but its owner may read it.
    """
    path = Path(tempfile.gettempdir()) / f"predictor-{stream_id}.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    return path
