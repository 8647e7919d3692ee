"""The one public function: `runner`, which gunicorn's aiohttp worker calls as `predictor.app:runner`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.config.settings import load

if TYPE_CHECKING:
    from predictor.config.settings import Settings
    from predictor.http.runner import ServerRunner


async def runner(settings: Settings | None = None) -> ServerRunner:
    """Return the runner of the whole server, by the environment unless settings are given; raises SettingsError."""
    if settings is None:
        load()  # first: OpenTelemetry fails when it is imported, at a bad OTEL_PROPAGATORS, without a word of ours
    from predictor.server import app  # noqa: PLC0415 - as above

    return await app.runner(settings)


__all__ = ["runner"]
