#!/usr/bin/env python3
"""Writes docs/model-kinds.md: every kind of model of the tests' own zoo, served, with its call and its record.

python -m scripts.model_kinds
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support import bare_models as bare
from tests.support import tensor_models as tensors
from tests.support.server import predictions, serve

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).parents[1] / "docs" / "model-kinds.md"
_DIGITS = 4
_COMMON = ("prediction.job_id", "prediction.index", "prediction.stream.", "prediction.duration.", "prediction.batch.")
_OF_ALL = {"http.route", "event.name"}
HEAD = """\
# Kinds of models

For each kind of model this page shows what `model.toml` must have, a request, its answer, and its record.
`scripts/model_kinds.py` writes the page.
It makes each model with onnx alone, in the form that the usual converter or exporter writes.
Then it serves the model and sends one request.
[Convert from scikit-learn](models.md#convert-from-scikit-learn) shows how such a file is made.

Numbers have four digits here.
What every record has is left out: job id, index, number, durations, size of the batch, route ([record.md](record.md)).

| kind | `model.toml` besides name and version | task |
|---|---|---|
"""
NOTHING = "nothing"


class Kind(NamedTuple):
    """One kind of model, and a row or a request for it."""

    title: str
    make: Callable[[Path], Path]
    asked: Any
    """A row, or inputs by their names."""
    toml: str = ""
    """What `model.toml` has to say beside name and version; nothing: a bare file."""
    says: str = ""
    """The same, for the page."""


def _softmax(path: Path) -> Path:
    return bare.matrix(path, bare.INT64)


_ROW = [1.0, 2.5, -3.0]
_KEY = '[[features]]\nname = "order"\nrole = "key"\nsample = "A-1"\n'
_CHURN = {"city": "Bern", "plan": "a", "age": 40, "net income (€)": 1.5}
KINDS = (
    Kind("regression: one number a row", bare.price, _ROW),
    Kind("regression: several, in outputs with names (targets, quantiles)", bare.quantiles, _ROW),
    Kind("classification: probabilities in a matrix, of integers", _softmax, [1, 2, 0]),
    Kind(
        "classification: a ZipMap with any keys, as scikit-learn's converter writes by default",
        partial(bare.zipmap, classes=["low", "high", "mid"]),
        _ROW,
    ),
    Kind('classification: a column for each class (`zipmap="columns"`)', bare.columns, _ROW),
    Kind("classification: an input for each column, texts among them", bare.churn, _CHURN),
    Kind("classification: with missing values (an imputer, trees that take NaN)", bare.missing, [1.0, None, 3.0]),
    Kind("classification: the label alone", bare.label_only, _ROW),
    Kind("classification: logits, as PyTorch exports them", bare.logits, _ROW, 'activation = "softmax"\n'),
    Kind(
        "classification: one sigmoid, as Keras exports it",
        bare.sigmoid,
        _ROW,
        'activation = "sigmoid"\nlabels = ["stays", "leaves"]\n',
    ),
    Kind(
        "classification: two labels with a threshold",
        bare.sigmoid,
        [-0.5, 0.0, 0.0],
        'activation = "sigmoid"\nlabels = ["stays", "leaves"]\nthreshold = 0.3\n',
    ),
    Kind(
        "several labels at once",
        partial(bare.sigmoid, labels=3),
        _ROW,
        'multilabel = true\nlabels = ["urgent", "spam", "praise"]\n',
    ),
    Kind("clusters (KMeans): the nearest one and the distances", bare.clusters, _ROW),
    Kind("outliers (IsolationForest): 1 or -1, and a score", bare.isolation_forest, _ROW),
    Kind(
        "any of these with a key of the caller's", bare.price, ["A-1017", *_ROW], _KEY, 'a column with `role = "key"`'
    ),
    Kind("tensors: tokens with their mask", tensors.tokens, {"input_ids": [[3, 1, 2]], "attention_mask": [[1, 1, 0]]}),
    Kind("tensors: a state that the caller passes", tensors.state, {"x": [[1, 2, 3]], "h": [[[0.5, 0, 0]]]}),
    Kind("tensors: scalars", tensors.scalars, {"price": 100, "rate": 0.5, "years": 2}),
    Kind("tensors: no axis of rows", tensors.no_batch, {"x": [1, 2, 3]}),
    Kind("tensors: a fixed number of rows", tensors.fixed_batch, {"x": [[1, 2, 3]] * 4}),
)


def _rounded(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        return json.dumps(_rounded(json.loads(value)), ensure_ascii=False)
    return value


def _code(value: Any) -> str:  # noqa: ANN401 - JSON; a text stands as it is
    found = _rounded(value)
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|")


async def _served(kind: Kind, folder: Path) -> tuple[str, Any, Any, dict[str, Any]]:
    """Return the task, the body, the answer without its job id, and what only some records have."""
    path = kind.make(folder / "model" / "m.onnx")
    if kind.toml:
        (path.parent / "model.toml").write_text(f'name = "m"\nversion = "1"\n{kind.toml}', encoding="utf-8")
        path = path.parent
    table = isinstance(kind.asked, list) or kind.make is bare.churn
    body = {"data": [kind.asked]} if table else {"inputs": kind.asked}
    async with serve(folder / "outbox", path) as here:
        answer = await here.post("/predict", json=body)
        task = (await here.get("/metadata")).json["task"]
    if answer.status != 200:  # noqa: PLR2004 - HTTP's own
        raise ValueError(kind.title, answer.body)
    said = {name: value for name, value in answer.json.items() if name != "job_id" and value is not None}
    (record,) = predictions(folder / "outbox")
    own = {name: v for name, v in record.items() if not name.startswith(_COMMON) and name not in _OF_ALL}
    return task, body, said, own


async def page() -> str:
    """Return the page."""
    overview, parts = [HEAD], []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            task, body, said, own = await _served(kind, Path(folder))
        title = f"{kind.title[0].upper()}{kind.title[1:]}"
        says = kind.says or "; ".join(f"`{line}`" for line in kind.toml.splitlines()) or NOTHING
        overview.append(f"| {title} | {says} | {task} |\n")
        record = "<br>".join(f"`{name}` {_code(value)}" for name, value in own.items())
        parts.append(
            f"\n## {title}\n\n| | |\n|---|---|\n| `model.toml` | {says} |\n| `POST /predict` | {_code(body)} |\n"
            f"| answer | {_code(said)} |\n| record | {record} |\n"
        )
    return "".join([*overview, *parts])


if __name__ == "__main__":
    FILE.write_text(asyncio.run(page()), encoding="utf-8")
    sys.stdout.write(f"wrote {FILE.name}\n")
