"""How large a body may be by default: what the model's rows need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.api.body_size import default_body_bytes, elements_of_a_row
from predictor.inference.model import load
from tests.support import bare_models
from tests.support.server import model

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
IMAGE = 3 * 224 * 224


@pytest.mark.parametrize(("elements", "rows", "least", "most"), [(4, 256, MIB, MIB), (100, 4096, 8 * MIB, 8 * MIB)])
def test_bounds(elements: int, rows: int, least: int, most: int) -> None:
    """A model of few features has 1 MiB, one of many no more than 8 MiB."""
    assert least <= default_body_bytes(elements, rows) <= most


@pytest.mark.parametrize("elements", [IMAGE, 4 * IMAGE])
def test_one_row_always_fits(elements: int) -> None:
    """One row of the longest doubles fits, an image among them."""
    row = b'{"data":[[' + b", ".join([b"-2.2250738585072014e-308"] * elements) + b"]]}"
    assert default_body_bytes(elements, 1) > len(row)


def test_texts_need_more_than_numbers(tmp_path: Path) -> None:
    """A text of 500 bytes has room wherever a number has its own, so the default follows the kinds of the columns."""
    texts = elements_of_a_row(load(bare_models.churn(tmp_path / "churn.onnx")))
    assert elements_of_a_row(model()) == 4
    row = b'["%b","%b",1,1.5],' % (b"x" * 500, b"y" * 500)
    assert default_body_bytes(texts, 2000) > 2000 * len(row)
    assert default_body_bytes(texts, 2000) > default_body_bytes(4, 2000)
