"""The page of each model version that is served; not even its templates are loaded where it is off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from predictor.api.catalog import Catalog
from predictor.dashboard.feed import Feed
from predictor.dashboard.recent import SLOT
from predictor.dashboard.routes import ModelPage, Page
from predictor.dashboard.state import LogState, ServerState, State
from predictor.dashboard.view import View
from predictor.server.callers import is_local

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.api.catalog import VersionFacts
    from predictor.config.settings import Settings
    from predictor.core.problems import Kind
    from predictor.server.health import Health
    from predictor.server.log_service import LogService
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
        self._state: ServerState | None = None
        self._look: asyncio.TimerHandle | None = None

    def watch(self, loaded: Loaded) -> Observer:
        """Return what takes the predictions of a version, for its page."""
        from predictor.dashboard.render import Asks, html  # noqa: PLC0415 - brings Jinja

        settings, model, about = self._settings, loaded.model, loaded.model.description
        numbers = len(about.labels) or len(about.values) or 1
        view = View(about.features, settings.grafana_url, about.outputs)
        feed = Feed(view, len(about.features) or 1, numbers, model.digest, self._read_state)
        token = settings.token_file is not None
        asks = Asks(
            token=token,
            feedback=settings.feedback and self._stream_id is not None,
            feedback_token=token or bool(settings.feedback_token or settings.feedback_token_file),
        )
        content = html(model, model.ranges, self._stream_id, asks)
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

    def show_state(self, health: Health, refusals: Mapping[Kind, int], log_service: LogService | None) -> None:
        """Show from now on what the server refuses, and where the records of its log are."""
        self._state = ServerState(
            health.unready, refusals, lambda: _log_state(log_service, sink=self._settings.export.logs is not None)
        )
        self._look_again()

    def _look_again(self) -> None:
        """Look at what is refused also while no page is open: who opens one wants to know what was."""
        if self._state:
            self._state.problems.look()
        self._look = asyncio.get_running_loop().call_later(SLOT, self._look_again)

    def _read_state(self) -> State | None:
        return self._state.read() if self._state else None

    def feed(self) -> Feed:
        """Return the feed of the default model's page; raises Problem if there is none."""
        return self._find(None, None).feed

    def close(self) -> None:
        """End all who listen: they must not hold up a shutdown."""
        if self._look:
            self._look.cancel()
        for page in self._pages.values():
            page.feed.close()

    def _find(self, model: str | None, version: str | None) -> ModelPage:
        served = self._catalog.find(model, version)
        if served is None:
            raise self._catalog.unknown(model, version)
        return self._pages[_key(served.facts)]


def _log_state(log_service: LogService | None, *, sink: bool) -> LogState | None:
    if log_service is None:
        return None
    counters = log_service.counters["logs"]
    return LogState(
        records=log_service.stream.sequence,
        lost=log_service.stream.lost,
        rejected=counters.refused,
        backlog_bytes=log_service.backlog_bytes(),
        sink=sink,
        accepted=counters.accepted_at,
        problem=counters.problem,
        outbox_problem=log_service.problem,
        full=log_service.outbox.full,
    )


def _key(facts: VersionFacts) -> _Key:
    return _Key(facts.description.name, facts.description.version, facts.digest)


def shows_page(settings: Settings) -> bool:
    """Tell whether there is a page at all."""
    return settings.page == "on" or (settings.page == "auto" and is_local(settings))
