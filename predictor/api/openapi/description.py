"""`GET /openapi.json`: the whole document, made once for each set of models that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from predictor import __version__
from predictor.api.answers import Answer, json_answer
from predictor.api.openapi import operations, page, v2_messages
from predictor.api.openapi.documents import shared_schemas
from predictor.api.openapi.model_calls import MESSAGES
from predictor.api.openapi.responses import ELSEWHERE, HEADERS, problem_responses
from predictor.api.routes import FeedbackMeaning, Predict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from predictor.api.catalog import Catalog, ServedVersion
    from predictor.api.openapi.conditions import Conditions
    from predictor.api.openapi.values import Schema
    from predictor.api.routes import Route

_ABOUT = """\
Predictions, each of which is logged before it is answered.

HEAD works where GET does not predict; a trailing slash in the path makes no difference. Bodies may be compressed
with gzip or deflate. Another method at a path is answered with 405 and `Allow`, another path with 404.
Numbers in answers are the model's own, unrounded."""
_TAGS = {
    "pattern": "The prediction log pattern: these calls mean the default model",
    "feedback": "What predictions truly were",
    "health": "Probes",
    "v2": "The Open Inference Protocol",
    "v1": "KServe's protocol, version 1",
    "repository": "The model repository extension: which models are served",
    "page": "The page",
}
_TOKENS = {
    "predictions": ("token", "A token of PREDICTOR_TOKEN_FILE"),
    "feedback": ("feedback_token", "A token for feedback"),
    "control": ("control_token", "A token of PREDICTOR_CONTROL_TOKEN_FILE"),
}


class Description:
    """Describes the calls of one server."""

    def __init__(self, catalog: Catalog, conditions: Conditions) -> None:
        """Take the models, and what the settings change."""
        self._catalog = catalog
        self._conditions = conditions
        self._made: bytes | None = None
        self.routes: Sequence[Route] = ()
        """The table of calls, once it is there: this one belongs to it."""
        catalog.changed.append(self._forget)

    def answer(self) -> Answer:
        """Return the document, made at the first call after the models have changed."""
        if self._made is None:
            self._made = msgspec.json.encode(self.document())
        return json_answer(msgspec.Raw(self._made))

    def document(self) -> Schema:
        """Return the document of what is served now."""
        conditions, versions = self._conditions, self._catalog.versions()
        schemas = shared_schemas() | MESSAGES | v2_messages.SHARED
        for version in versions:
            schemas |= version.facts.calls.schemas
        tokens = {name: text for name, (field, text) in _TOKENS.items() if getattr(conditions, field)}
        components: Schema = {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "parameters": operations.PARAMETERS,
            "headers": HEADERS,
            "responses": {"MethodNotAllowed": problem_responses("/", ELSEWHERE)[str(ELSEWHERE[0].status)]},
        }
        if tokens:
            components["securitySchemes"] = {
                name: {"type": "http", "scheme": "bearer", "description": text} for name, text in tokens.items()
            }
        paths: dict[str, Schema] = {}
        for path, method, operation in self._operations():
            paths.setdefault(path, {})[method.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {"title": "prediction-log-server", "version": __version__, "description": _ABOUT},
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": paths,
            "components": components,
        }

    def _forget(self) -> None:
        self._made = None

    def _operations(self) -> Iterator[tuple[str, str, Schema]]:
        conditions = self._conditions
        default = self._catalog.default.facts if self._catalog.default else None
        facts = [version.facts for version in self._catalog.versions()]
        for route in self.routes:
            match route.meaning:
                case Predict():
                    yield from self._predicting(route)
                case FeedbackMeaning():
                    yield route.path, route.method, operations.feedback(route, facts, default, conditions)
                case _:
                    yield route.path, route.method, operations.telling(route, facts, default, conditions)
        if conditions.page:
            yield from page.operations(conditions)

    def _predicting(self, route: Route) -> Iterator[tuple[str, str, Schema]]:
        """Yield a call for each version that has it: the pattern's are the default model's."""
        assert isinstance(route.meaning, Predict)  # noqa: S101 - tells mypy: asked before
        for version in self._meant(route):
            call = version.facts.calls.calls.get(route.meaning.call)
            if call:
                path, tag = _path(route.path, version), _tag(route.path)
                yield path, route.method, operations.predicting(route, path, call, tag, self._conditions)

    def _meant(self, route: Route) -> list[ServedVersion]:
        if "{version}" in route.path:
            return self._catalog.versions()
        if "{model}" in route.path:
            return self._catalog.models()
        return [self._catalog.default] if self._catalog.default else []


def _path(path: str, version: ServedVersion) -> str:
    return path.replace("{model}", quote(version.name, safe="")).replace("{version}", quote(version.version, safe=""))


def _tag(path: str) -> str:
    return next((tag for tag in ("v1", "v2") if path.startswith(f"/{tag}/")), "pattern")
