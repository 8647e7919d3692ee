"""`predictor check`: tries what the server needs, reports what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.core.operator_log import show
from predictor.inference.repository import find
from predictor.inference.runtime_errors import ModelError
from predictor.outbox.modes import make_folder
from predictor.recording.record_schema import CHECK_EVENT
from predictor.recording.signatures import FileSigner
from predictor.server import check_record
from predictor.server.callers import Callers
from predictor.server.model_loading import load_version, namesake, wrong_defaults
from predictor.server.otel_resource import ResourceError, resource
from predictor.shipping.otlp_http import Accepted, Delivery, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.config.otel_env import Endpoint
    from predictor.config.settings import Settings
    from predictor.inference.repository import Source
    from predictor.outbox.layout import Signal
    from predictor.server.check_record import Check
    from predictor.server.model_loading import Loaded

_REMEDIES = {
    "model": " (PREDICTOR_MODEL names the folder)",
    "outbox": " (PREDICTOR_OUTBOX names the folder)",
}
_LONGEST = 20.0
"""Seconds for one sink: a person waits, whatever OTEL_EXPORTER_OTLP_TIMEOUT allows a server."""
_THINGS: dict[Signal, str] = {"logs": "record", "traces": "span"}


def check(settings: Settings) -> int:
    """Return 0 if everything works, 1 otherwise; each finding is one line on stderr."""
    findings = [
        *_models(settings),
        _found("outbox", lambda: _outbox(settings)),
        _found("resource", _resource),
    ]
    if any((settings.token_file, settings.feedback_token_file, settings.control_token_file, settings.tls_certificate)):
        findings.append(_found("callers", lambda: _callers(settings)))
    if key := settings.signing_key_file:
        findings.append(_found("signing key", lambda: f"checkpoints are signed by {FileSigner(key).key_id}"))
    targets: tuple[tuple[Signal, Endpoint | None], ...] = (
        ("logs", settings.export.logs),
        ("traces", settings.export.traces),
    )
    ask = partial(_ask, check_record.new(), traced=settings.export.traces is not None)
    findings += [
        _found(signal, partial(ask, signal, target, off=signal in settings.export.off)) for signal, target in targets
    ]
    for sentence in settings.export.ignored:
        show(f"note    environment: {sentence}")
    return 0 if all(findings) else 1


def _found(what: str, look: Callable[[], str]) -> bool:
    try:
        show(f"ok      {what}: {look()}")
    except (OSError, ValueError) as error:
        reason = str(error).removesuffix(".")
        if isinstance(error, OSError) and error.strerror:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        show(f"WRONG   {what}: {reason}{_REMEDIES.get(what, '')}")
        return False
    return True


def _models(settings: Settings) -> list[bool]:
    """Report on each version that lies at PREDICTOR_MODEL: here a broken one is wrong, whatever is beside it."""
    try:
        found = find(settings.model)
    except ModelError as error:
        return [_found("model", partial(_raise, error))]
    for note in found.notes:
        show(f"note    model: {note}")
    loaded: list[Loaded] = []
    results = [_found("model", partial(_model, source, settings, loaded)) for source in found.sources]
    return [*results, *(_found("model", partial(_raise, error)) for error in wrong_defaults(settings, loaded))]


def _raise(error: Exception) -> str:
    raise error


def _model(source: Source, settings: Settings, before: list[Loaded]) -> str:
    loaded = load_version(source, settings)
    if sentence := namesake(loaded, [(each.source, each.facts) for each in before]):
        raise ModelError(sentence)
    before.append(loaded)
    model, about = loaded.model, loaded.model.description
    notes = "".join(f"; {note}" for note in model.notes)
    given = f"{len(about.labels)} labels" if about.labels else f"{len(about.values) or 'no'} values"
    if about.threshold is not None:
        given += f", {about.labels[1]} from a probability of {about.threshold:g} on,"
    if model.tensors:
        inputs, outputs = len(model.signature.inputs), len(model.own_outputs)
        return f"{about.name}@{about.version} with {inputs} inputs and {outputs} outputs of tensors runs{notes}"
    return f"{about.name}@{about.version} with {len(about.features)} features and {given} runs{notes}"


def _outbox(settings: Settings) -> str:
    root = settings.outbox
    make_folder(root, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    bound = settings.outbox_bytes if settings.export.logs else settings.keep_bytes
    if free < bound:
        msg = (
            f"{root} has {free >> 20} MiB free, less than its bound of {bound >> 20} MiB; make room "
            f"or lower {'PREDICTOR_OUTBOX_BYTES' if settings.export.logs else 'PREDICTOR_KEEP_BYTES'}"
        )
        raise ValueError(msg)
    return f"{root.resolve()} can be written, {free >> 20} MiB free"


def _callers(settings: Settings) -> str:
    callers = Callers(settings)
    scheme = "HTTPS" if callers.certificate else "HTTP"
    return f"{scheme}, predictions {'with' if callers.access.tokens else 'without'} a token"


def _resource() -> str:
    about = resource().attributes
    return f"{about['service.name']!s}, with {len(about)} attributes"


def _ask(check: Check, signal: Signal, endpoint: Endpoint | None, *, traced: bool, off: bool) -> str:
    """Send a record or a span through the whole chain, as a server sends its own, and return what became of it.

    An empty request would prove nothing: a Collector answers 200 to it without asking the sink behind it.
    Raises ValueError, or OSError for certificates that cannot be read.
    """
    if endpoint is None:
        return f"not shipped ({f'OTEL_{signal.upper()}_EXPORTER=none' if off else 'no endpoint'})"
    try:
        here = resource()
    except ResourceError:
        msg = "not tried, since the resource is refused"
        raise ValueError(msg) from None
    own = here.merge(type(here)({"service.instance.id": check.instance_id}))
    line = check_record.line(signal, check, otlp.resource_json(own), traced=traced)
    return asyncio.run(_post(signal, endpoint, line, f"{CHECK_EVENT}, trace id {check.trace_id}"))


async def _post(signal: Signal, endpoint: Endpoint, line: bytes, name: str) -> str:
    delivery = Delivery(replace(endpoint, timeout=min(endpoint.timeout, _LONGEST)))
    try:
        outcome = await delivery.post(line)
    finally:
        await delivery.close()
    match outcome:
        case Accepted():
            return f"{endpoint.shown}{endpoint.way} has accepted a {_THINGS[signal]} ({name})"
        case Refused():
            reason = f"{outcome.status} {outcome.words}"
        case _:
            reason = f"{outcome.reason} {outcome.words}"
    msg = (
        f"{endpoint.shown}: {reason.strip()}; wanted a Collector with an otlp receiver (http) and a {signal} pipeline "
        f"whose sink takes this {_THINGS[signal]}"
    )
    raise ValueError(msg)
