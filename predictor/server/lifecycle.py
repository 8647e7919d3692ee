"""`predictor serve`: opens sockets, heeds signals, drains."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import uvloop

from predictor.core import operator_log
from predictor.core.worker_threads import WorkerThread
from predictor.http.listener import UNIX, Listener
from predictor.server import app
from predictor.server.banner import greeting
from predictor.server.early_signals import ENDING, has_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from predictor.config.settings import Settings
    from predictor.http.listener import Place
    from predictor.http.runner import ServerRunner

_logger = logging.getLogger("predictor")
_ECHO = 0.5
"""Seconds within which another signal is the first one's echo: a process group often gets it twice."""
_SECOND_SIGNAL = 130
"""Exit status when a second signal ends the shutdown."""
_UNFINISHED = 1
"""Exit status when the shutdown did not come to its end in time."""
_CLOSING = 5.0
"""Seconds besides the settings', for the batches that run, the last fsync and files on a slow disk."""
_THREADS = 1.0
"""Seconds for threads to end once everything is closed; one that hangs is left."""
_UNWRITTEN = 3
"""Exit status when acknowledged records are neither in the outbox nor at the sink; stderr says which and where."""


def serve(settings: Settings) -> int:
    """Run the server until a signal ends it; return the exit status; raises OSError and ModelError at the start."""
    operator_log.setup()
    loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        status = loop.run(_serve(settings))
        _leave_hanging_threads(status)
        return status
    finally:
        with contextlib.suppress(RuntimeError):  # it wants a thread, to wait for threads that have ended
            loop.close()


async def _serve(settings: Settings) -> int:
    runner = await app.runner(settings)  # until now nothing is open, and a signal ends the process at once
    callers = runner.app[app.CALLERS]
    signals = _Signals(settings, partial(app.reload, runner.app))
    await runner.setup()
    listener = Listener()
    try:
        if runner.server and not signals.first.done():
            tls = callers.certificate.context if callers.certificate else None
            places: list[Place] = []
            for host in settings.hosts:
                # A port that was free for the first one is taken for all.
                port = settings.port or next((place.port for place in places if place.port), 0)
                places.append(await listener.open(runner.server, host, port, tls))
            _greet(settings, runner, places)
    except (OSError, UnicodeError) as error:  # the latter: no host name at all
        await listener.close()
        await runner.cleanup()
        code = (isinstance(error, OSError) and error.errno) or 0
        # asyncio's own words repeat the address; a name that is not found has its words in strerror.
        reason = os.strerror(code) if code > 0 else (isinstance(error, OSError) and error.strerror) or str(error)
        where = f"{host} port {settings.port} (PREDICTOR_HOST, PREDICTOR_PORT)"
        if host.startswith(UNIX):
            where = f"{host} (PREDICTOR_HOST)"
        raise OSError(code, f"cannot listen on {where}: {reason}") from error
    await _end(runner, listener, await signals.first, settings)
    book = runner.app.get(app.LOG_SERVICE)
    return _UNWRITTEN if book and book.unwritten else 0


def _greet(settings: Settings, runner: ServerRunner, places: list[Place]) -> None:
    if settings.log == "off":
        asked = settings.export.metrics or settings.export.scrape
        _logger.warning("PREDICTOR_LOG=off: no prediction is logged%s", ", and there are no metrics" if asked else "")
    for line in greeting(settings, runner.app, places):
        operator_log.say(line)


class _Signals:
    """The first signal begins the shutdown, or ends the start; a second that is meant as one ends all at once.

    SIGHUP is none of them if the process has no controlling terminal that could be closed: it calls `reload`.
    """

    def __init__(self, settings: Settings, reload: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._came = 0.0
        self.first: asyncio.Future[signal.Signals] = self._loop.create_future()
        for number in ENDING:
            self._loop.add_signal_handler(number, self._take, number)
        if not has_terminal():
            self._loop.add_signal_handler(signal.SIGHUP, reload)

    def _take(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if not self.first.done():
            self.first.set_result(number)
            self._came = now
        elif now - self._came > _ECHO:
            outbox = self._settings.outbox.resolve()
            _logger.warning("second signal: ended at once; what is not shipped is in %s", outbox)
            _exit(_SECOND_SIGNAL)


async def _end(runner: ServerRunner, listener: Listener, first: signal.Signals, settings: Settings) -> None:
    """End in this order, so that nothing acknowledged is lost and nobody is refused without need."""
    # 1. Not ready: no new traffic should be sent here; what comes is answered.
    runner.app[app.HEALTH].terminating = True
    delay = settings.shutdown_delay if first.name == "SIGTERM" else 0.0  # a person at a terminal does not wait
    export = settings.export
    flush = settings.flush if export.logs or export.traces or export.metrics else 0.0
    longest = delay + settings.drain + flush + _CLOSING
    _logger.info("%s: shutting down within %g s; a second signal ends it at once", first.name, longest)
    await _within(longest, _steps(runner, listener, delay))


async def _steps(runner: ServerRunner, listener: Listener, delay: float) -> None:
    # 2. Until that is known everywhere. Who keeps a connection hears it with the next answer, the connection's last.
    if delay:
        runner.leave()
    await asyncio.sleep(delay)
    # 3. Stop listening; who has connected by then is taken.
    await listener.close()
    # 4. Answer who has just come, close idle connections, finish what is in flight (PREDICTOR_DRAIN).
    # 5. Close the stream, ship until the deadline (PREDICTOR_FLUSH), say what is left: the application's clean-up.
    await runner.cleanup()


async def _within(seconds: float, steps: Coroutine[Any, Any, None]) -> None:
    """Await the steps of the shutdown; what hangs must not hold the process for ever."""
    with contextlib.suppress(RuntimeError):  # no thread for it
        # For what holds the loop itself: a thread without Python says where, and ends the process.
        faulthandler.dump_traceback_later(seconds + _CLOSING, exit=True)
    ending = asyncio.ensure_future(steps)
    await asyncio.wait((ending,), timeout=seconds)
    if not ending.done():
        _logger.error("the shutdown has not ended in %g s and is aborted; the next start closes the stream", seconds)
        _exit(_UNFINISHED)
    await ending


def _leave_hanging_threads(status: int) -> None:
    """End the process without the threads that do not end: a model, or a disk, that does not answer."""
    end = time.monotonic() + _THREADS
    current = threading.current_thread()
    others = [
        each
        for each in threading.enumerate()
        if each is not current and (not each.daemon or isinstance(each, WorkerThread))
    ]
    for thread in others:
        thread.join(max(0.0, end - time.monotonic()))
    if hanging := [thread.name for thread in others if thread.is_alive()]:
        _logger.error("ended without the threads that hang: %s", ", ".join(hanging))
        _exit(status)


def _exit(status: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(status)
