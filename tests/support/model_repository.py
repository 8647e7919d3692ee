"""Repositories of models whose versions answer differently, so that each answer tells by whom it was given."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import numpy as np

from predictor.api.dataplane import InferRequest, Pending
from predictor.server import app
from tests.support.bare_models import FLOAT, ROWS, save

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.api.dataplane import Reply
    from tests.support.onnx_graphs import Node
    from tests.support.server import Here

ROW = [1.0, 2.0, 3.0]
"""A row that every one of these models takes."""


def constant(path: Path, value: float) -> Path:
    """Write a regressor of three features that adds `value` to their sum, over the file at once as a person should."""
    weights, bias = np.ones((3, 1), np.float32), np.array([value], np.float32)
    nodes: list[Node] = [("MatMul", ["x", "w"], ["sum"], {}), ("Add", ["sum", "b"], ["y"], {})]
    made = save(path.with_suffix(".new"), nodes, ROWS, {"y": (FLOAT, ["N", 1])}, {"w": weights, "b": bias})
    made.replace(path)
    return path


def answer(value: float) -> float:
    """Return what the model that adds `value` says of `ROW`."""
    return sum(ROW) + value


def version(root: Path, model: str, number: int, value: float | None) -> Path:
    """Put a version of a model into a repository, whole or not at all; None is one that cannot be loaded."""
    folder = root / model / str(number)
    new = root / f".{model}-{number}"
    new.mkdir(parents=True)
    if value is None:
        (new / "model.onnx").write_bytes(b"no model")
    else:
        constant(new / "model.onnx", value)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.rename(root / f".old-{model}-{number}")
        new.rename(folder)
        shutil.rmtree(root / f".old-{model}-{number}")
    else:
        new.rename(folder)
    return folder


async def ask(here: Here, model: str | None, number: str | None = None) -> float:
    """Return what a version says of `ROW`, asked through the data plane as a door asks; raises Problem."""
    plane, catalog = here.app[app.PLANE], here.app[app.MODELS].catalog
    served = catalog.find(model, number)
    if served is None:
        raise catalog.unknown(model, number)
    context = plane.open({}, "POST", "/test", None, served)
    reply: Reply | Pending = plane.begin(InferRequest([ROW]), context)
    if isinstance(reply, Pending):
        settled: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        reply.callback = settled.set_result
        reply = await settled
    if reply.job is None:
        raise reply.problem or AssertionError
    (values,) = [prediction.values for prediction in reply.job.predictions]
    assert values is not None
    return values[0]
