"""Loads model versions: what is slow, may fail, and needs no event loop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from predictor.api.catalog import VersionFacts
from predictor.api.openapi.model_calls import model_calls
from predictor.api.pattern.metadata import labels, metadata
from predictor.api.v2.metadata import tensors
from predictor.inference.model import load
from predictor.inference.repository import Source, find
from predictor.inference.runtime_errors import ModelError
from predictor.recording.redaction import redaction_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from predictor.config.settings import Settings
    from predictor.inference.model import Model
    from predictor.inference.repository import Fingerprint
    from predictor.recording.redaction import Redaction

_logger = logging.getLogger("predictor.models")


class Loaded(NamedTuple):
    """A version that was loaded, held to its description, and run."""

    source: Source
    fingerprint: Fingerprint
    """Of its files before they were read."""
    model: Model
    redaction: Redaction | None
    facts: VersionFacts


class Failed(NamedTuple):
    """A version that cannot be served."""

    source: Source
    fingerprint: Fingerprint
    reason: str
    """One sentence."""


class LoadedModels(NamedTuple):
    """What a start has found."""

    versions: tuple[Loaded, ...]
    failures: tuple[Failed, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person should know of it, one sentence each."""


def load_version(source: Source, settings: Settings) -> Loaded:
    """Return a version; raises ValueError (ModelError, DescriptionError, RedactionError) with a sentence."""
    before = source.fingerprint()
    model = load(source.path, settings.batch_rows, name=source.name, version=source.version)
    if source.fingerprint() != before:  # what was read may be one file of before and one of after
        msg = f"{source} changed while it was read; wanted files that are put in place at once"
        raise ModelError(msg)
    return prepared(source, model, settings, before)


def prepared(source: Source, model: Model, settings: Settings, fingerprint: Fingerprint = ()) -> Loaded:
    """Return a model as a version to be served; raises RedactionError."""
    redaction = redaction_of(model.description, settings.hash_key_file)
    facts = VersionFacts(
        model.description,
        model.digest,
        metadata(model),
        labels(model),
        tensors(model),
        source.number,
        model_calls(model, settings.batch_rows),
    )
    return Loaded(source, fingerprint, model, redaction, facts)


def try_version(source: Source, settings: Settings) -> Loaded | Failed:
    """Return a version, or why it cannot be served."""
    fingerprint = source.fingerprint()
    try:
        return load_version(source, settings)
    except (ValueError, OSError) as error:
        return Failed(source, fingerprint, str(error).removesuffix("."))
    except Exception as error:  # no memory, a fault of ours or of the runtime: no reason to end what is served
        _logger.exception("%s cannot be loaded", source)
        return Failed(source, fingerprint, f"{source} cannot be loaded: {error!r}")


def load_models_that_load(settings: Settings) -> LoadedModels:
    """Return every version of PREDICTOR_MODEL that can be served, and what is wrong with the others; raises nothing.

    For a worker of gunicorn: one that ends while it boots ends the service, with the workers that serve well.
    """
    try:
        found = find(settings.model)
    except ModelError as error:
        return LoadedModels((), (Failed(Source(settings.model), (), str(error).removesuffix(".")),))
    versions: list[Loaded] = []
    failures: list[Failed] = []
    for source in found.sources:
        outcome = try_version(source, settings)
        if isinstance(outcome, Loaded) and (other := namesake(outcome, _known(versions))):
            outcome = Failed(source, outcome.fingerprint, other)
        if isinstance(outcome, Loaded):
            versions.append(outcome)
        else:
            failures.append(outcome)
    notes = (*found.notes, *(note for each in versions for note in each.model.notes))
    return LoadedModels(tuple(versions), tuple(failures), notes)


def load_models(settings: Settings) -> LoadedModels:
    """Return every version of PREDICTOR_MODEL; raises ValueError if a model has none that can be served.

    A model of which some version can be served is served: a start must not fail by what a running server refuses.
    """
    found = find(settings.model)
    tried = [try_version(source, settings) for source in found.sources]
    versions = [each for each in tried if isinstance(each, Loaded)]
    failures = [each for each in tried if isinstance(each, Failed)]
    served = {each.source.model for each in versions}
    for failure in failures:
        if failure.source.model not in served:
            raise ModelError(failure.reason)
    for at, each in enumerate(versions):
        if other := namesake(each, _known(versions[:at])):
            raise ModelError(other)
    if error := next(wrong_defaults(settings, versions, failures), None):
        raise error
    notes = (*found.notes, *(note for each in versions for note in each.model.notes))
    return LoadedModels(tuple(versions), tuple(failures), notes)


def namesake(version: Loaded, others: Iterable[tuple[Source, VersionFacts]]) -> str | None:
    """Return a sentence if another model has the name of this one."""
    name = version.facts.description.name
    for source, facts in others:
        if facts.description.name == name and source.model != version.source.model:
            places = f"{source.model} and {version.source.model}"
            return f"{places} are both called {name!r}; wanted a name for each model, and versions by number"
    return None


def _known(versions: Iterable[Loaded]) -> list[tuple[Source, VersionFacts]]:
    return [(each.source, each.facts) for each in versions]


def wrong_defaults(
    settings: Settings, versions: Iterable[Loaded], failures: Iterable[Failed] = ()
) -> Iterator[ValueError]:
    """Yield what says that PREDICTOR_DEFAULT_MODEL or PREDICTOR_DEFAULT_VERSIONS names nothing that can be served."""
    served = sorted({(each.facts.description.name, each.facts.description.version) for each in versions})
    names = sorted({name for name, _ in served})
    if settings.default_model and settings.default_model not in names:
        wanted = ", ".join(names) or "the models"
        yield ValueError(f"PREDICTOR_DEFAULT_MODEL is {settings.default_model!r}, wanted one of {wanted}")
    for name, version in settings.default_versions:
        if (name, version) in served:
            continue
        there = ", ".join(f"{each}@{number}" for each, number in served if each == name or name not in names)
        broken = [each.reason for each in failures if (each.source.name, each.source.version) == (name, version)]
        why = f": {broken[0]}" if broken else ""
        yield ValueError(
            f"PREDICTOR_DEFAULT_VERSIONS names {name}@{version}, wanted one of {there or 'the versions'}{why}"
        )
