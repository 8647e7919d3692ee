"""Signals before the server has begun: one ends the process, also as the first one of a container.

The kernel drops a signal that the first process of a PID namespace has no handler for, so that a pod that is deleted
while it starts would be waited for until it is killed.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last: its terminal is closed


def take() -> None:
    """End the process, with status 0, at a signal from now on; for as long as it holds nothing that must be closed."""
    for number in ENDING:
        signal.signal(number, _end)
    if not has_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it would have read again is yet to be read


def has_terminal() -> bool:
    """Tell whether the process has a controlling terminal, whose end SIGHUP then means; else: read the files again."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _end(number: int, _: FrameType | None) -> None:
    os.write(2, f"predictor: {signal.Signals(number).name} before the server had started\n".encode())
    os._exit(0)  # an exception could be caught by whatever is being imported
