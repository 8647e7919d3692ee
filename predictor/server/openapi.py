"""Puts the calls of a server together with their description; `predictor openapi` prints that.

The command has the same parts as a server, but no socket and no log.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec

from predictor.api.openapi.conditions import Conditions
from predictor.api.openapi.description import Description
from predictor.api.pattern.feedback import feedback_calls
from predictor.api.routes import routes
from predictor.server.callers import Callers
from predictor.server.health import Health
from predictor.server.model_loading import load_models
from predictor.server.model_service import ModelService
from predictor.server.model_versions import VersionMaker
from predictor.server.otel_resource import resource
from predictor.server.pages import shows_page
from predictor.tracing.tracer import Tracer

if TYPE_CHECKING:
    from predictor.api.access import Access
    from predictor.config.settings import Settings


def described_calls(
    settings: Settings, access: Access, health: Health, service: ModelService, *, shared_port: bool = False
) -> Description:
    """Return the description of a server's calls, which has the table of them; both doors answer by that."""
    catalog = service.catalog
    logs = settings.log == "on"
    conditions = Conditions(
        token=access.tokens is not None,
        feedback_token=access.feedback_tokens is not None,
        control_token=access.control_tokens is not None,
        checks_hosts=access.checks_hosts,
        logs=logs,
        outbox_refuses=settings.refuses,
        limits_rows=bool(settings.rows_per_second),
        shared_port=shared_port,
        page=shows_page(settings),
    )
    description = Description(catalog, conditions)
    feedback = feedback_calls(catalog, limit=settings.feedback_bytes) if settings.feedback and logs else ()
    description.routes = routes(catalog, health, service, description.answer, feedback=feedback)
    return description


def print_document(settings: Settings) -> int:
    """Print the document to stdout and return 0; raises what keeps a server from starting."""
    document = asyncio.run(_document(settings))
    sys.stdout.buffer.write(msgspec.json.format(document, indent=2) + b"\n")
    return 0


async def _document(settings: Settings) -> bytes:
    models = load_models(settings)
    callers = Callers(settings)
    maker = VersionMaker(settings, None, Tracer(resource(), None, settings.semconv))
    service = ModelService(settings, maker, models)
    try:
        health = Health(None, service.catalog, refuses=settings.refuses, deadline=settings.deadline)
        return b"".join(described_calls(settings, callers.access, health, service).answer().buffers)
    finally:
        await service.close()
