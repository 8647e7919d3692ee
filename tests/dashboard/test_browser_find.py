"""Searching the list and copying from the page, in a real browser."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.test_browser import _OUTLIER, _PHONE, _SETOSA, jobs, send, violations
from tests.support.server import ROW, Server, predictions

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.support.browser import browser as running
from tests.support.browser import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from playwright.sync_api import Browser

_READ = "navigator.clipboard.readText()"
_BEYOND = """all => all.map(each => [each, each.getBoundingClientRect()])
    .filter(([_, box]) => box.width && (box.left < -1 || box.right > document.documentElement.clientWidth + 1))
    .map(([each, _]) => each.outerHTML.slice(0, 99))"""
_MAY_COPY: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests here."""
    with running() as browser:
        yield browser


def test_search_and_filter(browser: Browser, outbox: Path) -> None:
    """The list shows what has the words searched for, or is special in the way chosen, and says if nothing is."""
    with Server(outbox) as server, opened(browser, server.url, viewport=_PHONE | {"width": 390}) as page:
        job = send(server, _SETOSA)["job_id"]
        send(server, ROW, _OUTLIER, path="/predict/batch")
        expect(page.locator("#rows tbody tr")).to_have_count(3)
        page.get_by_label("Search").fill("SETOSA")
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        assert jobs(page) == ["setosa"]
        page.get_by_label("Search").fill(job)
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        page.get_by_label("Search").fill("")
        page.get_by_label("Show", exact=True).select_option("outliers")
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        expect(page.locator("#rows tbody tr")).to_contain_text("row 1")
        page.get_by_label("Show", exact=True).select_option("errors")
        expect(page.get_by_text("None of the last 3 is like that.")).to_be_visible()
        assert violations(page) == []
        page.get_by_label("Show", exact=True).select_option("all")
        expect(page.locator("#rows tbody tr")).to_have_count(3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rows_on_a_phone(browser: Browser, outbox: Path, scheme: Any) -> None:  # noqa: ANN401 - its words
    """On a phone each prediction is one line, an outlier too, and nothing lies beyond the screen."""
    seen = _PHONE | {"width": 390}
    with Server(outbox) as server, opened(browser, server.url, viewport=seen, color_scheme=scheme) as page:
        for row in (_SETOSA, _OUTLIER, [6.5, 2.3, 4.6, 0.2]):
            send(server, row)
        expect(page.locator("#rows tbody tr")).to_have_count(3)
        heights = page.locator("#rows tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
        assert max(heights) - min(heights) <= 2
        assert page.locator("body *").evaluate_all(_BEYOND) == []


def test_copy_as_curl(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """The command copied from the form makes the form's own call when a shell runs it; a token is not in it."""
    (tmp_path / "tokens").write_text("0123456789abcdef")
    settings = {"PREDICTOR_TOKEN_FILE": str(tmp_path / "tokens")}
    with Server(outbox, **settings) as server, opened(browser, server.url, **_MAY_COPY) as page:
        page.get_by_label("Token").fill("0123456789abcdef")
        page.get_by_label("sepal_length").fill("6.75")
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        command = page.evaluate(_READ)
        assert "0123456789abcdef" not in command
        environment = {"TOKEN": "0123456789abcdef", "PATH": "/usr/bin:/bin"}
        ran = subprocess.run(["sh", "-c", command], capture_output=True, check=True, env=environment, timeout=30)
        assert len(json.loads(ran.stdout)["prediction"]) == 3
    (logged,) = predictions(outbox)
    assert logged["prediction.input.sepal_length"] == 6.75


def test_copy_buttons(browser: Browser, outbox: Path) -> None:
    """Ids and the command of a prediction are copied by their buttons, exactly as they are."""
    with Server(outbox) as server, opened(browser, server.url, **_MAY_COPY) as page:
        job = send(server, ROW)["job_id"]
        for name, text in (("job id", job), ("command", f"predictor log show {job}")):
            page.get_by_role("button", name=f"Copy {name}").click()
            expect(page.get_by_role("button", name=f"Copy {name}")).to_have_text("Copied")
            assert page.evaluate(_READ) == text
