"""`predictor check MODEL --rows`: a converted model beside what the original itself predicted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from predictor.__main__ import main
from tests.support import bare_models
from tests.support.bare_models import FLOAT, save
from tests.support.server import IRIS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Rows = list[dict[str, Any]]
CHURN: Rows = [
    {"city": "Bern", "plan": "a", "age": 40, "net income (€)": 1.5, "said": "leaves"},
    {"city": "Oslo", "plan": "b", "age": 7, "net income (€)": 0.0, "said": "stays"},
    {"city": "", "plan": "?", "age": 90, "net income (€)": -2.25, "said": "leaves"},
]
LIMIT = 0.1  # as a double; float32's is a little more


def split(folder: Path) -> Path:
    """Write a classifier that converts an original of doubles: above LIMIT it says yes."""
    nodes: list[Any] = [
        ("Greater", ["income", "limit"], ["above"], {}),
        ("Cast", ["above"], ["yes"], {"to": FLOAT}),
        ("Sub", ["one", "yes"], ["no"], {}),
        ("Concat", ["no", "yes"], ["p"], {"axis": 1}),
    ]
    constants = {"limit": np.array([LIMIT], np.float32), "one": np.array([1], np.float32)}
    save(folder / "m.onnx", nodes, {"income": (FLOAT, ["N", 1])}, {"p": (FLOAT, ["N", 2])}, constants)
    (folder / "model.toml").write_text('name = "split"\nversion = "1"\nlabels = ["no", "yes"]\n')
    return folder


def write(path: Path, rows: Rows) -> Path:
    """Write a table of whatever kind its name says."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = [*rows[0]]
        lines = [names, *([str("" if row[name] is None else row[name]) for name in names] for row in rows)]
        path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def check(model: Path, rows: Path, *expected: str, more: Sequence[str] = ()) -> int:
    """Run the verb."""
    columns = [argument for name in expected for argument in ("--expected", name)]
    return main(["check", str(model), "--rows", str(rows), *columns, *more])


def found(capsys: pytest.CaptureFixture[str], *arguments: Any, status: int = 0) -> dict[str, Any]:  # noqa: ANN401
    """Return what it prints for a machine."""
    assert check(*arguments, more=["--json"]) == status
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert result["equal"] is (status == 0)
    return result


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_labels_and_probabilities(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    """Columns of any type are read from each kind of table, and a label that changed is found with its row."""
    model = bare_models.churn(tmp_path / "churn.onnx")
    rows = [dict(row) for row in CHURN]
    rows[2]["said"] = "stays"
    result = found(capsys, model, write(tmp_path / f"rows{suffix}", CHURN), "said")
    assert (result["compared"], result["changed_labels"], result["largest_difference"]) == (3, 0, None)
    result = found(capsys, model, write(tmp_path / f"rows{suffix}", rows), "said", status=1)
    assert result["labels"] == [{"expected": "stays", "now": "leaves", "rows": 1}]
    (different,) = result["differences"]
    assert different["row"] == 2
    assert different["features"] == ["", "?", 90, -2.25]


def test_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The largest difference of a number is told with its row, and counts only beyond the tolerance."""
    model = bare_models.price(tmp_path / "price.onnx")
    rows: Rows = [{"x_0": 1.0, "x_1": 2.5, "x_2": at * 1.0, "price": 2.0 + at} for at in range(600)]
    rows[500]["price"] += 0.004
    rows[7]["price"] += 0.5
    path = write(tmp_path / "rows.parquet", rows)
    result = found(capsys, model, path, "price", status=1)
    assert (result["compared"], result["beyond_tolerance"], result["largest_difference_row"]) == (600, 1, 7)
    assert result["largest_difference"] == pytest.approx(0.5)
    assert [each["row"] for each in result["differences"]] == [7]
    assert check(model, path, "price", more=["--tolerance", "0.06"]) == 0
    out = capsys.readouterr().out
    assert "largest difference of a number: 0.5, in row 7" in out
    assert "0 rows beyond the tolerance of 0.06" in out


def test_a_float32_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A label that changed since a threshold lies between a number and its float32 is said to be that."""
    model = split(tmp_path / "split")
    values = [0.05, 0.1000000005, 0.2]  # of the second, float32's nearest is float32's 0.1
    rows: Rows = [{"income": value, "said": "yes" if value > LIMIT else "no"} for value in values]
    assert check(model, write(tmp_path / "rows.csv", rows), "said") == 1
    out = capsys.readouterr().out
    assert "1 of 3 labels changed\n  yes -> no: 1\n" in out
    assert "row 1: expected yes, now no (1, 0); [0.1000000005]" in out
    assert "income one float32 further gives what was expected" in out
    assert check(model, tmp_path / "rows.csv", "said", more=["--changed", "1"]) == 0


def test_numbers_of_several_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers come from several columns or from one with lists, in the model's order, with a label before them."""
    model = bare_models.quantiles(tmp_path / "q.onnx")
    rows: Rows = [{"x_0": 1.0, "x_1": 2.0, "x_2": 6.0, "low": 1.0, "mid": 3.0, "high": 6.0, "all": [1.0, 3.0, 6.0]}]
    path = write(tmp_path / "rows.parquet", rows)
    for columns in (("low", "mid", "high"), ("all",)):
        # What holds an expected number is no feature; what is left over is not used.
        assert found(capsys, model, path, *columns)["largest_difference"] == 0
    iris: Rows = [
        dict(zip(("sepal_length", "sepal_width", "petal_length", "petal_width"), (6.7, 3.0, 5.2, 2.3), strict=True))
        | {"label": "virginica", "p": [0.0, 0.0, 1.0]}
    ]
    result = found(capsys, IRIS, write(tmp_path / "iris.jsonl", iris), "label", "p", status=1)
    assert (result["changed_labels"], result["beyond_tolerance"]) == (0, 1)
    assert result["differences"][0]["expected"] == {"label": "virginica", "numbers": [0.0, 0.0, 1.0]}


@pytest.mark.parametrize("said", [["0", "1"], [0, 1], [0.0, 1.0], [False, True]])
def test_labels_by_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str], said: list[Any]) -> None:
    """An original that calls its classes 0 and 1, or false and true, is compared by their places."""
    rows: Rows = [{"income": value, "said": label} for value, label in zip((0.0, 0.5), said, strict=True)]
    assert found(capsys, split(tmp_path / "m"), write(tmp_path / "rows.jsonl", rows), "said")["compared"] == 2


