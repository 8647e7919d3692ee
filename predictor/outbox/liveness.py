"""Whether a process still has a stream of the outbox, as its lock says, for whoever only reads."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor.outbox.layout import StreamFiles


def owned(files: StreamFiles) -> bool:
    """Tell whether a process has the stream, for whoever only reads; raises OSError.

    The question locks for a moment: a process that wants to take the stream over just then tries again later.
    """
    try:
        fd = os.open(files.lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
