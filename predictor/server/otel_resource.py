"""The OpenTelemetry resource of the process, checked against the names that the record needs in Loki."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource

from predictor import __version__
from predictor.core import thread_pools
from predictor.recording.loki_names import stored, taken


class ResourceError(ValueError):
    """One sentence: which attribute, and why it stops the start."""


def resource() -> Resource:
    """Return what the environment says of this process, else the SDK's words, else ours; raises ResourceError."""
    with thread_pools.needed():  # the SDK has a thread for each of its detectors
        attributes = dict(Resource.create().attributes)
    for name in attributes:
        if taken(name):
            msg = (
                f"the resource has the attribute {name!r} (OTEL_RESOURCE_ATTRIBUTES), which Loki keeps as "
                f"{stored(name)!r}: it would hide what each record has under that name; wanted another name"
            )
            raise ResourceError(msg)
    if str(attributes["service.name"]).startswith("unknown_service"):
        attributes["service.name"] = "predictor"
    return Resource({"service.version": __version__} | attributes)
