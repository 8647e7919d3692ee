"""The model versions that are served, and which one a request means.

A request belongs to the version that admits it, from its validation to its record. A version that is replaced ends with
its last answer; what still waits for its body, or in a coroutine, holds it until then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from predictor.api.openapi.model_calls import ModelCalls
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from predictor.api.dataplane import CallKey, Codec
    from predictor.api.protobuf.infer import InferMessages
    from predictor.core.result import Feedback, Origin
    from predictor.inference.manifest import Manifest
    from predictor.serving.pipeline import Pipeline

    RecordRefusal = Callable[[Origin, Kind], None]
    WriteFeedback = Callable[[Feedback], Awaitable[bool]]

_NAMED = 8
"""Names in a sentence."""
_CHARACTERS = 100
"""Of a caller's name that an answer repeats."""
_RETRY_AFTER = 5
"""Seconds; somebody has to put a model there first."""


class VersionFacts(NamedTuple):
    """What callers learn about a version."""

    description: Manifest
    digest: str
    metadata: Mapping[str, object]
    """As `GET /metadata` answers it."""
    labels: Mapping[str, str]
    """As `GET /label` answers it."""
    tensors: Mapping[str, object]
    """What it takes and gives, as `GET /v2/models/{model}` answers it."""
    number: int | None = None
    """The version, where the layout of the files says it."""
    calls: ModelCalls = ModelCalls()
    """What it is asked and answers, as `GET /openapi.json` describes it."""


class ServedVersion:
    """One version of a model while it is served."""

    def __init__(
        self,
        facts: VersionFacts,
        pipeline: Pipeline,
        codecs: Mapping[CallKey, Codec],
        *,
        messages: InferMessages | None = None,
        refused: RecordRefusal | None = None,
        feedback: WriteFeedback | None = None,
    ) -> None:
        """Take its parts: `codecs` of the calls that it has; `refused` records requests whose rows were never known.

        `messages` is the codec of gRPC, where that is on.
        """
        self.facts = facts
        self.name = facts.description.name
        self.version = facts.description.version
        self.pipeline = pipeline
        self.codecs = codecs
        self.messages = messages
        self.refused = refused
        self.feedback = feedback
        self.held = 0
        """Requests that the pipeline does not know yet."""
        self._let_go = asyncio.Event()
        self._let_go.set()

    def __str__(self) -> str:
        """Return it as records have it: `iris@2`."""
        return f"{self.name}@{self.version}"

    def hold(self) -> None:
        """Keep it open for a request that the pipeline does not know yet."""
        self.held += 1
        self._let_go.clear()

    def release(self) -> None:
        """End one `hold`."""
        self.held -= 1
        if not self.held:
            self._let_go.set()

    async def retire(self) -> None:
        """Wait for the last answer, then close; the catalog must not have it any more."""
        await self._let_go.wait()
        await self.pipeline.quiet()
        await self.pipeline.close()


class Catalog:
    """Which version a name means; used on the event loop only."""

    def __init__(self, default: str | None = None, versions: Mapping[str, str] | None = None) -> None:
        """Serve nothing yet.

        `default` names the model of the calls that name none, otherwise it is the first one; `versions` has the version
        of calls that name a model only, otherwise it is the highest one.
        """
        self._wanted = default
        self._pinned = versions or {}
        self._models: dict[str, dict[str, ServedVersion]] = {}
        self._default_name = default or ""
        self.default: ServedVersion | None = None
        """What the calls of the pattern mean."""
        self.missing: str | None = None
        """Why nothing is served, in a sentence."""
        self.changed: list[Callable[[], None]] = []
        """Called after each change."""

    def versions(self) -> list[ServedVersion]:
        """Return all versions by name, of each model the default one first."""
        return [version for versions in self._models.values() for version in versions.values()]

    def models(self) -> list[ServedVersion]:
        """Return one version of each model, by name: the default one, where that is served."""
        return [next(iter(versions.values())) for versions in self._models.values()]

    def pins(self, version: ServedVersion) -> bool:
        """Tell whether a setting names this version as the default one of its model."""
        return self._pinned.get(version.name) == version.version

    def find(self, model: str | None = None, version: str | None = None) -> ServedVersion | None:
        """Return what a request means that names so much; None if there is no such thing."""
        name = self._default_name if model is None else model
        versions = self._models.get(name)
        if versions is None:
            return None
        wanted = self._pinned.get(name) if version is None else version
        return next(iter(versions.values())) if wanted is None else versions.get(wanted)

    def meant(self) -> ServedVersion:
        """Return what the calls of the pattern mean; raises Problem if there is nothing."""
        if self.default is None:
            raise self.unknown(None, None)
        return self.default

    def unknown(self, model: str | None, version: str | None) -> Problem:
        """Return the problem of a request whose model is not there, which names what is."""
        name = self._default_name if model is None else model
        versions = self._models.get(name)
        kind = Kind.NO_MODEL
        retry_after: int | None = _RETRY_AFTER
        if not self._models:
            detail = f"no model is served{f': {self.missing}' if self.missing else ''}"
        elif versions is None and model is None:
            detail = f"{name} is not served (PREDICTOR_DEFAULT_MODEL), only {_listed([*self._models])}"
        elif versions is not None and version is None:
            wanted = f"{name}@{self._pinned.get(name)}"
            detail = f"{wanted} is not served (PREDICTOR_DEFAULT_VERSIONS), only {_listed([*versions])}"
        else:
            kind, retry_after = Kind.NOT_FOUND, None
            detail = f"there is no model {_shown(name)}, only {_listed([*self._models])}"
            if versions is not None:
                detail = f"{name} has no version {_shown(version or '')}, only {_listed([*versions])}"
        return Problem(kind, detail, retry_after=retry_after, recorded=True)

    def change(self, added: Iterable[ServedVersion] = (), removed: Iterable[ServedVersion] = ()) -> None:
        """Serve other versions from now on; what is removed must be retired by the caller."""
        left = [each for each in self.versions() if each not in {*removed}]
        models: dict[str, list[ServedVersion]] = {}
        for each in sorted([*left, *added], key=lambda each: each.name):
            models.setdefault(each.name, []).append(each)
        self._models = {
            name: {each.version: each for each in sorted(versions, key=self._rank, reverse=True)}
            for name, versions in models.items()
        }
        self._default_name = self._wanted or next(iter(self._models), "")
        self.default = self.find()
        for tell in self.changed:
            tell()

    def _rank(self, version: ServedVersion) -> tuple[bool, int, str]:
        number = version.facts.number
        return (self.pins(version), -1 if number is None else number, version.version)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f", … ({len(names)})" if len(names) > _NAMED else "")


def _shown(name: str) -> str:
    return repr(name[:_CHARACTERS])  # with whatever it holds escaped
