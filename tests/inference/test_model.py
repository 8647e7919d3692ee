"""Model folders: what loads gives the right numbers, whatever its shape and whoever shares the batch."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from predictor.inference.model import Model, Outputs, load
from predictor.inference.onnx_session import Session
from tests.support import model_folders
from tests.support.onnx_graphs import Node, detector, graph, identity, tensor, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from predictor.inference.onnx_session import Floats

IRIS = Path(__file__).parents[2] / "models" / "iris"


@pytest.fixture(scope="module")
def iris() -> Model:
    """The model that comes with the project."""
    return load(IRIS)


def rows(*values: list[float]) -> NDArray[np.float32]:
    """Return float32 rows."""
    return np.array(values, np.float32)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the probabilities of rows of logits."""
    powers = np.exp(np.asarray(logits, np.float64))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def bits(outputs: Outputs, row: int) -> tuple[bytes | None, ...]:
    """Return all that was given for one row, bit for bit."""
    return tuple(None if part is None else part[row].tobytes() for part in outputs[:5])


def test_iris_tells_the_species_and_outliers(iris: Model) -> None:
    """The committed model knows a flower of each species, and that a row of zeros is none."""
    outputs = iris.run(rows([5.1, 3.5, 1.4, 0.2], [6.1, 2.8, 4.0, 1.3], [6.7, 3.0, 5.2, 2.3], [0, 0, 0, 0]))
    labels = [iris.description.labels[best] for best in outputs.probabilities.argmax(axis=1)]
    assert labels[:3] == ["setosa", "versicolor", "virginica"]
    assert outputs.outliers is not None
    assert outputs.scores is not None
    assert outputs.outliers.tolist() == [False, False, False, True]
    assert (outputs.scores < 0).tolist() == outputs.outliers.tolist()
    assert outputs.probabilities.dtype == outputs.scores.dtype == np.float32
    assert outputs.probabilities.shape == (4, 3)
    assert outputs.scores.shape == (4,)


def test_the_digest_is_what_sha256sum_gives() -> None:
    """Anyone can work out the digest from the files with sha256sum."""
    names = ["classifier.onnx", "model.toml", "outlier.onnx"]
    lines = "".join(f"{hashlib.sha256((IRIS / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    assert load(IRIS).digest == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_a_changed_threshold_is_another_digest(tmp_path: Path) -> None:
    """What decides on outliers is in the digest too."""
    folder = write(tmp_path, identity(), detector=detector())
    before = load(folder).digest
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("threshold = 0.5", "threshold = 0.25"))
    assert load(folder).digest != before


@pytest.mark.parametrize("width", [7, 40])
def test_another_width_without_detector(tmp_path: Path, width: int) -> None:
    """A model of any width works, and without a detector nothing is said of outliers."""
    outputs = load(model_folders.wide(tmp_path, width)).run(np.ones((3, width), np.float32))
    assert outputs.probabilities.shape == (3, 2)
    assert outputs.outliers is None
    assert outputs.scores is None


@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("fixed", [1, "N"])
def test_maps_come_in_the_order_of_the_labels(tmp_path: Path, *, strings: bool, fixed: int | str) -> None:
    """Sequences of maps with numbers or labels as keys, one row at a time or many, give the labels' probabilities."""
    outputs = load(model_folders.zipmap(tmp_path, strings=strings, rows=fixed)).run(rows([1, 0], [0, 1], [0.5, -1]))
    expected = softmax(np.array([[1, 0, -1], [0, 2, 0.5], [0.5, -2, -1]]))
    if strings:
        expected = expected[:, [1, 0, 2]]  # the file has low, high, middle; the description high, low, middle
    assert outputs.probabilities.dtype == np.float32
    np.testing.assert_allclose(outputs.probabilities, expected, rtol=1e-5)


def test_a_score_below_the_threshold_is_an_outlier(tmp_path: Path) -> None:
    """The threshold itself is no outlier; the scores come as the file gives them."""
    model = load(write(tmp_path, identity(), detector=detector()))
    outputs = model.run(rows([0.5, 0], [np.nextafter(np.float32(0.5), np.float32(0)), 0], [7, 0]))
    assert outputs.outliers is not None
    assert outputs.scores is not None
    assert outputs.outliers.tolist() == [False, True, False]
    assert outputs.scores[2] == 7


FLOWERS = np.random.default_rng(0).uniform(0, 8, (256, 4)).astype(np.float32)


