"""The state of the log on the page in a real browser: what a person sees of a sink that is away, and of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest

from tests.dashboard.test_browser import _PHONE, send, violations
from tests.support.server import ROW, Server

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.support.browser import browser as running
from tests.support.browser import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from playwright.sync_api import Browser

_NOBODY = "http://127.0.0.1:9"
"""An endpoint where nothing listens."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests here."""
    with running() as browser:
        yield browser


def fill(server: Server) -> None:
    """Predict until the outbox takes no more."""
    try:
        while True:
            send(server, *[ROW] * 200, path="/predict/batch")
    except HTTPError as error:
        assert error.code == 503  # noqa: PT017 - the loop ends by it


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_never_live_while_refused(browser: Browser, outbox: Path, scheme: Any, width: int) -> None:  # noqa: ANN401 - its words
    """While predictions are refused the page does not say Live but that, and shows why, the backlog and the sink."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": _NOBODY, "PREDICTOR_OUTBOX_BYTES": "1MiB", "PREDICTOR_FLUSH": "0s"}
    look = {"color_scheme": scheme, "viewport": _PHONE | {"width": width}}
    with Server(outbox, **settings) as server, opened(browser, server.url, **look) as page:
        fill(server)
        expect(page.locator("#connection")).to_have_text("Predictions are refused")
        state = page.locator("#state")
        expect(state).to_contain_text("takes nothing")
        expect(state).to_contain_text("the outbox refuses: bytes")
        expect(state).to_contain_text("1 outbox-full")
        expect(state).to_contain_text("KiB")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.reload()
        expect(page.locator("#connection")).to_have_text("Predictions are refused")


def test_the_rate_falls_to_zero(browser: Browser, outbox: Path) -> None:
    """The rate is of the last seconds: it falls to zero when nothing comes, and the state stays Live."""
    with Server(outbox) as server, opened(browser, server.url) as page:
        page.clock.install()
        send(server, *[ROW] * 100, path="/predict/batch")
        send(server, ROW)
        count = page.locator("#count")
        expect(count).to_contain_text("101 since the start")
        page.clock.run_for(1000)
        expect(count).to_contain_text("a second")
        expect(count).not_to_contain_text(" 0 a second")
        page.clock.run_for(10_000)
        expect(count).to_have_text("101 since the start, 0 a second")
        expect(page.locator("#connection")).to_have_text("Live")
