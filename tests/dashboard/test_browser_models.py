"""The page where several models are served, and where one is replaced, in a real browser."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.server import IRIS, Server

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.support.browser import browser as running
from tests.support.browser import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

_WITHOUT_TERMINAL = "import os, runpy; os.setsid(); runpy.run_module('predictor', run_name='__main__')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests here."""
    with running() as browser:
        yield browser


def another(folder: Path, name: str, version: str) -> Path:
    """Write iris as a model of another name."""
    shutil.copytree(IRIS, folder)
    toml = folder / "model.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith(('name = "iris', "version ="))]
    toml.write_text(f'name = "{name}"\nversion = "{version}"\n' + "\n".join(lines) + "\n")
    return folder


def test_each_model_has_a_page(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """Links lead to the page of each model; only the default one's has a form that works, and its predictions."""
    another(tmp_path / "models" / "a", "flower", "1")
    another(tmp_path / "models" / "b", "plant", "2")
    with Server(outbox, PREDICTOR_MODEL=str(tmp_path / "models")) as server, opened(browser, server.url) as page:
        links = page.get_by_label("Models").get_by_role("link")
        expect(links).to_have_text(["flower 1", "plant 2"])
        expect(links.first).to_have_attribute("aria-current", "page")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        links.last.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("plant 2")
        expect(page.get_by_text("The form asks the default model, flower")).to_be_visible()
        expect(page.get_by_role("button", name="Predict")).to_be_disabled()
        expect(page.locator("#connection")).to_have_text("Live")
        expect(page.locator("#rows tbody tr")).to_have_count(0)


def test_an_open_page_follows_its_model(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """A page that is open while its model is replaced is loaded anew: its form and its labels are the new one's."""
    folder = another(tmp_path / "iris", "flower", "1")
    server = Server(outbox, command=("-c", _WITHOUT_TERMINAL), PREDICTOR_MODEL=str(folder))
    with server, opened(browser, server.url) as page:
        expect(page.locator("#connection")).to_have_text("Live")
        toml = folder / "model.toml"
        toml.write_text(toml.read_text().replace('version = "1"', 'version = "2"'))
        os.kill(server.pid, signal.SIGHUP)
        expect(page.get_by_role("heading", level=1)).to_have_text("flower 2", timeout=30_000)
        expect(page.locator("#connection")).to_have_text("Live")
