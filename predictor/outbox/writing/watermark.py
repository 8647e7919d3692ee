"""Stores the highest number of a stream that may have left, for segments that are not synced themselves.

Without fsync a power cut can take back lines that the sink has. Whoever closes the stream then must not give one of
their numbers to its closing record, so the number is stored durably here before any line up to it is sent.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from predictor.outbox.layout import sync_directory
from predictor.outbox.modes import open_file

if TYPE_CHECKING:
    from predictor.outbox.layout import SignalFiles

_NAME = "highest"
_FORM = b"%019d\n"  # of one length: written in place it needs no room on a full disk, and lies in one sector


def store(files: SignalFiles, number: int) -> None:
    """Make `number` durable (blocking); raises OSError."""
    path = files.folder / _NAME
    try:
        fd, new = os.open(path, os.O_WRONLY | os.O_CLOEXEC), False
    except FileNotFoundError:
        fd, new = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC), True
    try:
        os.pwrite(fd, _FORM % number, 0)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    if new:
        sync_directory(files.folder)


def stored(files: SignalFiles) -> int:
    """Return the number that was stored last, 0 if there is none that can be read; raises OSError."""
    try:
        text = (files.folder / _NAME).read_bytes()
    except FileNotFoundError:
        return 0
    return int(text) if len(text) == len(_FORM % 0) and text.strip().isdigit() else 0
