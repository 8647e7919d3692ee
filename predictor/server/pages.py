"""The page of each model version that is served; not even its templates are loaded where it is off."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from predictor.api.catalog import Catalog
from predictor.dashboard.feed import Feed
from predictor.dashboard.routes import ModelPage, Page
from predictor.dashboard.view import View
from predictor.server.callers import is_local

if TYPE_CHECKING:
    from predictor.api.catalog import VersionFacts
    from predictor.config.settings import Settings
    from predictor.server.model_loading import Loaded
    from predictor.serving.listeners import Observer


class _Key(NamedTuple):
    name: str
    version: str
    digest: str


class Pages:
    """Makes what each version shows, and finds what a request for the page means."""

    def __init__(self, settings: Settings, stream_id: str | None) -> None:
        """Show nothing yet; `stream_id` names this start's log, if any."""
        self._settings = settings
        self._stream_id = stream_id
        self._pages: dict[_Key, ModelPage] = {}
        self._catalog = Catalog()

    def watch(self, loaded: Loaded) -> Observer:
        """Return what takes the predictions of a version, for its page."""
        from predictor.dashboard.render import html  # noqa: PLC0415 - brings Jinja

        settings, model, about = self._settings, loaded.model, loaded.model.description
        numbers = len(about.labels) or len(about.values) or 1
        view = View(about.features, settings.grafana_url, about.outputs)
        feed = Feed(view, len(about.features) or 1, numbers, model.digest)
        content = html(model, model.ranges, self._stream_id, tokens=settings.token_file is not None)
        self._pages[_key(loaded.facts)] = ModelPage(feed, content)
        return feed.observe

    def of(self, catalog: Catalog) -> Page:
        """Return the page of a server with these models."""
        from predictor.dashboard.render import files  # noqa: PLC0415 - as above

        def forget() -> None:
            there = {_key(each.facts) for each in catalog.versions()}
            for key in self._pages.keys() - there:
                self._pages.pop(key).feed.close()

        self._catalog = catalog
        catalog.changed.append(forget)
        local = self._settings.page == "auto"
        names = {*self._settings.allowed_hosts} - {"*"}
        return Page(self._find, files(), loopback_only=local, hosts=names)

    def feed(self) -> Feed:
        """Return the feed of the default model's page; raises Problem if there is none."""
        return self._find(None, None).feed

    def close(self) -> None:
        """End all who listen: they must not hold up a shutdown."""
        for page in self._pages.values():
            page.feed.close()

    def _find(self, model: str | None, version: str | None) -> ModelPage:
        served = self._catalog.find(model, version)
        if served is None:
            raise self._catalog.unknown(model, version)
        return self._pages[_key(served.facts)]


def _key(facts: VersionFacts) -> _Key:
    return _Key(facts.description.name, facts.description.version, facts.digest)


def shows_page(settings: Settings) -> bool:
    """Tell whether there is a page at all."""
    return settings.page == "on" or (settings.page == "auto" and is_local(settings))
