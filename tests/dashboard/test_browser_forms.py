"""The page of any table in a real browser: a field for each kind of column, and whatever the model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import bare_models
from tests.support.bare_models import BOOL, FLOAT, INT64, STRING, save
from tests.support.server import Server, predictions

pytest.importorskip("playwright", reason="playwright is not installed")

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import expect

from tests.support.browser import browser as running
from tests.support.browser import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.support.bare_models import Inputs
    from tests.support.onnx_graphs import Node

KEY = '[[features]]\nname = "order"\nrole = "key"\nsample = "A-1"\n'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests here."""
    with running() as browser:
        yield browser


def mixed(folder: Path) -> Path:
    """Write a regressor of a category, an integer, a truth and a number that may be missing, with a key."""
    nodes: list[Node] = [
        (
            "OneHotEncoder",
            ["City of birth"],
            ["c"],
            {"cats_strings": ["Bern", "Oslo"], "zeros": 1, "domain": "ai.onnx.ml"},
        ),
        ("Flatten", ["c"], ["cities"], {"axis": 1}),
        ("Cast", ["age"], ["years"], {"to": FLOAT}),
        ("Cast", ["member"], ["m"], {"to": FLOAT}),
        (
            "Imputer",
            ["income"],
            ["i"],
            {"imputed_value_floats": [7.0], "replaced_value_float": float("nan"), "domain": "ai.onnx.ml"},
        ),
        ("Concat", ["cities", "years", "m", "i"], ["all"], {"axis": 1}),
        ("ReduceSum", ["all", "axis"], ["price"], {"keepdims": 1}),
    ]
    inputs: Inputs = {
        "City of birth": (STRING, ["N", 1]),
        "age": (INT64, ["N", 1]),
        "member": (BOOL, ["N", 1]),
        "income": (FLOAT, ["N", 1]),
    }
    save(folder / "m.onnx", nodes, inputs, {"price": (FLOAT, ["N", 1])}, {"axis": np.array([1])})
    (folder / "model.toml").write_text(f'name = "price"\nversion = "1"\n{KEY}')
    return folder


def test_a_field_for_each_kind_of_column(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """Categories are chosen from, truths too, numbers may be left out where they may be missing, and all is logged."""
    with Server(outbox, PREDICTOR_MODEL=str(mixed(tmp_path / "m"))) as server, opened(browser, server.url) as page:
        page.get_by_label("order").fill("A-1017")
        city = page.get_by_label("City of birth")
        assert city.locator("option").all_inner_texts() == ["(empty)", "Bern", "Oslo"]
        city.select_option("Oslo")
        page.get_by_label("age").fill("40")
        page.get_by_label("member").select_option("true")
        page.get_by_label("income").fill("")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer .verdict")).to_have_text("49")  # Oslo, 40, true and 7 for what is missing
        (logged,) = predictions(outbox)
        assert logged["prediction.key"] == "A-1017"
        assert logged["prediction.missing"] == '["income"]'
        assert [v for name, v in logged.items() if name.startswith("prediction.input.")] == ["Oslo", 40, True]
        expect(page.locator("#rows tbody button")).to_have_text("49")
        expect(page.locator("#chosen")).to_contain_text("missing")
        expect(page.locator("figure[data-name='City of birth']")).to_contain_text("Oslo")
        expect(page.locator("figure[data-name=price] p")).to_contain_text("1 from 49 to 49")
        expect(page.locator("figure[data-name=age] p")).to_contain_text("1 from 40 to 40")
        assert Axe().run(page).violations_count == 0


@pytest.mark.parametrize(
    ("make", "said", "listed"),
    [
        (bare_models.quantiles, ["p10", "p50", "p90"], "p10 0, p50 0, p90 0"),
        (bare_models.clusters, ["scores_0"], None),
        (bare_models.label_only, [], None),
        (bare_models.churn, [], None),
    ],
)
def test_whatever_the_model_answers(
    browser: Browser,
    outbox: Path,
    tmp_path: Path,
    make: Callable[[Path], Path],
    said: list[str],
    listed: str | None,
) -> None:
    """Numbers are shown with their names and labels as they are, in the answer, the list and in full."""
    with Server(outbox, PREDICTOR_MODEL=str(make(tmp_path / "m.onnx"))) as server, opened(browser, server.url) as page:
        page.get_by_role("button", name="Predict").click()
        answer = page.locator("#answer")
        expect(answer.locator(".verdict")).to_be_attached()
        (logged,) = predictions(outbox)
        row = page.locator("#rows tbody button")
        if label := logged.get("prediction.label"):
            expect(answer.locator(".verdict")).to_contain_text(label)
            expect(row).to_contain_text(label)
            expect(page.locator("#labels")).to_contain_text(label)
        if listed:
            expect(row).to_have_text(listed)
        for name in said:
            expect(answer).to_contain_text(name)
            expect(page.locator("#chosen")).to_contain_text(name)


def test_labels_of_which_several_may_be_right(browser: Browser, outbox: Path, tmp_path: Path) -> None:
    """Probabilities that are each of a label of their own are bars with the labels' names."""
    bare_models.sigmoid(tmp_path / "m" / "m.onnx", labels=3)
    toml = 'name = "m"\nversion = "1"\nmultilabel = true\nlabels = ["urgent", "spam", "praise"]\n'
    (tmp_path / "m" / "model.toml").write_text(toml)
    with Server(outbox, PREDICTOR_MODEL=str(tmp_path / "m")) as server, opened(browser, server.url) as page:
        page.get_by_role("button", name="Predict").click()
        for name in ("urgent", "spam", "praise"):
            expect(page.locator("#answer .bars")).to_contain_text(name)
        expect(page.locator("#answer .bars .track")).to_have_count(3)
        expect(page.locator("#chosen .bars .track")).to_have_count(3)
