"""The table of calls: method, path and meaning, for both doors of HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from predictor.api.answers import Answer, json_answer
from predictor.api.codecs import CALLS
from predictor.api.pattern.metadata import models
from predictor.api.v2 import metadata as v2
from predictor.api.v2.repository import RepositoryCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from predictor.api.catalog import Catalog
    from predictor.api.dataplane import CallKey
    from predictor.api.pattern.feedback import FeedbackCall
    from predictor.api.v2.repository import Repository


class Predict(NamedTuple):
    """A call that predicts: logged, traced, answered through the data plane."""

    call: CallKey
    """By which a model version has its codec; one that has none knows no such call."""


class Document(NamedTuple):
    """A call that only tells something; has ids and may be traced."""

    answer: Callable[[], Answer]


class ModelDocument(NamedTuple):
    """The same of a model, and perhaps a version, that the path names; the answer raises Problem if it is not there."""

    answer: Callable[[str | None, str | None], Answer]


class Probe(NamedTuple):
    """A call without ids and traces: probes come often and mean nothing."""

    answer: Callable[[], Answer]


class FeedbackMeaning(NamedTuple):
    """The call that takes what a prediction truly was."""

    call: FeedbackCall


class Control(NamedTuple):
    """A call that changes what is served, or tells what could be: it wants a token of its own."""

    answer: Callable[[str, bytes], Awaitable[Answer]]
    """Takes the model that the path names, if it does, and the body; raises Problem."""


class Route(NamedTuple):
    """One call; a GET that does not predict also answers HEAD."""

    method: str
    path: str
    """`{model}` and `{version}` in it are those that the call means; without them it means the default model."""
    meaning: Predict | Document | ModelDocument | Probe | FeedbackMeaning | Control


def paths_of(route: Route) -> tuple[str, str]:
    """Return the paths at which a call is answered: its own, and that with a slash behind it."""
    return route.path, f"{route.path}/"


class HealthSource(Protocol):
    """What the probes ask."""

    def unready(self) -> str | None:
        """Return why no traffic should come, or None."""

    def details(self) -> dict[str, object]:
        """Return what an operator would ask next."""


class Match(NamedTuple):
    """A call that predicts, as a request asks for it."""

    route: str
    call: CallKey
    model: str | None = None
    version: str | None = None


class PredictingCalls:
    """Finds the call that predicts at a path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Take the table of calls."""
        self._exact: dict[tuple[str, str], Match] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Match]] = []
        for route in routes:
            if not isinstance(route.meaning, Predict):
                continue
            match = Match(route.path, route.meaning.call)
            for path in paths_of(route):
                if "{" in path:
                    # What a path has escaped is aiohttp's to read.
                    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[A-Za-z0-9._~-]+)", re.escape(path))
                    self._patterns.append((route.method, re.compile(pattern), match))
                else:
                    self._exact[route.method, path] = match

    def find(self, method: str, path: str) -> Match | None:
        """Return the call at a path as it was asked for; None if it is none that predicts, or has a query."""
        if exact := self._exact.get((method, path)):
            return exact
        for its_method, pattern, match in self._patterns:
            if its_method == method and (found := pattern.fullmatch(path)):
                names = found.groupdict()
                return match._replace(model=names.get("model"), version=names.get("version"))
        return None


def routes(
    catalog: Catalog,
    health: HealthSource,
    repository: Repository,
    openapi: Callable[[], Answer],
    *,
    feedback: Sequence[FeedbackCall] = (),
) -> tuple[Route, ...]:
    """Return every call of a server, but those of the page; `openapi` describes all of them."""
    return (
        *(Route(method, path, Predict((method, path))) for method, path in CALLS),
        *(Route("POST", each.path, FeedbackMeaning(each)) for each in feedback),
        Route("GET", "/metadata", Document(lambda: _metadata(catalog))),
        Route("GET", "/label", Document(lambda: json_answer(catalog.meant().facts.labels))),
        Route("GET", "/openapi.json", Document(openapi)),
        Route("GET", "/health", Probe(_constant({"health": "ok"}))),
        Route("GET", "/livez", Probe(_constant({"live": True}))),
        Route("GET", "/readyz", Probe(lambda: _readiness(health))),
        *_inference_protocol(catalog, health, repository),
    )


def _inference_protocol(catalog: Catalog, health: HealthSource, repository: Repository) -> tuple[Route, ...]:
    """Return what the protocols of KServe, Triton and MLServer have beside the calls that predict."""
    told, calls = v2.ModelDocuments(catalog, health.unready), RepositoryCalls(repository)
    return (
        Route("GET", "/v2", Document(v2.server)),
        Route("GET", "/v2/health/live", Probe(_constant({"live": True}))),
        Route("GET", "/v2/health/ready", Probe(told.ready)),
        Route("GET", "/v2/models", Document(told.names)),
        Route("GET", "/v2/models/{model}", ModelDocument(told.metadata)),
        Route("GET", "/v2/models/{model}/versions/{version}", ModelDocument(told.metadata)),
        Route("GET", "/v2/models/{model}/ready", ModelDocument(told.model_ready)),
        Route("GET", "/v2/models/{model}/versions/{version}/ready", ModelDocument(told.model_ready)),
        Route("POST", "/v2/repository/index", Control(calls.index)),
        Route("POST", "/v2/repository/models/{model}/load", Control(calls.load)),
        Route("POST", "/v2/repository/models/{model}/unload", Control(calls.unload)),
        Route("GET", "/v1/models", Document(told.names)),
        Route("GET", "/v1/models/{model}", ModelDocument(told.model_ready)),
    )


def _metadata(catalog: Catalog) -> Answer:
    """Return what the default model takes and gives, and which models there are."""
    return json_answer({**catalog.meant().facts.metadata, "models": models(catalog)})


def _constant(value: object) -> Callable[[], Answer]:
    made = json_answer(value)
    return lambda: Answer(made.status, [*made.headers], made.buffers)


def _readiness(health: HealthSource) -> Answer:
    reason = health.unready()
    return json_answer({"ready": reason is None, "reason": reason} | health.details(), 503 if reason else 200)
