"""The composition root: builds every part from the settings and owns their lifetimes."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from aiohttp import web
from opentelemetry.sdk.resources import Resource

from predictor import __version__, console, record
from predictor.feedback import FeedbackLog
from predictor.health import Health
from predictor.inference.model import load
from predictor.logbook import Logbook
from predictor.pipeline import Pipeline
from predictor.prediction_log import PredictionLog
from predictor.redaction import redacted, redaction_of
from predictor.settings import load as load_settings
from predictor.tracing import Tracing
from predictor.web.calls import Predictions
from predictor.web.express import Express
from predictor.web.feedback import FeedbackCall
from predictor.web.middleware import Surroundings
from predictor.web.routes import add_routes
from predictor.web.runner import EXPRESS, Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from predictor.errors import Kind
    from predictor.inference.model import Model
    from predictor.metrics import Metrics
    from predictor.prediction import Origin, Prediction
    from predictor.settings import Settings

HEALTH = web.AppKey("HEALTH", Health)
PIPELINES: web.AppKey[dict[str, Pipeline]] = web.AppKey("PIPELINES", dict)
LOGBOOK = web.AppKey("LOGBOOK", Logbook)


async def runner(settings: Settings | None = None) -> Runner:
    """Return the runner of the whole server; gunicorn's aiohttp worker calls it as `predictor.app:runner`."""
    if settings is None:  # a worker of gunicorn
        console.setup()
        settings = load_settings()
    app = application(settings, load(settings.model), resource())
    # What is there now stays: not looking at it again at each collection saves 5 to 10 µs a request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    return Runner(app, idle=settings.idle, drain=settings.drain)


def application(settings: Settings, model: Model, resource: Resource) -> web.Application:
    """Return the application; its start-up opens the log (raises OSError), its clean-up closes it."""

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        # Each part needs those before it; they end in reverse order.
        logbook = None
        if settings.log == "on":
            logbook = app[LOGBOOK] = Logbook(settings, resource)
            await logbook.open()
        health = app[HEALTH] = Health(logbook, refuses=settings.refuses)
        tracing = Tracing(resource, logbook.spans if logbook else None)
        log = _prediction_log(settings, model, logbook) if logbook else None
        display = _display(settings, model)
        pipeline = Pipeline(
            model,
            log,
            tracing,
            batch_rows=settings.batch_rows,
            threads=settings.threads or len(os.sched_getaffinity(0)),
            queue_rows=settings.queue_rows,
            slow=settings.slow,
            display=display,
        )
        app[PIPELINES] = {model.description.name: pipeline}
        metrics = _metrics(resource, logbook) if settings.export.metrics and logbook else None
        surroundings = Surroundings(tracing, settings.deadline, metrics.request if metrics else None)
        refused = _refused(log, display) if log else None
        limits = {"batch_rows": settings.batch_rows, "body_bytes": settings.body_bytes}
        predictions = Predictions(pipeline, **limits)
        feedback = _feedback(settings, model, log, pipeline) if settings.feedback and log else None
        add_routes(app, predictions, model, health, surroundings, refused, feedback)
        app[EXPRESS] = Express(pipeline, surroundings, refused, **limits)
        yield
        await pipeline.close()
        if logbook:
            await logbook.close()
        if metrics:
            await metrics.shutdown(settings.flush)

    async def drain(app: web.Application) -> None:
        app[HEALTH].terminating = True  # gunicorn's workers come here without a signal of ours
        for pipeline in app[PIPELINES].values():
            pipeline.draining = True

    app = web.Application(client_max_size=settings.body_bytes)
    app.cleanup_ctx.append(lifetime)
    app.on_shutdown.append(drain)
    return app


def resource() -> Resource:
    """Return what the environment says of this process, else the SDK's words, else ours."""
    attributes = dict(Resource.create().attributes)
    if str(attributes["service.name"]).startswith("unknown_service"):
        attributes["service.name"] = "predictor"
    return Resource({"service.version": __version__} | attributes)


def _prediction_log(settings: Settings, model: Model, logbook: Logbook) -> PredictionLog:
    about = model.description
    redaction = redaction_of(about, settings.hash_key_file)
    scope = {
        "prediction.model.name": about.name,
        "prediction.model.version": about.version,
        "prediction.model.digest": model.digest,
    }
    if redaction:
        scope["prediction.redaction"] = redacted(about)
    return PredictionLog(
        record.schema_of(about, redaction),
        scope,
        logbook.stream,
        logbook.outbox,
        logbook.refusals,
        refuses=settings.refuses,
        waits=settings.outbox_fsync == "batch",
    )


def _feedback(settings: Settings, model: Model, log: PredictionLog, pipeline: Pipeline) -> FeedbackCall:
    write = FeedbackLog(log, pipeline.admit).write
    labels = model.description.labels
    return FeedbackCall(write, labels, token=settings.feedback_token, limit=settings.feedback_bytes)


def _display(settings: Settings, model: Model) -> Callable[[Prediction], None] | None:
    """Return what shows each prediction on stderr, if anybody is there to read it."""
    if settings.display == "off" or (settings.display == "auto" and not sys.stderr.isatty()):
        return None
    schema = record.schema_of(model.description)
    return lambda prediction: console.show(record.body(schema, prediction))


def _refused(log: PredictionLog, display: Callable[[Prediction], None] | None) -> Callable[[Origin, Kind], None]:
    """Return what records, and shows, a request that was refused before its rows were known."""

    def refused(origin: Origin, error: Kind) -> None:
        refusal = log.refused(origin, error)
        if refusal and display:
            display(refusal)

    return refused


def _metrics(resource: Resource, book: Logbook) -> Metrics:
    from predictor.metrics import Instrument, Metrics  # noqa: PLC0415 - the exporter takes long to import

    logs = book.counters["logs"]
    return Metrics(
        resource,
        __version__,
        (
            Instrument(
                "predictor.outbox.size", "By", "Bytes under the outbox.", lambda: book.usage.used, rises_only=False
            ),
            Instrument("predictor.outbox.backlog", "By", "Bytes not shipped.", book.backlog_bytes, rises_only=False),
            Instrument(
                "predictor.outbox.age", "s", "Age of the oldest unshipped record.", book.backlog_age, rises_only=False
            ),
            Instrument("predictor.log.records", "{record}", "Records of the stream.", lambda: book.stream.sequence),
            Instrument("predictor.log.shipped", "{record}", "Records accepted by the sink.", lambda: logs.shipped),
            Instrument("predictor.log.retried", "{request}", "Requests in vain.", lambda: logs.retried),
            Instrument("predictor.log.refused", "{record}", "Records refused by the sink.", lambda: logs.refused),
            Instrument("predictor.log.lost", "{record}", "Records declared lost.", lambda: book.stream.lost),
        ),
    )
