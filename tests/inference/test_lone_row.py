"""`[batching] inline`: taken of a model that is measured to be fast enough when it is loaded, and refused of others."""

from __future__ import annotations

import asyncio
import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

from predictor.inference import lone_row
from predictor.inference.lone_row import slowest
from predictor.inference.model import Model, ModelError, load
from predictor.inference.toml_table import DescriptionError
from tests.support import bare_models
from tests.support.bare_models import BOOL, FLOAT, ROWS, save
from tests.support.server import ROOT, ROW, predictions, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = 'name = "m"\nversion = "1"\n'
MODEL = ROOT / "models" / "iris"
FAR = [1000.0, 1000.0, 1000.0, 1000.0]


def _folder(path: Path, toml: str, write: Callable[[Path], object] = bare_models.price) -> Path:
    path.mkdir(exist_ok=True)
    write(path / "m.onnx")
    (path / "model.toml").write_text(HEAD + toml)
    return path


def _iris(path: Path, inline: str = "1000us") -> Path:
    shutil.copytree(MODEL, path)
    with (path / "model.toml").open("a") as toml:
        toml.write(f'\n[batching]\ninline = "{inline}"\n')
    return path


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what says how long the slowest row takes, whatever this machine is like."""
    return lambda seconds: monkeypatch.setattr(lone_row, "slowest", lambda *_: seconds)


def test_a_fast_model_says_how_fast(tmp_path: Path, takes: Callable[[float], None]) -> None:
    """What was measured and what follows is one sentence of the start."""
    takes(17e-6)
    model = load(_iris(tmp_path / "m", "50us"))
    assert model.description.batch_inline == 50e-6
    assert "a lone row takes up to 17us and runs on the event loop" in model.notes


def test_without_the_key_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that does not ask for it runs in threads, and its start takes no longer."""
    monkeypatch.delattr(lone_row, "slowest")
    assert load(MODEL).description.batch_inline == 0


def test_a_slow_model_is_refused(tmp_path: Path, takes: Callable[[float], None]) -> None:
    """A model that takes longer than it may does not start: the sentence has both times."""
    takes(51e-6)
    with pytest.raises(ModelError, match=r'm: \[batching\] inline = "50us", but a lone row takes up to 51us here'):
        load(_iris(tmp_path / "m", "50us"))


def _branching(path: Path) -> Path:
    """Write a regressor that computes one of two things."""
    value = helper.make_tensor_value_info("chosen", FLOAT, ["N", 1])
    one, other = (
        helper.make_graph([helper.make_node(operator, ["first"], ["chosen"])], operator, [], [value])
        for operator in ("Identity", "Neg")
    )
    nodes: list[Any] = [
        ("MatMul", ["x", "w"], ["first"], {}),
        ("ReduceSum", ["x"], ["all"], {"keepdims": 0}),
        ("Cast", ["all"], ["yes"], {"to": BOOL}),
        ("If", ["yes"], ["price"], {"then_branch": one, "else_branch": other}),
    ]
    return save(path, nodes, ROWS, {"price": (FLOAT, ["N", 1])}, {"w": np.ones((3, 1), np.float32)})


@pytest.mark.parametrize(
    ("write", "toml", "reason"),
    [
        (bare_models.price, "[session]\nthreads = 2\n", "only with one thread, the CPU and no extensions"),
        (bare_models.churn, "", "only of rows whose features are all floats"),
        (_branching, "", "there is a loop, a branch or a function in the graph"),
    ],
    ids=["threads", "texts", "branch"],
)
def test_a_model_whose_time_is_not_bounded_is_refused(
    tmp_path: Path, takes: Callable[[float], None], write: Callable[[Path], object], toml: str, reason: str
) -> None:
    """A few rows say nothing of the time of others where threads, texts or the graph may make it another."""
    takes(1e-6)
    with pytest.raises(ModelError, match=reason):
        load(_folder(tmp_path / "m", toml + '[batching]\ninline = "1000us"\n', write))


