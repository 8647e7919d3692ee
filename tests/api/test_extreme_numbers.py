"""Numbers that no type of a model can hold are refused or predicted upon; no library warns of them on stderr."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.test_open_inference import TABLES
from tests.support.openapi_document import contract
from tests.support.server import serve
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_NUMBERS = (1e300, -1e300, 3.5e38, 70_000.5, 1e-320, 2**63, -(2**63) - 1, 10**30)


def _with(number: float, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON with a number in place of all others below `data`, `inputs` and `instances`."""
    if isinstance(value, dict):
        return {key: each if key == "shape" else _with(number, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with(number, each) for each in value]
    return number if type(value) in {int, float} else value


@contextlib.asynccontextmanager
async def _warned() -> AsyncIterator[None]:
    """Fail if anything was warned of: as an error it could be taken for a failure of the model."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    assert [str(each.message) for each in found if issubclass(each.category, RuntimeWarning)] == []


@pytest.mark.parametrize("name", [*TABLES, *KINDS])
async def test_extreme_numbers(outbox: Path, tmp_path: Path, name: str) -> None:
    """Whatever a model takes, and by whichever call, it is answered, and no library warns of it."""
    make = TABLES[name][0] if name in TABLES else KINDS[name].make
    asked = 0
    async with serve(outbox, make(tmp_path / "model.onnx")) as here, _warned():
        described = contract(here)
        for method, path, operation in described.operations():
            if "repository" in path:
                continue
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                for number in _NUMBERS:
                    answer = await here.send(method, path, json=_with(number, example["value"]))
                    fine = answer.status in {200, 400, 422} or b"model failed" in answer.body.lower()
                    assert fine, (path, number, answer.body)
                    asked += 1
    assert asked
