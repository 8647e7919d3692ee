"""A worker class for gunicorn, `-k predictor.worker.Worker`, in which SIGUSR1 to the master reloads the models.

It is aiohttp's worker, by the hooks that gunicorn documents; with aiohttp's own class nothing is lost but that signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import GunicornUVLoopWebWorker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from aiohttp import web


class Worker(GunicornUVLoopWebWorker):
    """Serves `predictor.app:runner`."""

    served: web.Application | None = None
    asked = False
    """A reload was asked for before there was anything to reload."""

    def load_wsgi(self) -> None:
        """Load the application's factory, and remember what it makes."""
        super().load_wsgi()
        factory: Callable[[], Awaitable[web.AppRunner]] = self.wsgi  # type: ignore[has-type]

        async def runner() -> web.AppRunner:
            made = await factory()
            self.served = made.app
            made.app.on_startup.append(self.started)
            return made

        self.wsgi = runner

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """Reopen gunicorn's own log files, as ever, and take models and tokens as they lie in their files now."""
        super().handle_usr1(sig, frame)
        from predictor.server.app import MODELS, reload  # noqa: PLC0415 - not in the master, nor before the settings

        if self.served is not None and MODELS in self.served:
            reload(self.served)
        else:
            self.asked = True

    async def started(self, application: web.Application) -> None:
        """Make up for a signal that came too early."""
        from predictor.server.app import reload  # noqa: PLC0415 - as above

        if self.asked:  # the files were read before
            reload(application)