def test_a_model_of_tensors_is_refused(tmp_path: Path) -> None:
    """Tensors may be of any size."""
    with pytest.raises(ModelError, match="inline is for rows of floats, and it takes tensors"):
        load(_folder(tmp_path / "m", 'task = "tensors"\n[batching]\ninline = "50us"\n'))


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("inline = 50", "batching.inline is 50; wanted a time from"),
        ('inline = "50"', "batching.inline is '50'; wanted a time from"),
        ('inline = "0us"', 'batching.inline is \'0us\'; wanted a time from "1us" to "1000us"'),
        ('inline = "1001us"', "batching.inline is '1001us'; wanted a time from"),
        ('inline = "5ms"', "batching.inline is '5ms'; wanted a time from"),
        ('wait = 0.1\ninline = "50us"', "batching.inline is '50us'; wanted no wait with it"),
    ],
)
def test_what_it_cannot_be(tmp_path: Path, toml: str, sentence: str) -> None:
    """Another value is refused with its place and what was wanted."""
    with pytest.raises(DescriptionError) as raised:
        load(_folder(tmp_path / "m", f"[batching]\n{toml}\n"))
    assert sentence in str(raised.value)


def test_the_slowest_row_counts_by_its_fastest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of the machine makes no row slow, a row that is always slow does, and one that fails says nothing."""
    durations = {1: [9, 1, 2, 3, 4], 2: [5, 5, 4, 6, 7], 3: [], 4: [1, 1, 1, 1, 1]}
    now = 0.0

    def run(rows: list[list[float]]) -> None:
        nonlocal now
        left = durations[int(rows[0][0])]
        if not left:
            raise ValueError
        now += left.pop(0)

    monkeypatch.setattr(lone_row, "time", SimpleNamespace(perf_counter=lambda: now))
    assert slowest(run, [[float(number)] for number in durations]) == 4


async def test_a_lone_row_needs_no_thread_and_its_record_is_the_same(
    outbox: Path, tmp_path: Path, takes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lone rows run on the loop, rows together in a thread; answers, verdicts of the detector and order are as ever."""
    takes(17e-6)
    where: list[tuple[int, bool]] = []
    run = Model.run

    def noting(self: Model, rows: list[list[float]]) -> Any:  # noqa: ANN401 - the model's own
        where.append((len(rows), threading.current_thread() is threading.main_thread()))
        return run(self, rows)

    async with serve(outbox, _iris(tmp_path / "m")) as here:
        monkeypatch.setattr(Model, "run", noting)
        one = await here.post("/predict", json={"data": [ROW]})
        far = await here.post("/predict", json={"data": [FAR]})
        wrong = await here.post("/predict", json={"data": [[1]]})
        several = await here.post("/predict/batch", json={"data": [ROW, FAR]})
        await asyncio.gather(*(here.post("/predict", json={"data": [ROW]}) for _ in range(3)))
    assert [one.status, far.status, wrong.status, several.status] == [200, 200, 422, 200]
    assert [one.json["is_outlier"], far.json["is_outlier"]] == [False, True]
    assert where[:3] == [(1, True), (1, True), (2, False)]
    assert several.json["predictions"][0]["prediction"] == one.json["prediction"]
    logged = predictions(outbox)
    assert [each["prediction.stream.sequence"] for each in logged] == sorted(
        each["prediction.stream.sequence"] for each in logged
    )
    assert [each["prediction.job_id"] for each in logged[:2]] == [one.json["job_id"], far.json["job_id"]]
    assert [each.get("prediction.outlier") for each in logged[:3]] == [False, True, None]
    assert len(logged) == 8


async def test_a_failing_lone_row_is_answered_and_recorded(
    outbox: Path, tmp_path: Path, takes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that raises on the loop is a 500 with its record, and the next row is predicted."""
    takes(17e-6)
    run, left = Model.run, [1]

    def failing(self: Model, rows: list[list[float]]) -> Any:  # noqa: ANN401 - the model's own
        if left:
            left.pop()
            raise ValueError
        return run(self, rows)

    async with serve(outbox, _iris(tmp_path / "m")) as here:
        monkeypatch.setattr(Model, "run", failing)
        answers = [await here.post("/predict", json={"data": [ROW]}) for _ in range(2)]
    assert [each.status for each in answers] == [500, 200]
    assert [each.get("error.type") for each in predictions(outbox)] == ["model-failed", None]
