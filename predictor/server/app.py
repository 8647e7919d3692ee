"""The composition root: builds every part from the settings and owns their lifetimes."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from predictor import __version__
from predictor.api.body_size import default_body_bytes
from predictor.api.dataplane import DataPlane
from predictor.api.pattern.feedback import FeedbackCall
from predictor.api.routes import routes
from predictor.config.settings import load as load_settings
from predictor.core import cpu_quota, operator_log, thread_pools
from predictor.core.rate_limit import TokenBucket
from predictor.dashboard.feed import Feed
from predictor.dashboard.routes import Page
from predictor.dashboard.view import View
from predictor.http.fast_lane import FastLane
from predictor.http.handlers import ACCESS, IN_FLIGHT, SERVER, InFlight, add_routes, outermost
from predictor.http.request_head import HeadReader
from predictor.http.responses import name_server
from predictor.http.runner import LANE, ServerRunner
from predictor.inference.model import load
from predictor.recording import model_event, record_schema
from predictor.recording.feedback import FeedbackLog
from predictor.recording.prediction_log import NoPredictionLog, PredictionLog
from predictor.recording.redaction import redaction_of, scope_attributes
from predictor.server.callers import Callers, is_local
from predictor.server.health import Health
from predictor.server.log_service import LogService
from predictor.server.otel_resource import resource
from predictor.serving import listeners
from predictor.serving.pipeline import Pipeline
from predictor.tracing.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from opentelemetry.sdk.resources import Resource

    from predictor.config.settings import Settings
    from predictor.core.problems import Kind
    from predictor.core.result import Origin
    from predictor.inference.model import Model
    from predictor.recording.redaction import Redaction
    from predictor.server.metrics import Metrics
    from predictor.serving.listeners import Observer

HEALTH = web.AppKey("HEALTH", Health)
PIPELINES: web.AppKey[dict[str, Pipeline]] = web.AppKey("PIPELINES", dict)
LOG_SERVICE = web.AppKey("LOG_SERVICE", LogService)
PAGE = web.AppKey("PAGE", Page)
CALLERS = web.AppKey("CALLERS", Callers)
_TURNS = 3
"""Of the loop, from the reading of a request to the call of its handler."""


async def runner(settings: Settings | None = None) -> ServerRunner:
    """Return the runner of the whole server; gunicorn's aiohttp worker calls it as `predictor.app:runner`."""
    if settings is None:  # a worker of gunicorn
        operator_log.setup()
        settings = load_settings()
        if settings.tls_certificate:
            msg = "PREDICTOR_TLS_CERTIFICATE is set, wanted gunicorn's own --certfile and --keyfile"
            raise ValueError(msg)
        settings = replace(settings, host="0.0.0.0")  # noqa: S104 - where gunicorn listens is not known here
    model = load(settings.model, settings.batch_rows)
    for note in (*model.notes, *settings.export.ignored):
        operator_log.say(note)
    app = application(settings, model, resource())
    # What is there now stays: not looking at it again at each collection saves 5 to 10 µs a request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    return ServerRunner(app, idle=settings.idle, drain=settings.drain, connections=settings.connections)


