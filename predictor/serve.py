"""Sockets, signals and the drain story: `predictor serve`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web

from predictor import app, console
from predictor.greeting import greeting

if TYPE_CHECKING:
    from predictor.settings import Settings
    from predictor.web.runner import Runner

_logger = logging.getLogger("predictor")
_ECHO = 0.5
"""Seconds within which another signal is the first one's echo."""
_SECOND_SIGNAL = 130
"""Exit status when a second signal ends the shutdown."""


def serve(settings: Settings) -> int:
    """Run the server until a signal ends it; return the exit status; raises OSError and ModelError at the start."""
    console.setup()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: its terminal is closed
        loop.add_signal_handler(number, signals.put_nowait, number)

    runner = await app.runner(settings)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
    except (OSError, UnicodeError) as error:  # the latter: no host name at all
        await runner.cleanup()
        code = (isinstance(error, OSError) and error.errno) or 0
        # asyncio's own words repeat the address; a name that is not found has its words in strerror.
        reason = os.strerror(code) if code > 0 else (isinstance(error, OSError) and error.strerror) or str(error)
        where = f"{settings.host} port {settings.port} (PREDICTOR_HOST, PREDICTOR_PORT)"
        raise OSError(code, f"cannot listen on {where}: {reason}") from error
    host, port = runner.addresses[0][:2]
    if settings.log == "off":
        _logger.warning("PREDICTOR_LOG=off: no prediction is logged")
    for line in greeting(settings, runner.app, host, port):
        console.say(line)

    ending = asyncio.create_task(_end(runner, await signals.get(), settings))
    again = asyncio.create_task(_second(signals))
    await asyncio.wait((ending, again), return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        _logger.warning("second signal: ended at once; what is not shipped is in %s", settings.outbox.resolve())
        sys.stderr.flush()
        os._exit(_SECOND_SIGNAL)
    again.cancel()
    await ending
    return 0


async def _second(signals: asyncio.Queue[signal.Signals]) -> None:
    """Wait for a second signal that is meant as one: a process group often gets the first one twice."""
    await asyncio.sleep(_ECHO)
    while not signals.empty():
        signals.get_nowait()
    await signals.get()


async def _end(runner: Runner, first: signal.Signals, settings: Settings) -> None:
    """End in this order, so that nothing acknowledged is lost and nobody is refused without need."""
    # 1. Not ready: no new traffic should be sent here; what comes is answered.
    runner.app[app.HEALTH].terminating = True
    delay = settings.shutdown_delay if first is signal.SIGTERM else 0.0  # a person at a terminal does not wait
    longest = delay + settings.drain + (settings.flush if settings.export.logs or settings.export.traces else 0.0)
    _logger.info("%s: shutting down within %g s; a second signal ends it at once", first.name, longest)
    # 2. Until that is known everywhere. Who keeps a connection hears it with the next answer, the connection's last.
    if delay:
        runner.leave()
    await asyncio.sleep(delay)
    # 3. Stop listening, close idle connections, finish what is in flight (PREDICTOR_DRAIN).
    # 4. Close the stream, ship until the deadline (PREDICTOR_FLUSH), say what is left: the application's clean-up.
    await runner.cleanup()
