"""The banner that a person sees at the start: where it listens, what to try, where the log is."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from predictor.api.json_body import encode
from predictor.server import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from predictor.config.settings import Settings


def greeting(settings: Settings, application: web.Application, host: str, port: int) -> Iterator[str]:
    """Yield the lines."""
    name, pipeline = next(iter(application[app.PIPELINES].items()))
    about = pipeline.model.description
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    sample = encode({"data": [[feature.sample for feature in about.features]]}).decode()
    yield f"{name}@{about.version} listens on {url}"
    yield f"try: curl -s -H 'Content-Type: application/json' -d '{sample}' {quote(f'{url}/predict')}"
    if app.PAGE in application:
        yield f"{url}/ shows the last predictions in a browser"
    if settings.log == "off":
        return
    book = application[app.LOG_SERVICE]
    yield f"the prediction log is in {settings.outbox.resolve()}, this start's stream is {book.stream.stream_id}"
    logs = settings.export.logs
    if logs is None:
        why = (
            "OTEL_LOGS_EXPORTER is none"
            if "logs" in settings.export.off
            else "set OTEL_EXPORTER_OTLP_ENDPOINT to ship it to a Collector"
        )
        yield f"it stays there, the newest {_size(settings.keep_bytes)} for {_time(settings.keep_age)}; {why}"
    else:
        yield f"it is shipped by OTLP/HTTP to {logs.shown}{logs.way}, and removed when the sink has accepted it"


def _size(number: int) -> str:
    return f"{number / (1 << 30):.3g} GiB" if number >= 1 << 30 else f"{number / (1 << 20):.3g} MiB"


def _time(seconds: float) -> str:
    for name, unit in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} seconds"
