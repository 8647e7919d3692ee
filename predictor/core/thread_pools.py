"""Thread pools whose threads are started before they are needed.

A thread that is started at the first need can fail at the worst moment (a limit of the user or of the control group),
and what was counted before stays counted. So each pool starts all of its threads at once, and a start that gets none
ends with a sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKING = 8
"""For `asyncio.to_thread` and host names: upkeep, two shippers, metrics, and as many that hang on a disk."""
_RESOLVING = 4
"""What libuv starts at the first host name; where it gets no thread it aborts the process."""


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Raise OSError (EAGAIN) with a sentence where what is done inside starts a thread in vain."""
    try:
        yield
    except RuntimeError as error:
        if "thread" not in str(error):
            raise
        sentence = "no thread can be started; the limit is the user's (ulimit -u) or the control group's (pids.max)"
        raise OSError(errno.EAGAIN, sentence) from error


def pool(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads run already, so that no later `submit` starts one; raises OSError."""
    made = ThreadPoolExecutor(count, name)
    gate = threading.Event()
    try:
        with needed():
            for _ in range(count):
                made.submit(gate.wait)  # none is idle while all wait: each submit starts a thread
    except OSError:
        made.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        gate.set()
    return made


async def prepare() -> ThreadPoolExecutor:
    """Start the threads of the running loop and return its pool, to be shut down at the end; raises OSError."""
    loop = asyncio.get_running_loop()
    blocking = pool(_BLOCKING, "blocking")
    loop.set_default_executor(blocking)
    pool(_RESOLVING, "resolving").shutdown()  # there is room for them
    with contextlib.suppress(OSError):  # no number, so nothing is looked up: but the threads for it are there now
        await loop.getaddrinfo("localhost", None, flags=socket.AI_NUMERICHOST)
    return blocking
