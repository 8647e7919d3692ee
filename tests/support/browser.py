"""A headless Chromium for tests, and a page in it that must have nothing to complain of."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support import external_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Request


def chromium() -> str:
    """Return the path of a Chromium; skips the test without it."""
    return external_programs.on_path("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path)
        yield running
        running.close()


@contextmanager
def opened(browser: Browser, url: str, *, live: bool = True, **context: Any) -> Iterator[Page]:  # noqa: ANN401 - Playwright's own
    """Open the page of a server, and hold in the end that it asked nobody else and that no script failed."""
    around = browser.new_context(**context)
    page = around.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("dialog", lambda dialog: complaints.append(dialog.message))

    def requested(request: Request) -> None:
        if not request.url.startswith(f"{url}/"):
            complaints.append(request.url)

    page.on("request", requested)
    page.goto(f"{url}/")
    if live:
        page.get_by_role("status").get_by_text("Live", exact=True).wait_for()
    yield page
    around.close()
    assert [each for each in complaints if "ERR_CONNECTION" not in each and "ERR_INCOMPLETE" not in each] == []
