"""Syncs what a dead process left unsynced, before any of it is sent.

A power cut would take it back else, and its numbers would be given to others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from predictor.outbox.layout import sync_directory
from predictor.outbox.modes import open_file

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.outbox.layout import StreamFiles
    from predictor.outbox.writing.segment_file import DiskCalls

_COPY_BYTES = 1 << 20


def secure(files: StreamFiles, unsure: set[int], disk: DiskCalls) -> None:
    """Sync the segments of records that are not shipped, and the folders that name them (blocking); raises OSError.

    A segment whose fsync fails is written once more, in its own place; until that is done its number stays in
    `unsure`, because a second fsync would say that all is well.
    """
    logs = files.signal("logs")
    first = logs.cursor().segment
    for number in logs.numbers():
        path = logs.segment(number)
        if number < first:
            continue
        if number not in unsure:
            try:
                _sync(path, disk)
                continue
            except FileNotFoundError:
                continue
            except OSError:
                unsure.add(number)
        _write_once_more(path, disk)
        unsure.discard(number)
    for folder in (logs.folder, files.path, files.path.parent):
        sync_directory(folder)


def _sync(path: Path, disk: DiskCalls) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        disk.fsync(fd)
    finally:
        os.close(fd)


def _write_once_more(path: Path, disk: DiskCalls) -> None:
    copy = path.with_suffix(".copy")
    fd = open_file(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    try:
        with os.fdopen(fd, "wb") as target, path.open("rb") as source:
            while data := source.read(_COPY_BYTES):
                target.write(data)
            target.flush()
            disk.fsync(fd)
        copy.rename(path)
    finally:
        copy.unlink(missing_ok=True)
