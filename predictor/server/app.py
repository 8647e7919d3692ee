"""The composition root: builds every part from the settings and owns their lifetimes."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from predictor import __version__
from predictor.api.dataplane import DataPlane
from predictor.api.openapi.description import Description
from predictor.config.settings import load as load_settings
from predictor.core import heap, memory_limit, operator_log, thread_pools
from predictor.core.memory_budget import MemoryBudget
from predictor.http.fast_lane import FastLane
from predictor.http.handlers import ACCESS, IN_FLIGHT, MEMORY, SERVER, InFlight, add_routes, outermost
from predictor.http.limits import most_connections
from predictor.http.request_head import HeadReader
from predictor.http.responses import name_server
from predictor.http.runner import LANE, ServerRunner
from predictor.recording.signatures import FileSigner
from predictor.server.callers import Callers
from predictor.server.health import Health
from predictor.server.log_service import LogService
from predictor.server.model_loading import load_models, load_models_that_load
from predictor.server.model_service import ModelService
from predictor.server.model_versions import VersionMaker, body_bytes
from predictor.server.openapi import described_calls
from predictor.server.otel_resource import resource
from predictor.server.pages import Pages, shows_page
from predictor.tracing.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from opentelemetry.sdk.resources import Resource

    from predictor.api.catalog import Catalog
    from predictor.config.settings import Settings
    from predictor.server.grpc_door import GrpcDoor
    from predictor.server.metrics import Metrics
    from predictor.server.model_loading import LoadedModels
    from predictor.server.scrape_port import ScrapePort

DESCRIPTION = web.AppKey("DESCRIPTION", Description)
HEALTH = web.AppKey("HEALTH", Health)
MODELS = web.AppKey("MODELS", ModelService)
PLANE = web.AppKey("PLANE", DataPlane)
LOG_SERVICE = web.AppKey("LOG_SERVICE", LogService)
PAGES = web.AppKey("PAGES", Pages)
CALLERS = web.AppKey("CALLERS", Callers)
SCRAPED: web.AppKey[ScrapePort] = web.AppKey("SCRAPED")
GRPC: web.AppKey[GrpcDoor] = web.AppKey("GRPC")
_TURNS = 3
"""Of the loop, from the reading of a request to the call of its handler."""


def reload(app: web.Application) -> None:
    """Take tokens, certificate and models as they lie in their files now; says what cannot be taken."""
    app[CALLERS].renew()
    if models := app.get(MODELS):
        models.request_reload()


async def runner(settings: Settings | None = None) -> ServerRunner:
    """Return the runner of the whole server; gunicorn's aiohttp worker calls it as `predictor.app:runner`."""
    several = settings is None  # a worker of gunicorn
    if settings is None:
        operator_log.setup()
        settings = load_settings()
        if settings.tls_certificate:
            msg = "PREDICTOR_TLS_CERTIFICATE is set, wanted gunicorn's own --certfile and --keyfile"
            raise ValueError(msg)
        if settings.export.scrape:
            msg = (
                "OTEL_METRICS_EXPORTER is 'prometheus', wanted otlp or none under gunicorn: "
                "a scrape would reach one of several processes that share the port, by chance"
            )
            raise ValueError(msg)
    grpc_hosts = settings.hosts
    if several:
        settings = replace(settings, host="0.0.0.0")  # noqa: S104 - where gunicorn listens is not known here
    models = load_models_that_load(settings) if several else load_models(settings)
    for note in (*models.notes, *settings.export.ignored):
        operator_log.say(note)
    app = application(settings, models, resource(), shared_port=several, grpc_hosts=grpc_hosts)
    # What is there now stays: not looking at it again at each collection saves 5 to 10 µs a request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    heap.give_back()  # what the models' trials took
    if not settings.sets_malloc:
        heap.keep()
    connections = settings.connections if settings.grpc_port is None else most_connections(settings.connections, 2)
    return ServerRunner(app, idle=settings.idle, drain=settings.drain, connections=connections)