def application(settings: Settings, model: Model, resource: Resource) -> web.Application:
    """Return the application; its start-up opens the log (raises OSError), its clean-up closes it.

    Raises RedactionError or ValueError before any of that: a start that is refused must leave no stream behind.
    """
    callers = Callers(settings)
    body_bytes = settings.body_bytes or default_body_bytes(len(model.description.features), settings.batch_rows)
    redaction = redaction_of(model.description, settings.hash_key_file)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        # Each part needs those before it; they end in reverse order.
        blocking = await thread_pools.prepare()
        log_service = None
        if settings.log == "on":
            log_service = app[LOG_SERVICE] = LogService(settings, resource)
            await log_service.open()
        tracer = Tracer(resource, log_service.spans if log_service else None, settings.semconv)
        log = _prediction_log(settings, model, log_service, redaction) if log_service else None
        if page := _page(settings, model, log_service):
            app[PAGE] = page
            page.add_routes(app.router)
        watch = page.feed.observe if page else None
        observer = listeners.together(
            listeners.display(settings.display, record_schema.schema_of(model.description, redaction)), watch
        )
        rows = settings.rows_per_second
        pipeline = Pipeline(
            model,
            log or NoPredictionLog(),
            tracer,
            batch_rows=min(settings.batch_rows, model.description.batch_rows or settings.batch_rows),
            threads=settings.threads or cpu_quota.usable(),
            queue_rows=settings.queue_rows,
            slow=settings.slow,
            rate=TokenBucket(rows, max(rows, settings.batch_rows)) if rows else None,
            observe=observer,
        )
        app[PIPELINES] = {model.description.name: pipeline}
        health = app[HEALTH] = Health(
            log_service, refuses=settings.refuses, stalled=pipeline.stalled, deadline=settings.deadline
        )
        metrics = _metrics(resource, log_service) if settings.export.metrics and log_service else None
        plane = DataPlane(
            pipeline,
            tracer,
            deadline=settings.deadline,
            refused=_refused(log, observer) if log else None,
            measure=metrics.request if metrics else None,
        )
        feedback = _feedback(settings, model, log, pipeline) if settings.feedback and log else None
        limits = {"batch_rows": settings.batch_rows, "body_bytes": body_bytes}
        calls = routes(model, health, feedback=feedback, **limits)
        add_routes(app.router, plane, calls, callers.access)  # last: it also answers where no call is
        if settings.fast_lane == "on":
            heads = HeadReader(calls, tracer.fields, callers.access)
            callers.renewed.append(heads.forget)
            app[LANE] = FastLane(plane, heads)
        yield
        await pipeline.close()
        if log_service:
            await _flush(log_service, metrics, settings.flush)
        blocking.shutdown(wait=False)

    async def drain(app: web.Application) -> None:
        app[HEALTH].terminating = True  # gunicorn's workers come here without a signal of ours
        for _ in range(_TURNS):  # what was read before the connections were told must not be refused
            await asyncio.sleep(0)
        for pipeline in app[PIPELINES].values():
            pipeline.draining = True
        if page := app.get(PAGE):
            page.feed.close()

    app = web.Application(client_max_size=body_bytes, middlewares=[outermost])
    app[IN_FLIGHT], app[SERVER], app[ACCESS], app[CALLERS] = InFlight(), [], callers.access, callers
    app.cleanup_ctx.append(lifetime)
    app.on_shutdown.append(drain)
    app.on_response_prepare.append(name_server)
    return app


def _prediction_log(
    settings: Settings, model: Model, log_service: LogService, redaction: Redaction | None
) -> PredictionLog:
    about = model.description
    scope = {
        "prediction.model.name": about.name,
        "prediction.model.version": about.version,
        "prediction.model.digest": model.digest,
    }
    if redaction:
        scope |= scope_attributes(about, redaction)
    return PredictionLog(
        record_schema.schema_of(about, redaction),
        scope,
        log_service.stream,
        log_service.outbox,
        log_service.refusals,
        refuses=settings.refuses,
        waits=settings.outbox_fsync == "batch",
        about=model_event.encoded(model),
    )


def _feedback(settings: Settings, model: Model, log: PredictionLog, pipeline: Pipeline) -> FeedbackCall:
    write = FeedbackLog(log, pipeline.admit_feedback).write
    labels = model.description.labels
    return FeedbackCall(write, labels, limit=settings.feedback_bytes)


def _page(settings: Settings, model: Model, log_service: LogService | None) -> Page | None:
    """Return the page, if it is on; not even its templates are loaded otherwise."""
    local = settings.page == "auto"
    if settings.page == "off" or (local and not is_local(settings)):
        return None
    from predictor.dashboard.render import files, html  # noqa: PLC0415 - brings Jinja

    about = model.description
    numbers = len(about.labels) or len(about.values) or 1
    feed = Feed(View(about.features, settings.grafana_url, about.outputs), len(about.features), numbers)
    stream_id = log_service.stream.stream_id if log_service else None
    content = html(model, model.ranges, stream_id, tokens=settings.token_file is not None)
    names = {*settings.allowed_hosts} - {"*"}
    return Page(feed, content, files(), loopback_only=local, hosts=names)


async def _flush(log_service: LogService, metrics: Metrics | None, seconds: float) -> None:
    """End the stream, then ship its rest and the last metrics at once: either may take all the seconds."""
    await log_service.end_stream()
    ends = [log_service.close(), *([metrics.shutdown(seconds)] if metrics else [])]
    for error in await asyncio.gather(*ends, return_exceptions=True):
        if error:
            raise error


def _refused(log: PredictionLog, observer: Observer | None) -> Callable[[Origin, Kind], None]:
    """Return what records, and shows, a request that was refused before its rows were known."""

    def refused(origin: Origin, error: Kind) -> None:
        refusal = log.refused(origin, error)
        if refusal and observer:
            observer([refusal])

    return refused


def _metrics(resource: Resource, book: LogService) -> Metrics:
    from predictor.server.metrics import Metrics, instruments  # noqa: PLC0415 - the exporter takes long to import

    with thread_pools.needed():
        return Metrics(resource, __version__, instruments(book))
