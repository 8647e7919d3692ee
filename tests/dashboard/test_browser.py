"""The page in a real browser: what a person sees, with mouse, keyboard, on a phone, and by a screen reader."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.server import IRIS, ROW, Server, predictions

pytest.importorskip("playwright", reason="playwright is not installed")

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Error, expect

from tests.support.browser import browser as running
from tests.support.browser import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

_OUTLIER = [9.4, 3.1, 7.6, 2.2]
_SETOSA = [5.1, 3.5, 1.4, 0.2]
_PHONE = {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests here."""
    with running() as browser:
        yield browser


@pytest.fixture
def server(outbox: Path) -> Iterator[Server]:
    """Run iris as a process."""
    with Server(outbox) as server:
        yield server


def send(server: Server, *rows: list[float], path: str = "/predict", **headers: str) -> Any:  # noqa: ANN401 - JSON
    """Ask for predictions as another client would."""
    body = json.dumps({"data": list(rows)}).encode()
    request = urllib.request.Request(server.url + path, body, {"Content-Type": "application/json"} | headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def jobs(page: Page) -> list[str]:
    """Return the labels in the list, newest first."""
    return page.locator("#rows tbody button").all_inner_texts()


def test_a_newcomer_tries_a_prediction(browser: Browser, server: Server, outbox: Path) -> None:
    """The form predicts as any client does: the answer is the server's, and it is logged and shown like any other."""
    with opened(browser, server.url) as page:
        expect(page.get_by_text("None since this server was started")).to_be_visible()
        page.get_by_label("sepal_length").fill("6.7")
        page.get_by_label("petal_length").fill("5.2")
        page.get_by_label("petal_width").fill("2.3")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer .verdict")).to_contain_text("virginica")
        detail = page.locator("#chosen")
        expect(detail.get_by_text("Where the time went")).to_be_visible()
        (logged,) = predictions(outbox)
        assert [logged[f"prediction.input.{name}"] for name in ("sepal_length", "sepal_width")] == [6.7, 3.5]
        share = f"{100 * logged['prediction.confidence']:.1f} %"
        expect(page.locator("#answer .verdict")).to_contain_text(share)
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        expect(page.locator("#rows tbody tr")).to_contain_text(share)
        expect(detail).to_contain_text(f"predictor log show {logged['prediction.job_id']}")
        expect(page.get_by_text("None since this server was started")).to_be_hidden()


def test_what_the_form_is_told(browser: Browser, server: Server) -> None:
    """What the server refuses is said as it says it, and a value beyond the training range is pointed out before."""
    with opened(browser, server.url) as page:
        field = page.get_by_label("sepal_width")
        hint = page.locator("#h-sepal_width")
        expect(hint).not_to_have_class(re.compile("beyond"))
        field.fill("4.5")
        expect(hint).to_have_class(re.compile("beyond"))
        page.evaluate('fetch = async () => new Response(\'{"detail": "too much"}\', {status: 503})')
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer")).to_have_text("No prediction: too much")
        page.get_by_role("button", name="Reset").click()
        expect(page.locator("#answer")).to_be_empty()
        expect(hint).not_to_have_class(re.compile("beyond"))


def test_others_predictions_come_by_themselves(browser: Browser, server: Server) -> None:
    """Predictions of other clients appear without a reload, newest first, with what is special about them."""
    with opened(browser, server.url) as page:
        send(server, _SETOSA)
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        send(server, ROW, _OUTLIER, path="/predict/batch")
        expect(page.locator("#rows tbody tr")).to_have_count(3)
        assert jobs(page) == ["virginica", "virginica", "setosa"]
        expect(page.locator("#rows tbody tr").first).to_contain_text("row 1")
        expect(page.locator("#rows tbody tr").nth(1)).to_contain_text("row 0")
        expect(page.locator("#rows tbody tr").nth(2)).not_to_contain_text("row")
        expect(page.locator("#rows tbody tr").first).to_contain_text("outlier")
        expect(page.locator("#count")).to_have_text("3 since the start")
        expect(page.locator("#labels li").first).to_contain_text("1 (33.3 %)")
        expect(page.get_by_role("img", name="3 from 5.1 to 9.4, median 6.7; 1 beyond training.")).to_be_visible()


def test_one_prediction_by_keyboard(browser: Browser, server: Server) -> None:
    """With the keyboard alone: skip to the list, open a row, and be where it is shown in full."""
    answer = send(server, _OUTLIER, **{"X-Request-Id": "r-42"})
    with opened(browser, server.url) as page:
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="To the last predictions")
        expect(skip).to_be_focused()
        assert skip.evaluate("node => node.getBoundingClientRect().top") >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Pause")).to_be_focused()
        page.keyboard.press("Tab")
        for each in ("search", "only"):
            expect(page.locator(f"#{each}")).to_be_focused()
            page.keyboard.press("Tab")
        button = page.locator("#rows tbody button")
        expect(button).to_be_focused()
        assert button.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="One prediction in full")).to_be_focused()
        detail = page.locator("#chosen")
        for said in (
            answer["job_id"],
            "r-42",
            "9.4 cm beyond training",
            "outlier, score",
            "model",
            "reading and waiting",
        ):
            expect(detail).to_contain_text(said)
        widths = detail.locator(".spent > span").evaluate_all("spans => spans.map(span => span.offsetWidth)")
        assert len(widths) == 3
        assert sum(widths) >= detail.locator(".spent").evaluate("bar => bar.offsetWidth") - 6