def application(
    settings: Settings,
    models: LoadedModels,
    resource: Resource,
    *,
    shared_port: bool = False,
    grpc_hosts: Sequence[str] = (),
) -> web.Application:
    """Return the application; its start-up opens the log (raises OSError), its clean-up closes it.

    Raises ValueError before any of that: a start that is refused must leave no stream behind.
    With `shared_port` a call reaches one of several processes. gRPC listens at `grpc_hosts`, without them at HTTP's.
    """
    callers, largest, signer = Callers(settings), _largest_body(settings, models), _signer(settings)
    memory = MemoryBudget(max(settings.buffered_bytes or memory_limit.usable() // 8, 2 * largest))
    start = [models]
    del models  # a closure would hold them for ever

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        # Each part needs those before it; they end in reverse order.
        blocking = await thread_pools.prepare()
        log_service = None
        if settings.log == "on":
            log_service = app[LOG_SERVICE] = LogService(settings, resource, signer)
            await log_service.open()
        tracer = Tracer(resource, log_service.spans if log_service else None, settings.semconv)
        pages = Pages(settings, log_service.stream.stream_id if log_service else None) if shows_page(settings) else None
        maker = VersionMaker(settings, log_service, tracer, pages.watch if pages else None)
        service = app[MODELS] = ModelService(settings, maker, start.pop(), shared_port=shared_port)
        catalog = service.catalog
        if pages:
            app[PAGES] = pages
            pages.of(catalog).add_routes(app.router)
        health = app[HEALTH] = Health(log_service, catalog, refuses=settings.refuses, deadline=settings.deadline)
        plane = app[PLANE] = DataPlane(tracer, deadline=settings.deadline)
        if pages:
            pages.show_state(health, plane.refusals, log_service)
        metrics = _metrics(app, settings, resource, log_service, catalog)
        calls = app[DESCRIPTION] = described_calls(settings, app[ACCESS], health, service, shared_port=shared_port)
        # Last: it also answers the rest.
        add_routes(app.router, plane, catalog, calls.routes, app[ACCESS], memory)
        if settings.fast_lane == "on":
            heads = HeadReader(calls.routes, catalog, tracer.fields, app[ACCESS])
            callers.renewed.append(heads.forget)
            catalog.changed.append(heads.forget)
            app[LANE] = FastLane(plane, heads)
        service.poll(settings.model_poll)
        yield
        await service.close()
        if log_service:
            await _flush(log_service, metrics, settings.flush)
        blocking.shutdown(wait=False)

    async def drain(app: web.Application) -> None:
        app[HEALTH].terminating = True  # gunicorn's workers come here without a signal of ours
        for _ in range(_TURNS):  # what was read before the connections were told must not be refused
            await asyncio.sleep(0)
        app[MODELS].drain()
        if pages := app.get(PAGES):
            pages.close()

    app = web.Application(middlewares=[outermost])
    app[IN_FLIGHT], app[SERVER], app[MEMORY] = InFlight(), [], memory
    app[ACCESS], app[CALLERS] = callers.access, callers
    app.cleanup_ctx.extend((_scraped(settings), lifetime))
    app.on_shutdown.append(drain)
    _serve_grpc(app, settings, grpc_hosts or settings.hosts, largest, shared_port=shared_port)
    app.on_response_prepare.append(name_server)
    return app


def _signer(settings: Settings) -> FileSigner | None:
    """Return what signs the log, None without a key; raises SigningKeyError."""
    return FileSigner(settings.signing_key_file) if settings.signing_key_file else None


def _largest_body(settings: Settings, models: LoadedModels) -> int:
    """Return how large a body may be: the budget of all bodies is never less than two of the largest."""
    return max((body_bytes(each.model, settings) for each in models.versions), default=0)


async def _flush(log_service: LogService, metrics: Metrics | None, seconds: float) -> None:
    """End the stream, then ship its rest and the last metrics at once: either may take all the seconds."""
    await log_service.end_stream()
    ends = [log_service.close(), *([metrics.shutdown(seconds)] if metrics else [])]
    for error in await asyncio.gather(*ends, return_exceptions=True):
        if error:
            raise error


def _scraped(settings: Settings) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what opens the port for scrapes, if it is wanted, and closes it."""

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        # Before the log is opened, since the port may be taken; until the log is closed, so that its end can be seen.
        if settings.export.scrape is None or settings.log == "off":
            yield
            return
        from predictor.server.scrape_port import ScrapePort  # noqa: PLC0415 - the extra may not be installed

        port = app[SCRAPED] = ScrapePort()
        await port.open(settings.export.scrape)
        yield
        await port.close()

    return lifetime


def _serve_grpc(
    app: web.Application, settings: Settings, hosts: Sequence[str], largest: int, *, shared_port: bool
) -> None:
    """Have calls by gRPC answered, if they are wanted, from the parts that HTTP's calls are answered from."""
    if settings.grpc_port is None:
        return
    from predictor.server import grpc_door  # noqa: PLC0415 - the extra may not be installed

    async def port(app: web.Application) -> AsyncIterator[None]:
        certificate = app[CALLERS].certificate
        app[GRPC] = grpc_door.listen(settings, hosts, certificate, largest, shared_port=shared_port)
        yield

    async def calls(app: web.Application) -> AsyncIterator[None]:
        await app[GRPC].start(app[PLANE], app[MODELS], app[ACCESS], app[MEMORY], app[HEALTH].unready)
        yield
        await app[GRPC].ended()

    async def leave(app: web.Application) -> None:
        await app[GRPC].leave(settings.drain)

    app.cleanup_ctx.insert(0, port)  # before the log is opened, since it may be taken
    app.cleanup_ctx.append(calls)
    app.on_shutdown.insert(0, leave)  # before the models refuse what has come


def _metrics(
    app: web.Application, settings: Settings, resource: Resource, book: LogService | None, catalog: Catalog
) -> Metrics | None:
    """Have everything measured, if metrics are wanted."""
    scrape = app.get(SCRAPED)
    if book is None or not (settings.export.metrics or scrape):
        return None
    from predictor.server.metrics import Metrics, exporter, instruments  # noqa: PLC0415 - takes long to import

    plane = app[PLANE]
    with thread_pools.needed():
        reader = scrape.reader if scrape else exporter()
        metrics = Metrics(reader, resource, __version__, instruments(book, catalog, plane.refusals))
    plane.measure, plane.measure_call = metrics.request, metrics.call
    return metrics
