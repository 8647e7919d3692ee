"""The banner that a person sees at the start: where it listens, what to try, where the log is."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from predictor.api.json_body import encode
from predictor.config.settings import DEMO
from predictor.http.listener import UNIX
from predictor.server import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiohttp import web

    from predictor.config.settings import Settings
    from predictor.http.listener import Place
    from predictor.inference.model import Model

_SHOWN = 32
"""Values of a sample that a person sees."""


def greeting(settings: Settings, application: web.Application, places: Sequence[Place]) -> Iterator[str]:
    """Yield the lines."""
    catalog = application[app.MODELS].catalog
    default = catalog.default
    scheme = "https" if settings.tls_certificate else "http"
    urls = [place.host if place.host.startswith(UNIX) else _url(scheme, place) for place in places]
    url = next((each for each in urls if not each.startswith(UNIX)), "")
    curl = "curl -s" if url else f"curl -s --unix-socket {quote(urls[0].removeprefix(UNIX))}"
    if settings.token_file:
        curl += " -H 'Authorization: Bearer …'"
    others = [str(version) for version in catalog.versions() if version is not default]
    beside = f", with {', '.join(others)} beside it," if others else ""
    yield f"{default or 'a server without a model'}{beside} listens on {' and '.join(urls)}"
    if settings.model == DEMO:
        yield "this is the demo; for your own model: predictor serve model.onnx (or its folder), or set PREDICTOR_MODEL"
    if door := application.get(app.GRPC):
        listening = " and ".join(_url("", place).removeprefix("://") for place in door.places)
        by = ", by TLS" if settings.tls_certificate else ""
        yield f"{listening} speaks gRPC: the Open Inference Protocol{by}"
    if default:
        sample = _sample(default.pipeline.model)
        target = quote(f"{url or 'http://localhost'}/predict")
        yield f"try: {curl} -H 'Content-Type: application/json' -d '{sample}' {target}"
    if app.PAGES in application and url:
        yield f"{url}/ shows the last predictions in a browser"
    if scraped := application.get(app.SCRAPED):
        yield f"{_url('http', scraped.place)}/metrics has metrics for Prometheus"
    if settings.log == "off":
        return
    book = application[app.LOG_SERVICE]
    yield f"the prediction log is in {settings.outbox.resolve()}, this start's stream is {book.stream.stream_id}"
    logs = settings.export.logs
    if logs is None:
        why = (
            "OTEL_LOGS_EXPORTER=none"
            if "logs" in settings.export.off
            else "set OTEL_EXPORTER_OTLP_ENDPOINT to ship it to a Collector"
        )
        yield f"it stays there, the newest {_size(settings.keep_bytes)} for {_time(settings.keep_age)}; {why}"
    else:
        yield f"it is shipped by OTLP/HTTP to {logs.shown}{logs.way}, and removed when the sink has accepted it"


def _sample(model: Model) -> str:
    """Return a body that the model takes, as far as one is known and short enough to be read."""
    if model.tensors is None:
        return encode({"data": [[feature.sample for feature in model.description.columns]]}).decode()
    sample = model.tensors.sample
    if sample is None or sum(array.size for array in sample.values()) > _SHOWN:
        return '{"inputs": {…}}'
    return encode({"inputs": {name: array.tolist() for name, array in sample.items()}}).decode()


def _url(scheme: str, place: Place) -> str:
    return f"{scheme}://{f'[{place.host}]' if ':' in place.host else place.host}:{place.port}"


def _size(number: int) -> str:
    return f"{number / (1 << 30):.3g} GiB" if number >= 1 << 30 else f"{number / (1 << 20):.3g} MiB"


def _time(seconds: float) -> str:
    for name, unit in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} seconds"
