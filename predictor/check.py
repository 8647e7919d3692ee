"""`predictor check`: tries what the server needs, says what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.console import show
from predictor.inference.model import load
from predictor.redaction import redaction_of
from predictor.shipping.delivery import Accepted, Delivery, Refused
from predictor.shipping.endpoint import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.otlp_settings import Target
    from predictor.outbox.segments import Signal
    from predictor.settings import Settings

_REMEDIES = {
    "model": " (PREDICTOR_MODEL names the folder)",
    "outbox": " (PREDICTOR_OUTBOX names the folder)",
}


def check(settings: Settings) -> int:
    """Return 0 if everything works, 1 otherwise; each finding is one line on stderr."""
    findings = [_found("model", lambda: _model(settings)), _found("outbox", lambda: _outbox(settings))]
    targets: tuple[tuple[Signal, Target | None], ...] = (
        ("logs", settings.export.logs),
        ("traces", settings.export.traces),
    )
    for signal, target in targets:
        findings.append(_found(signal, lambda signal=signal, target=target: _reach(signal, target)))  # type: ignore[misc]
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


def _model(settings: Settings) -> str:
    model = load(settings.model)
    about = model.description
    redaction_of(about, settings.hash_key_file)
    return f"{about.name}@{about.version} with {len(about.features)} features and {len(about.labels)} labels runs"


def _outbox(settings: Settings) -> str:
    root = settings.outbox
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def _reach(signal: Signal, target: Target | None) -> str:
    if target is None:
        return "not shipped (no endpoint)"
    return asyncio.run(_post_nothing(signal, target))


async def _post_nothing(signal: Signal, target: Target) -> str:
    """Post a request without items, which every receiver of OTLP takes."""
    where = endpoint(target)
    delivery = Delivery(where)
    try:
        outcome = await delivery.post(otlp.merge(signal, [otlp.line(otlp.head(signal, {}, {}), [])]))
    finally:
        await delivery.close()
    if isinstance(outcome, Accepted):
        return f"{where.shown} answers"
    reason = f"{outcome.status} {outcome.words}" if isinstance(outcome, Refused) else outcome.reason
    msg = f"{where.shown}: {reason}; wanted a Collector with an otlp receiver (http) and a {signal} pipeline"
    raise ValueError(msg)
