"""What `[session]` and `[batching]` of model.toml say reaches ONNX Runtime and the batches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from predictor.inference.model import ModelError, load
from predictor.inference.toml_table import DescriptionError
from predictor.serving import pipeline
from predictor.serving.batcher import Batcher
from tests.support import bare_models, model_folders
from tests.support.bare_models import FLOAT, STRING, save
from tests.support.server import predictions, serve

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'name = "m"\nversion = "1"\n'


def folder(path: Path, toml: str) -> Path:
    """Write a regressor with these tables."""
    bare_models.price(path / "m.onnx")
    (path / "model.toml").write_text(HEAD + toml)
    return path


def test_every_key_of_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, execution mode, optimization, arena and providers are the session's own options."""
    seen: list[tuple[Any, Any]] = []
    open_session = ort.InferenceSession

    def noting(content: bytes, options: Any, providers: list[str]) -> Any:  # noqa: ANN401 - the runtime's own
        seen.append((options, providers))
        return open_session(content, options, providers=providers)

    monkeypatch.setattr(ort, "InferenceSession", noting)
    load(folder(tmp_path / "plain", ""))
    toml = 'threads = 3\nexecution = "parallel"\noptimization = "basic"\narena = false\n'
    load(folder(tmp_path / "said", f'[session]\n{toml}providers = ["CPUExecutionProvider"]\n'))
    (plain, _), (said, providers) = seen
    modes, levels = ort.ExecutionMode, ort.GraphOptimizationLevel
    assert (plain.intra_op_num_threads, plain.inter_op_num_threads) == (1, 1)
    assert (plain.execution_mode, plain.graph_optimization_level) == (modes.ORT_SEQUENTIAL, levels.ORT_ENABLE_ALL)
    assert plain.enable_cpu_mem_arena
    assert (said.intra_op_num_threads, said.inter_op_num_threads) == (3, 3)
    assert (said.execution_mode, said.graph_optimization_level) == (modes.ORT_PARALLEL, levels.ORT_ENABLE_BASIC)
    assert not said.enable_cpu_mem_arena
    assert providers == ["CPUExecutionProvider"]


def shouting(path: Path) -> Path:
    """Write a regressor with an operator of onnxruntime-extensions: how long a text is, in upper case or not."""
    nodes: list[Any] = [
        ("StringUpper", ["text"], ["upper"], {"domain": "ai.onnx.contrib"}),
        ("StringLength", ["upper"], ["length"], {"domain": "ai.onnx.contrib"}),
        ("Cast", ["length"], ["size"], {"to": FLOAT}),
    ]
    save(path / "m.onnx", nodes, {"text": (STRING, ["N"])}, {"size": (FLOAT, ["N"])})
    model = onnx.load(path / "m.onnx")
    model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))
    onnx.save(model, path / "m.onnx")
    (path / "model.toml").write_text(f"{HEAD}[session]\nextensions = true\n")
    return path


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="onnxruntime-extensions has no wheel for it yet")
async def test_a_model_with_operators_of_the_extensions(outbox: Path, tmp_path: Path) -> None:
    """With `extensions = true` a model with operators of onnxruntime-extensions is served, and logged as others are."""
    rows = [["Bern"], [""], ["Zürich"]]
    async with serve(outbox, shouting(tmp_path / "m")) as here:
        answer = (await here.post("/predict/batch", json={"data": rows})).json
    lengths = [each["prediction"][0] for each in answer["predictions"]]
    assert lengths[:2] == [4.0, 0.0]
    assert lengths[2] in {6.0, 7.0}, "characters or bytes, as that operator counts"
    assert [each["prediction.value"] for each in predictions(outbox)] == lengths


def test_without_the_extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key the refusal names it, and without the package the command that installs it."""
    path = shouting(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    with pytest.raises(ModelError, match="-m pip install 'onnxruntime-extensions"):
        load(path)
    (path / "model.toml").write_text(HEAD)
    with pytest.raises(ModelError, match=r"say extensions = true below \[session\]"):
        load(path)


async def test_rows_and_wait_of_the_batching(outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rows` and `wait` reach the batches; rows that run one by one wait for no company."""
    seen: list[tuple[int, float]] = []

    class Noting(Batcher[Any, Any]):
        def __init__(self, *parts: Any, max_rows: int, wait: float, **more: Any) -> None:  # noqa: ANN401
            seen.append((max_rows, wait))
            super().__init__(*parts, max_rows=max_rows, wait=wait, **more)

    monkeypatch.setattr(pipeline, "Batcher", Noting)
    one_by_one = model_folders.quantized(tmp_path / "q")
    with (one_by_one / "model.toml").open("a") as toml:
        toml.write("\n[batching]\nwait = 0.25\n")
    for path in (folder(tmp_path / "m", "[batching]\nrows = 2\nwait = 0.25\n"), folder(tmp_path / "n", ""), one_by_one):
        async with serve(outbox, path) as here:
            assert (await here.get("/predict/test")).status == 200
    assert seen == [(2, 0.25), (256, 0.0), (256, 0.0)]


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[session]\nextensions = 1", "session.extensions is 1; wanted true or false"),
        ("[batching]\nwait = 2", "batching.wait is 2; wanted seconds from 0 to 1"),
        ("[batching]\nwait = -0.1", "batching.wait is -0.1; wanted seconds from 0 to 1"),
        ('[batching]\nwait = "5ms"', "batching.wait is '5ms'; wanted seconds from 0 to 1"),
        ("[batching]\nwait = true", "batching.wait is True; wanted seconds from 0 to 1"),
        ("[batching]\nwait = nan", "batching.wait is nan; wanted seconds from 0 to 1"),
    ],
)
def test_what_they_cannot_be(tmp_path: Path, toml: str, sentence: str) -> None:
    """A value of these tables that cannot be is refused with its place and what was wanted."""
    with pytest.raises(DescriptionError, match=sentence):
        load(folder(tmp_path / "m", toml))
