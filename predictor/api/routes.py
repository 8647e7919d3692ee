"""The table of calls: method, path and meaning, for both doors of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from predictor.api.answers import Answer, json_answer
from predictor.api.pattern.metadata import labels, metadata
from predictor.api.pattern.predict import codecs

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.api.pattern.feedback import FeedbackCall
    from predictor.api.pattern.predict import Codec
    from predictor.inference.model import Model


class Predict(NamedTuple):
    """A call that predicts: logged, traced, answered through the data plane."""

    codec: Codec


class Document(NamedTuple):
    """A call that only tells something; has ids and may be traced."""

    answer: Callable[[], Answer]


class Probe(NamedTuple):
    """A call without ids and traces: probes come often and mean nothing."""

    answer: Callable[[], Answer]


class FeedbackMeaning(NamedTuple):
    """The call that takes what a prediction truly was."""

    call: FeedbackCall


class Route(NamedTuple):
    """One call; a GET that does not predict also answers HEAD."""

    method: str
    path: str
    meaning: Predict | Document | Probe | FeedbackMeaning


def paths_of(route: Route) -> tuple[str, str]:
    """Return the paths at which a call is answered: its own, and that with a slash behind it."""
    return route.path, f"{route.path}/"


class HealthSource(Protocol):
    """What the probes ask."""

    def unready(self) -> str | None:
        """Return why no traffic should come, or None."""

    def details(self) -> dict[str, object]:
        """Return what an operator would ask next."""


def routes(
    model: Model, health: HealthSource, *, batch_rows: int, body_bytes: int, feedback: FeedbackCall | None = None
) -> tuple[Route, ...]:
    """Return every call of one model's server, but those of the page."""
    about = model.description
    predicting = codecs(about, batch_rows=batch_rows, body_bytes=body_bytes)
    return (
        *(Route(method, path, Predict(codec)) for (method, path), codec in predicting.items()),
        *((Route("POST", feedback.path, FeedbackMeaning(feedback)),) if feedback else ()),
        Route("GET", "/metadata", Document(_constant(metadata(model)))),
        Route("GET", "/label", Document(_constant(labels(model)))),
        Route("GET", "/health", Probe(_constant({"health": "ok"}))),
        Route("GET", "/livez", Probe(_constant({"live": True}))),
        Route("GET", "/readyz", Probe(lambda: _readiness(health))),
    )


def _constant(value: object) -> Callable[[], Answer]:
    status, headers, buffers = json_answer(value)
    return lambda: Answer(status, [*headers], buffers)


def _readiness(health: HealthSource) -> Answer:
    reason = health.unready()
    return json_answer({"ready": reason is None, "reason": reason} | health.details(), 503 if reason else 200)