def test_columns_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns that have no feature's name are taken in their order, which is said."""
    model = bare_models.price(tmp_path / "price.onnx")
    path = write(tmp_path / "rows.csv", [{"a": 1, "b": 2, "c": 3, "y": 5.0}])
    assert check(model, path, "y") == 0
    assert "no column has the name of a feature, so they are taken in their order" in capsys.readouterr().err


def test_rows_that_cannot_be_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the model cannot take is refused with the value and the way out, and what has no prediction is counted."""
    model = bare_models.churn(tmp_path / "churn.onnx")
    odd: list[dict[str, Any]] = [
        {"city": 3},
        {"age": None},
        {"age": 1.5},
        {"net income (€)": "1,5"},
        {"net income (€)": 1e39},
        {"said": None},
    ]
    result = found(capsys, model, write(tmp_path / "rows.jsonl", [CHURN[0] | each for each in odd]), "said", status=1)
    assert (result["compared"], result["without_expected"], result["refused"]) == (0, 1, 5)
    assert [each["reason"] for each in result["refusals"]] == [
        "city is 3, wanted a text",
        "age is missing",
        "age is 1.5, wanted a whole number that is an INT64",
        "net income (€) is '1,5', wanted a number with a point, not a comma",
        "net income (€) is 1e+39, which is not finite as FP32",
    ]


def test_missing_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing value is taken where the model takes it: null, NaN, or nothing between two commas."""
    model = bare_models.missing(tmp_path / "m.onnx")
    rows: Rows = [{"x_0": 1.0, "x_1": None, "x_2": 3.0, "said": 1}]
    for suffix in (".parquet", ".csv", ".jsonl"):
        assert found(capsys, model, write(tmp_path / f"rows{suffix}", rows), "said")["compared"] == 1
    rows[0]["x_1"] = float("nan")
    assert found(capsys, model, write(tmp_path / "nan.parquet", rows), "said")["compared"] == 1
    other = bare_models.price(tmp_path / "price.onnx")
    result = found(capsys, other, tmp_path / "nan.parquet", "said", status=1)
    assert result["refusals"][0]["reason"] == "x_1 is missing; missing = true takes it as NaN"


