"""Which model versions are served, from the start on: looks at their files again, loads beside, replaces, retires.

A version that cannot be loaded changes nothing but a line on stderr: what was served before goes on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from predictor.api.catalog import Catalog
from predictor.core import operator_log, thread_pools
from predictor.core.heap import give_back
from predictor.core.problems import Kind, Problem
from predictor.inference.repository import find
from predictor.inference.runtime_errors import ModelError
from predictor.server.model_loading import Failed, namesake, try_version
from predictor.server.model_places import ModelPlace, entry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from pathlib import Path

    from predictor.api.catalog import ServedVersion
    from predictor.config.settings import Settings
    from predictor.inference.repository import Source
    from predictor.server.model_loading import Loaded, LoadedModels
    from predictor.server.model_places import IndexEntry
    from predictor.server.model_versions import VersionMaker

P = ParamSpec("P")
R = TypeVar("R")
_logger = logging.getLogger("predictor.models")


class ModelService:
    """Keeps the catalog in step with the files of PREDICTOR_MODEL."""

    def __init__(
        self, settings: Settings, maker: VersionMaker, models: LoadedModels, *, shared_port: bool = False
    ) -> None:
        """Serve what the start has loaded; with `shared_port` single models are not loaded or unloaded by a call."""
        self._shared_port = shared_port
        self.catalog = Catalog(settings.default_model or None, dict(settings.default_versions))
        self._settings = settings
        self._maker = maker
        self._places: dict[Path, ModelPlace] = {}
        self._lock = asyncio.Lock()
        # One thread for all that is loaded, ever: each thread has a heap of its own, which keeps what it once took.
        self._loading = thread_pools.pool(1, "loading")
        self._waiting = False  # a reload that was asked for has not begun
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring: set[ServedVersion] = set()
        self._said: set[str] = set()
        """What the last look has said of what it left as it was."""
        self._saying: set[str] = set()
        for failed in models.failures:
            place = ModelPlace(failed.source, failed.fingerprint)
            self._places[failed.source.path] = place
            self._refuse(place, failed.reason)
        for loaded in models.versions:
            place = ModelPlace(loaded.source, loaded.fingerprint, known=loaded.facts.description.name)
            place.served = maker.serve(loaded)
            self._places[loaded.source.path] = place
        self._change([place.served for place in self._places.values() if place.served], [])

    # What is asked of it
    def request_reload(self) -> None:
        """Reload soon, once for all who ask before it begins; never raises."""
        if not self._waiting:
            self._waiting = True
            self._begin(self._reload_as_asked())

    def poll(self, seconds: float) -> None:
        """Look for changed files so often from now on; 0 is never."""
        if seconds:
            self._begin(self._poll(seconds))

    def check_control(self) -> None:
        """Refuse to load or unload by a call that reaches one of several processes only; raises Problem."""
        if self._shared_port:
            detail = "several processes serve this port; PREDICTOR_MODEL_POLL, or SIGUSR1 to gunicorn, reaches all"
            raise Problem(Kind.SHARED_PORT, detail, recorded=True)

    async def reload(self, *, asked: bool = True) -> None:
        """Serve what lies in the files now; what cannot be loaded is said, and what was served instead stays.

        Not `asked`, files are loaded only once two looks have seen them the same, and a broken one is tried once.
        """
        async with self._lock:
            await self._reload(asked=asked)

    async def load(self, name: str) -> None:
        """Serve the newest files of a model; raises Problem if there is none of that name, or it cannot be loaded."""
        self.check_control()
        async with self._lock:
            try:
                found = await self._apart(find, self._settings.model)
            except ModelError as error:
                raise Problem(Kind.NOT_FOUND, str(error), recorded=True) from None
            named = [source for source in found.sources if self._place(source).name == name]
            if not named:
                there = ", ".join(sorted({self._place(source).name for source in found.sources}))
                raise Problem(Kind.NOT_FOUND, f"there is no model {name!r}, only {there}", recorded=True)
            for source in named:
                self._place(source).unloaded = False
                await self._look(source, asked=True)
            broken = [place.reason for place in map(self._place, named) if place.reason]
            if broken:
                raise Problem(Kind.INVALID_DATA, f"{broken[-1]}; what was served before is served", recorded=True)

    async def unload(self, name: str, version: str | None = None) -> None:
        """Serve a model, or one version of it, no more until `load`; raises Problem if it is not served."""
        self.check_control()
        async with self._lock:
            places = [
                place
                for place in self._places.values()
                if place.served and place.name == name and version in {None, place.served.version}
            ]
            if not places:
                raise self.catalog.unknown(name, version)
            for place in places:
                place.unloaded = True
                self._replace(place, None)

    def index(self) -> list[IndexEntry]:
        """Return every version that lies in the files, served or not, as far as the last look has seen it."""
        places = sorted(self._places.values(), key=lambda each: (each.name, each.source.number or 0))
        return [entry_of(place) for place in places]

    def drain(self) -> None:
        """Refuse what still comes: the sockets are closed."""
        for version in [*self.catalog.versions(), *self._retiring]:
            version.pipeline.draining = True

    async def close(self) -> None:
        """End: no more reloads, and of every version what still waits is refused."""
        for task in self._tasks:
            task.cancel()
        left = {*self.catalog.versions(), *self._retiring}
        await asyncio.gather(*(version.pipeline.close() for version in left))
        self._loading.shutdown(wait=False, cancel_futures=True)
        self._maker.close()

    # How it is done
    async def _reload_as_asked(self) -> None:
        async with self._lock:
            self._waiting = False  # who asks from now on means files that this one may have looked at already
            await self._reload_whatever(asked=True)

    async def _poll(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            async with self._lock:
                await self._reload_whatever(asked=False)

    async def _reload_whatever(self, *, asked: bool) -> None:
        try:
            await self._reload(asked=asked)
        except Exception:  # a fault of ours must not be the end of what is served
            _logger.exception("the models could not be looked at; what was served stays")

    async def _reload(self, *, asked: bool) -> None:
        try:
            found = await self._apart(find, self._settings.model)
            self._check_layout(found.sources)
        except ModelError as error:
            self._say_once(str(error))
            self._said, self._saying = self._saying, set()
            return
        for source in found.sources:
            await self._look(source, asked=asked)
        self._let_go_of_missing({source.path for source in found.sources}, asked=asked)
        self._said, self._saying = self._saying, set()

    def _place(self, source: Source) -> ModelPlace:
        return self._places.setdefault(source.path, ModelPlace(source, ()))

    def _check_layout(self, sources: Iterable[Source]) -> None:
        """Refuse to take a model's folder for a folder of models since its description is gone for a moment."""
        whole = self._places.get(self._settings.model)
        if whole and whole.served and self._settings.model not in {source.path for source in sources}:
            msg = f"{self._settings.model} is no longer a model"
            raise ModelError(msg)

    async def _look(self, source: Source, *, asked: bool) -> None:
        place = self._place(source)
        place.source = source
        if place.unloaded:
            return
        now = await self._apart(source.fingerprint)
        if now == place.tried and (place.served and not place.reason if asked else place.served or place.reason):
            return
        if not asked and now != place.seen:
            place.seen = now  # perhaps they are being written
            return
        outcome = await self._apart(try_version, source, self._settings)
        place.tried = outcome.fingerprint
        if isinstance(outcome, Failed):
            self._refuse(place, outcome.reason)
            return
        places = [each for each in self._places.values() if each is not place]
        others = [(each.source, each.served.facts) for each in places if each.served]
        before = place.served
        sentence = namesake(outcome, others)
        if before and self.catalog.pins(before) and _called(outcome) != str(before):
            sentence = f"{source} is {_called(outcome)} now, and PREDICTOR_DEFAULT_VERSIONS names {before}"
        if sentence:
            self._refuse(place, sentence)
            return
        place.reason = None
        if before and (before.facts.digest, str(before)) == (outcome.facts.digest, _called(outcome)):
            return
        for note in outcome.model.notes:
            operator_log.say(note)
        place.known = outcome.facts.description.name
        self._replace(place, self._maker.serve(outcome))

    def _refuse(self, place: ModelPlace, reason: str) -> None:
        place.reason = reason
        stays = f"{place.served} is served as before" if place.served else "it is not served"
        _logger.error("%s; %s", reason, stays)

    def _replace(self, place: ModelPlace, new: ServedVersion | None) -> None:
        old, place.served = place.served, new
        self._change([new] if new else [], [old] if old else [])
        digest = new.facts.digest if new else ""
        if new and old:
            operator_log.say(f"{new} ({digest}) is served in place of {old}")
        else:
            operator_log.say(f"{new} ({digest}) is served" if new else f"{old} is no longer served")

    def _change(self, added: list[ServedVersion], removed: list[ServedVersion]) -> None:
        self.catalog.missing = next((place.reason for place in self._places.values() if place.reason), None)
        self.catalog.change(added, removed)
        for version in removed:
            self._retiring.add(version)
            self._begin(self._retire(version))

    async def _retire(self, version: ServedVersion) -> None:
        await version.retire()
        self._retiring.discard(version)
        del version
        # The types that its rows were decoded to are cycles by nature, and the collector hardly ever runs by itself.
        # What was there at the start is frozen, so this takes a millisecond or two.
        gc.collect()
        await self._apart(give_back)

    async def _apart(self, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        """Do what is slow, off the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._loading, partial(work, *given, **named))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _let_go_of_missing(self, there: set[Path], *, asked: bool) -> None:
        for path, place in [*self._places.items()]:
            if path in there:
                continue
            siblings = [
                each
                for each in self._places.values()
                if each.served and each is not place and each.source.model == place.source.model
            ]
            if place.served and place.source.model.exists() and (not siblings or self.catalog.pins(place.served)):
                gone = f"{path} is gone, and PREDICTOR_DEFAULT_VERSIONS names it"
                gone = gone if siblings else f"{place.source.model} has no model any more"
                self._say_once(f"{gone}; {place.served} is served as before")
            elif place.served and not asked and place.seen is not None:
                place.seen = None  # perhaps it is being replaced
            else:
                del self._places[path]
                if place.served:
                    self._replace(place, None)

    def _say_once(self, sentence: str) -> None:
        self._saying.add(sentence)
        if sentence not in self._said:
            _logger.error("%s", sentence)


def _called(loaded: Loaded) -> str:
    about = loaded.facts.description
    return f"{about.name}@{about.version}"