def test_links_to_grafana(browser: Browser, outbox: Path) -> None:
    """With a Grafana set, a prediction links to its dashboard, in a tab of its own that learns nothing of this page."""
    with Server(outbox, PREDICTOR_GRAFANA_URL="http://127.0.0.1:3000") as server, opened(browser, server.url) as page:
        job = send(server, ROW)["job_id"]
        page.locator("#rows tbody button").click()
        link = page.get_by_role("link", name="Record in Grafana")
        assert re.fullmatch(
            rf"http://127\.0\.0\.1:3000/d/trace\?var-trace_id=[0-9a-f]{{32}}&var-job_id={job}&from=\d+&to=\d+",
            link.get_attribute("href") or "",
        )
        assert link.get_attribute("rel") == "noopener noreferrer"


def test_the_list_holds_still(browser: Browser, server: Server) -> None:
    """Rows do not move away under the mouse or the focus, nor while paused; then all that is new is there."""
    send(server, _SETOSA)
    with opened(browser, server.url) as page:
        rows = page.locator("#rows tbody tr")
        held = page.locator("#held")
        expect(rows).to_have_count(1)
        rows.first.hover()
        send(server, ROW)
        expect(held).to_have_text(re.compile("^1 newer"))
        assert jobs(page) == ["setosa"]
        page.mouse.move(0, 0)
        expect(rows).to_have_count(2)
        rows.first.locator("button").focus()
        send(server, ROW)
        expect(held).to_be_visible()
        expect(rows).to_have_count(2)
        page.get_by_role("button", name="Pause").focus()
        expect(rows).to_have_count(3)
        expect(held).to_be_hidden()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
        send(server, ROW)
        expect(page.locator("#count")).to_have_text("4 since the start")
        expect(rows).to_have_count(3)
        page.get_by_role("button", name="Pause").click()
        expect(rows).to_have_count(4)


def test_a_server_that_comes_back(browser: Browser, server: Server, outbox: Path) -> None:
    """The page says when the server is gone, once, and goes on by itself when another one is there."""
    with opened(browser, server.url) as page:
        send(server, _SETOSA)
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        server.terminate()
        status = page.locator("#connection")
        expect(status).to_have_text("Connection lost, trying again")
        with Server(outbox, PREDICTOR_PORT=str(server.port)) as next_one:
            expect(status).to_have_text("Live", timeout=20_000)
            expect(page.locator("#rows tbody tr")).to_have_count(0)  # its memory is its own
            send(next_one, ROW)
            expect(page.locator("#rows tbody tr")).to_have_count(1)


