"""The last resort for lines that were acknowledged and that the outbox's own disk does not take."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.outbox.layout import sync_directory
from predictor.outbox.writing.segment_file import DiskCalls, SegmentFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from predictor.outbox.layout import StreamFiles


def rescue(lines: Iterable[bytes], stream_id: str) -> Path:
    """Write lines durably to a file of their own in the folder for temporary files (TMPDIR); raises OSError.

    Like a segment it has one OTLP JSON object a line; nobody but its owner may read it.
    """
    path = _path(stream_id)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    return path


def bring_back(files: StreamFiles, disk: DiskCalls) -> Path | None:
    """Write what was rescued of a stream to a segment of its own, and return the file that held it (blocking).

    To be called before the stream is closed: its numbers would be used again. None if there is nothing of ours.
    Raises OSError, and may be called again.
    """
    try:
        path = _path(files.stream_id)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is no such folder (a read-only root), no such file, or a link that somebody else put there
        return None
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():  # anybody may write to such a folder
            return None
        lines = [line for line in file if otlp.well_formed("logs", line)]
    logs = files.signal("logs")
    number = max([logs.cursor().segment, *logs.numbers()]) + 1
    segment = SegmentFile(disk, logs.segment(number))
    try:
        segment.append(b"".join(lines))
        segment.sync()
    finally:
        segment.close()
    sync_directory(logs.folder)
    path.unlink()
    return path


def _path(stream_id: str) -> Path:
    """Return where a stream's lines are rescued to; raises OSError if there is no folder that takes files."""
    return Path(tempfile.gettempdir()) / f"predictor-{stream_id}.jsonl"
