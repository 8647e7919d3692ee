"""Feedback from the page, in a real browser: what is logged, what it wants, and where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dashboard.test_browser import _PHONE, send, violations
from tests.support.server import ROW, Server, records

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.support.browser import browser as running
from tests.support.browser import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests here."""
    with running() as browser:
        yield browser


def test_feedback_from_the_page(browser: Browser, outbox: Path) -> None:
    """What a row of a batch truly was is logged for that row, and the page says so; what says nothing is refused."""
    with Server(outbox, PREDICTOR_FEEDBACK="true") as server:
        job = send(server, ROW, ROW, path="/predict/batch")["job_id"]
        with opened(browser, server.url, viewport=_PHONE | {"width": 390}) as page:
            page.locator("#rows tbody button").first.click()
            page.get_by_label("True label").select_option("versicolor")
            page.get_by_label("Comment").fill("seen again")
            page.get_by_role("button", name="Send feedback").click()
            expect(page.locator("#feedback-said")).to_have_text("It is logged.")
            assert violations(page) == []
            page.locator("#rows tbody button").last.click()
            expect(page.locator("#feedback-said")).to_be_empty()
    (logged,) = [each for each in records(outbox) if each["eventName"] == "prediction.feedback"]
    attributes = logged["attributes"]
    assert (attributes["prediction.job_id"], attributes["prediction.index"]) == (job, 1)
    said = [attributes[f"prediction.feedback.{name}"] for name in ("label", "comment")]
    assert said == ["versicolor", "seen again"]


def test_feedback_asks_for_its_token(browser: Browser, outbox: Path) -> None:
    """Where feedback wants a token of its own it is asked for, and without the feedback setting nothing is offered."""
    settings = {"PREDICTOR_FEEDBACK": "true", "PREDICTOR_FEEDBACK_TOKEN": "0123456789abcdef"}
    with Server(outbox, **settings) as server, opened(browser, server.url) as page:
        send(server, ROW)
        page.locator("#rows tbody button").click()
        page.get_by_label("Token for feedback").fill("0123456789abcdef")
        page.get_by_label("Comment").fill("right")
        page.get_by_role("button", name="Send feedback").click()
        expect(page.locator("#feedback-said")).to_have_text("It is logged.")
        expect(page.locator("#token")).to_have_count(0)
    with Server(outbox) as server, opened(browser, server.url) as page:
        send(server, ROW)
        page.locator("#rows tbody button").click()
        expect(page.locator("#feedback")).to_have_count(0)
