"""What a person sees when the server starts: where it listens, what to try, where the log is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor import app
from predictor.web.payload import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from predictor.settings import Settings


def greeting(settings: Settings, application: web.Application, host: str, port: int) -> Iterator[str]:
    """Yield the lines."""
    name, pipeline = next(iter(application[app.PIPELINES].items()))
    about = pipeline.model.description
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    sample = encode({"data": [[feature.sample for feature in about.features]]}).decode()
    yield f"{name}@{about.version} listens on {url}"
    yield f"try: curl -s -H 'Content-Type: application/json' -d '{sample}' {url}/predict"
    if settings.log == "off":
        return
    book = application[app.LOGBOOK]
    yield f"the prediction log is in {settings.outbox.resolve()}, this start's stream is {book.stream.stream_id}"
    logs = settings.export.logs
    if logs is None:
        keep = f"{settings.keep_bytes >> 20} MiB or {settings.keep_age / 3600:g} h"
        yield f"it stays there, the newest {keep}; set OTEL_EXPORTER_OTLP_ENDPOINT to ship it to a Collector"
    else:
        yield "it is shipped by OTLP/HTTP to the Collector that OTEL_EXPORTER_OTLP_ENDPOINT names, and then removed"