@settings(deadline=None, derandomize=True)  # the machine may be busy; the same cuts in every run
@example(cuts=set(range(1, len(FLOWERS))))
@given(cuts=st.sets(st.integers(1, len(FLOWERS) - 1)))
def test_who_shares_a_batch_changes_nothing(iris: Model, cuts: set[int]) -> None:
    """A row gets the same answer bit for bit alone, in any batch and at any place in it."""
    parts = [iris.run(batch) for batch in np.split(FLOWERS, sorted(cuts))]
    found = [bits(part, row) for part in parts for row in range(len(part.probabilities))]
    whole = iris.run(FLOWERS)
    assert found == [bits(whole, row) for row in range(len(FLOWERS))]


def test_a_lone_row_runs_beside_a_copy_only_where_it_needs_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone row runs once through iris's classifier, which gives it the same bits, and twice through its detector."""
    ran: list[tuple[str, int]] = []
    asked_for = Session.asked_for

    def counted(self: Session, outputs: Sequence[str]) -> Callable[[Floats], list[Any]]:
        run = asked_for(self, outputs)

        def once(rows: Floats) -> list[Any]:
            ran.append((self.file, len(rows)))
            return run(rows)

        return once

    monkeypatch.setattr(Session, "asked_for", counted)
    model = load(IRIS)
    ran.clear()
    model.run(FLOWERS[:1])
    assert ran == [("classifier.onnx", 1), ("outlier.onnx", 2)]


def test_one_caller_does_not_change_anothers_answer(tmp_path: Path) -> None:
    """Where the scale is taken over the batch rows run one by one: far rows beside a row change none of its bits."""
    model = load(model_folders.quantized(tmp_path))
    near, far = rows([0.5, 1.5], [0.25, 0.75]), rows([1e4, -1e4], [3, -700])
    alone = [bits(model.run(near[at : at + 1]), 0) for at in range(2)]
    together = model.run(np.concatenate((near[:1], far, near[1:])))
    assert [bits(together, 0), bits(together, 3)] == alone
    assert not model.together
    assert model.notes == (
        "classifier.onnx: a row's numbers change with its neighbours, so rows run one by one",
        "outlier.onnx: a row's numbers change with its neighbours, so rows run one by one",
    )


def test_a_file_for_one_row_says_so(tmp_path: Path) -> None:
    """A file that takes one row at a time is not said to do otherwise."""
    model = load(model_folders.zipmap(tmp_path))
    assert not model.together
    assert model.notes == ("classifier.onnx: it takes one row at a time, so rows run one by one",)


def test_a_shape_that_only_one_row_fits_runs_one_by_one(tmp_path: Path) -> None:
    """A file that claims to take any number of rows, and fails on more than one, is served one by one."""
    nodes: list[Node] = [("Reshape", ["rows", "one"], ["flat"], {}), ("Softmax", ["flat"], ["p"], {"axis": 1})]
    folder = write(tmp_path, graph(nodes, {"one": np.array([1, 2])}, {"p": tensor(["N", 2])}, ["N", 2]))
    model = load(folder)
    assert not model.together
    np.testing.assert_allclose(model.run(rows([1, 2], [3, 4])).probabilities, softmax(rows([1, 2], [3, 4])), rtol=1e-6)


def test_threads_share_a_model(iris: Model) -> None:
    """Batches that run at the same time get their own answers."""
    batches = [np.full((1 + seed % 5, 4), seed / 10, np.float32) for seed in range(80)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(iris.run, batches))
    for batch, outputs in zip(batches, together, strict=True):
        alone = iris.run(batch)
        assert [bits(outputs, row) for row in range(len(batch))] == [bits(alone, row) for row in range(len(batch))]


def test_a_run_that_fails_raises(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the runtime cannot do raises its reason, which it does not print itself; the next run is fine."""
    model = load(model_folders.failing(tmp_path))
    with pytest.raises(Exception, match="out of data bounds"):
        model.run(rows([1, 2], [2 * model_folders.FAILS_ABOVE, 2]))
    assert model.run(rows([1, 2])).probabilities.shape == (1, 2)
    assert capfd.readouterr() == ("", "")


def test_nan_stays_in_its_row(tmp_path: Path) -> None:
    """A number that is not finite is handed on for its row and spoils no other."""
    outputs = load(model_folders.giving_nan(tmp_path)).run(rows([1, 2], [2 * model_folders.NAN_BELOW, 2], [1, 2]))
    assert np.isnan(outputs.probabilities).tolist() == [[False, False], [True, True], [False, False]]


def test_a_slow_model_is_a_model(tmp_path: Path) -> None:
    """The model that other tests wait for gives probabilities like any other."""
    np.testing.assert_allclose(
        load(model_folders.slow(tmp_path, rounds=2)).run(rows([1, 2])).probabilities, softmax(rows([1, 2])), rtol=1e-5
    )