def test_the_key_and_the_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column of the key is no feature, and labels are compared as the threshold makes them."""
    model = split(tmp_path / "split")
    key = '[[features]]\nname = "order"\nrole = "key"\nsample = "A-1"\n'
    rows: Rows = [{"order": "A-7", "income": value, "said": "no"} for value in (0.0, 0.5)]
    with (model / "model.toml").open("a") as toml:
        toml.write(key)
    path = write(tmp_path / "rows.csv", rows)
    assert found(capsys, model, path, "said", status=1)["changed_labels"] == 1
    toml_text = (model / "model.toml").read_text()
    (model / "model.toml").write_text(f"threshold = 0.9\n{toml_text}")
    rows[1]["said"] = "yes"
    assert found(capsys, model, write(path, rows), "said")["changed_labels"] == 0


def test_rows_on_which_the_model_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row without a finite answer has failed, and its batch-mates are compared."""
    model = bare_models.price(tmp_path / "price.onnx")
    rows: Rows = [{"x_0": 3e38, "x_1": 0, "x_2": 3e38, "y": 1.0}, {"x_0": 1, "x_1": 0, "x_2": 0, "y": 2.0}]
    result = found(capsys, model, write(tmp_path / "rows.jsonl", rows), "y", status=1)
    assert (result["compared"], result["failed"], result["largest_difference"]) == (2, 1, 0.0)
    assert result["differences"][0]["now"] is None


@pytest.mark.parametrize(
    ("make", "row", "expected", "sentence"),
    [
        (bare_models.price, {"x_0": 1, "x_1": 1, "y": 1}, ["y"], "there is no column 'x_2', only 'x_0', 'x_1'"),
        (bare_models.price, {"x_0": 1, "x_1": 1, "x_2": 1}, ["y"], "has no column 'y', only 'x_0', 'x_1', 'x_2'"),
        (bare_models.price, {"x_0": 1, "x_1": 1, "x_2": 1, "y": "a"}, ["y"], "'a' is expected, wanted a number"),
        (
            bare_models.quantiles,
            {"x_0": 1, "x_1": 1, "x_2": 1, "y": 1},
            ["y"],
            "1 values are expected of a row, and the model gives 3 numbers",
        ),
        (
            bare_models.churn,
            CHURN[0] | {"said": "flees"},
            ["said"],
            "'flees' is expected, which is not one of the labels",
        ),
        (bare_models.churn, CHURN[0] | {"said": 0.7}, ["said"], "0.7 is expected, which is not one of the labels"),
    ],
)
def test_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], Path],
    row: dict[str, Any],
    expected: list[str],
    sentence: str,
) -> None:
    """What cannot be compared is one sentence and status 2."""
    assert check(make(tmp_path / "m.onnx"), write(tmp_path / "rows.jsonl", [row]), *expected) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("rows.txt", "", "is not a table of rows; wanted a name that ends in .parquet, .csv, .jsonl"),
        ("rows.csv", "x_0,y\n1,2,3\n", "line 2: it has not as many values as the first line has names"),
        ("rows.csv", "x_0,y\n", "has no rows"),
        ("rows.jsonl", "[1]\n", "line 1: Expected `object`, got `array`; wanted an object"),
        ("rows.parquet", "PAR", "cannot be read"),
        ("none.csv", None, "none.csv: No such file or directory"),
    ],
)
def test_files_that_are_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, sentence: str
) -> None:
    """A file that is no table is one sentence and status 2."""
    if text is not None:
        (tmp_path / name).write_text(text)
    assert check(bare_models.price(tmp_path / "m.onnx"), tmp_path / name, "y") == 2
    assert sentence in capsys.readouterr().err


def test_one_model_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several versions the highest is checked; several models are refused with their names."""
    bare_models.logits(tmp_path / "v" / "1" / "model.onnx")
    bare_models.price(tmp_path / "v" / "2" / "model.onnx")
    path = write(tmp_path / "rows.jsonl", [{"x_0": 1, "x_1": 1, "x_2": 1, "y": 3.0}])
    assert found(capsys, tmp_path / "v", path, "y")["version"] == "2"
    bare_models.price(tmp_path / "several" / "a.onnx")
    bare_models.price(tmp_path / "several" / "b.onnx")
    assert check(tmp_path / "several", path, "y") == 2
    assert "has several models; wanted one of them" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "v"), "--expected", "y"]) == 2
    assert "--rows and --expected belong together" in capsys.readouterr().err