def test_the_policy_holds(browser: Browser, server: Server) -> None:
    """The browser runs no script that is not a file of the server, and takes no text for markup."""
    around = browser.new_context()
    page = around.new_page()
    page.goto(f"{server.url}/")
    with pytest.raises(Error):
        page.add_script_tag(content="window.harmed = 1")
    with pytest.raises(Error, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")
    assert page.evaluate("window.harmed") is None
    around.close()


def test_hostile_words_are_shown(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """What a model calls its labels is text in the list, the detail and the plots."""
    hostile = "<img src=x onerror=alert(1)>"
    model = tmp_path / "model"
    shutil.copytree(IRIS, model)
    text = (model / "model.toml").read_text()
    (model / "model.toml").write_text(text.replace('"virginica"', json.dumps(hostile)))
    with Server(outbox, PREDICTOR_MODEL=str(model)) as server, opened(browser, server.url) as page:
        send(server, ROW)
        page.locator("#rows tbody button").click()
        assert jobs(page) == [hostile]
        expect(page.locator("#chosen .verdict")).to_contain_text(hostile)
        expect(page.locator("#labels")).to_contain_text(hostile)
        assert page.locator("img").count() == 0


def test_redacted_features(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """A feature that stays out of the log has no plot, and in a prediction its value is not shown."""
    model = tmp_path / "model"
    shutil.copytree(IRIS, model)
    text = (model / "model.toml").read_text()
    (model / "model.toml").write_text(text.replace('name = "sepal_width"', 'name = "sepal_width"\nlog = "drop"'))
    with Server(outbox, PREDICTOR_MODEL=str(model)) as server, opened(browser, server.url) as page:
        send(server, [6.7, 3.21, 5.2, 2.3])
        page.locator("#rows tbody button").click()
        expect(page.locator("#chosen")).to_contain_text("sepal_width")
        expect(page.locator("#chosen")).to_contain_text("not shown")
        expect(page.locator("#chosen")).to_contain_text("6.7 cm")
        assert "3.21" not in page.content()
        expect(page.locator("#plots figure")).to_have_count(4)
        expect(page.locator("figure[data-name=petal_length] p")).to_contain_text("1 from 5.2 to 5.2")
        expect(page.get_by_text("the log does not hold them as they are: sepal_width.")).to_be_visible()


def test_screen_readers_are_not_talked_at(browser: Browser, server: Server) -> None:
    """Of what comes by itself nothing is read out: only the connection's state and the form's own answer are live."""
    with opened(browser, server.url) as page:
        assert page.locator("[aria-live], [role=status], [role=alert], [role=log]").evaluate_all(
            "nodes => nodes.map(node => node.id)"
        ) == ["connection", "answer"]
        page.evaluate(
            """() => { window.said = 0; for (const id of ["connection", "answer"]) new MutationObserver(
               (changes) => { window.said += changes.length; }
            ).observe(document.getElementById(id), {childList: true, characterData: true, subtree: true}); }"""
        )
        for number in range(5):
            send(server, ROW)
            expect(page.locator("#rows tbody tr")).to_have_count(number + 1)
        assert page.evaluate("window.said") == 0


@pytest.mark.parametrize("reduced", ["reduce", "no-preference"])
def test_motion(browser: Browser, server: Server, reduced: Any) -> None:  # noqa: ANN401 - Playwright's words
    """New rows light up, but not for those who asked their system for less motion."""
    send(server, _SETOSA)
    with opened(browser, server.url, reduced_motion=reduced) as page:
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        send(server, ROW)
        row = page.locator("#rows tbody tr.new")
        expect(row).to_have_count(1)
        assert row.evaluate("node => getComputedStyle(node).animationName") == (
            "none" if reduced == "reduce" else "new"
        )


@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_it_fits(browser: Browser, server: Server, width: int) -> None:
    """On a phone, a tablet and a screen nothing sticks out sideways, the list of an outlier in a batch included."""
    send(server, ROW, _OUTLIER, path="/predict/batch")
    with opened(browser, server.url, viewport=_PHONE | {"width": width}) as page:
        page.locator("#rows tbody button").first.click()
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer .verdict")).to_be_visible()
        wider = (
            "nodes => nodes.filter(node => node.getBoundingClientRect().right > innerWidth + 1).map(n => n.outerHTML)"
        )
        assert page.locator("body *:not(.hidden):not(pre *)").evaluate_all(wider) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_accessibility(browser: Browser, server: Server, scheme: Any, width: int) -> None:  # noqa: ANN401 - its words
    """Neither the empty nor the full page has a fault that axe finds: contrast, names, roles, landmarks, order."""
    with opened(browser, server.url, color_scheme=scheme, viewport=_PHONE | {"width": width}) as page:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(14, 18, 22)") == (scheme == "dark")
        assert violations(page) == []
        send(server, ROW, _OUTLIER, path="/predict/batch")
        page.locator("#rows tbody button").first.click()
        page.get_by_label("sepal_width").fill("9")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer .verdict")).to_be_visible()
        expect(page.locator("#rows tbody tr")).to_have_count(3)
        page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
        assert violations(page) == []


def violations(page: Page) -> list[str]:
    """Return what axe finds, each with the elements."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]
