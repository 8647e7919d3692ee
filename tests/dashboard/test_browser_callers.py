"""Web pages of other origins, and tokens, in a real browser: what may write into the log."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.support.server import Server, predictions, records

pytest.importorskip("playwright", reason="playwright is not installed")

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
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


class _Elsewhere(BaseHTTPRequestHandler):
    """A web page of another origin."""

    def do_GET(self) -> None:
        """Serve an empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>elsewhere</title>")

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Serve a page on another port, which is another origin, and return that origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


_TRY = """async (url) => {
  const body = '{"data":[[6.7,3.0,5.2,2.3]]}';
  const feedback = "feedback/01a206a5-7cf9-7f24-8992-729b23f48647";
  const blob = (type) => new Blob([body], { type });
  const tries = [
    () => fetch(`${url}/predict`, { method: "POST", mode: "no-cors", body: blob("") }), // without a Content-Type
    () => fetch(`${url}/predict`, { method: "POST", mode: "no-cors", body: blob("text/plain") }),
    () => fetch(`${url}/predict/test`, { mode: "no-cors" }),
    () => fetch(`${url}/${feedback}`, { method: "POST", mode: "no-cors", body: new Blob(['{"label":"virginica"}']) }),
    () => Promise.resolve(navigator.sendBeacon(`${url}/predict`, blob(""))),
    () => new Promise((done) => Object.assign(new Image(), { onerror: done, src: `${url}/predict/test/label` })),
    () => fetch(`${url}/predict`, { method: "POST", headers: { "Content-Type": "application/json" }, body }),
  ];
  for (const each of tries) await each().catch(() => undefined);
  return tries.length;
}"""
_ASK = """async ([url, token]) => {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
  const answer = await fetch(`${url}/predict`, { method: "POST", headers, body: '{"data":[[6.7,3.0,5.2,2.3]]}' });
  return [answer.status, answer.headers.get("X-Trace-Id"), await answer.json()];
}"""


def test_a_page_from_elsewhere_logs_nothing(browser: Browser, outbox: Path, elsewhere: str) -> None:
    """Whatever another origin's page has a real browser send, neither a prediction nor feedback is in the log."""
    with Server(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_ALLOWED_HOSTS="") as server:
        around = browser.new_context()
        page = around.new_page()
        answered: list[int] = []
        page.on("response", lambda response: answered.append(response.status))
        page.goto(elsewhere)
        assert page.evaluate(_TRY, server.url) == 7
        assert 403 in answered
        around.close()
    assert {"prediction", "prediction.feedback"}.isdisjoint(record["eventName"] for record in records(outbox))


def test_a_page_that_is_named_predicts(browser: Browser, outbox: Path, elsewhere: str, tmp_path: Path) -> None:
    """A page of an origin that PREDICTOR_CORS_ORIGINS names predicts, with a token, and reads the answer."""
    (tmp_path / "tokens").write_text("0123456789abcdef")
    settings = {"PREDICTOR_TOKEN_FILE": str(tmp_path / "tokens"), "PREDICTOR_CORS_ORIGINS": elsewhere}
    with Server(outbox, PREDICTOR_ALLOWED_HOSTS="", **settings) as server:
        around = browser.new_context()
        page = around.new_page()
        page.goto(elsewhere)
        status, trace, answer = page.evaluate(_ASK, [server.url, "0123456789abcdef"])
        assert (status, len(trace), len(answer["prediction"])) == (200, 32, 3)
        status, _, answer = page.evaluate(_ASK, [server.url, "wrong"])
        assert (status, answer["title"]) == (401, "This call requires a token")
        around.close()
    assert len(predictions(outbox)) == 1


def test_the_form_asks_for_a_token(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """Where predictions want a token the form asks for it, sends it, says when it is wrong, and stores it nowhere."""
    (tmp_path / "tokens").write_text("0123456789abcdef")
    settings = {"PREDICTOR_TOKEN_FILE": str(tmp_path / "tokens"), "PREDICTOR_ALLOWED_HOSTS": ""}
    with Server(outbox, **settings) as server, opened(browser, server.url) as page:
        page.get_by_label("Token").fill("0123456789abcdef")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer .verdict")).to_be_visible()
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        stored = "[document.cookie, localStorage.length, sessionStorage.length, location.href]"
        assert page.evaluate(stored) == ["", 0, 0, f"{server.url}/"]
        assert Axe().run(page).violations_count == 0
        page.reload()
        expect(page.get_by_label("Token")).to_have_value("")
    with Server(outbox) as server, opened(browser, server.url) as page:
        expect(page.get_by_label("Token")).to_have_count(0)
    assert len(predictions(outbox)) == 1
