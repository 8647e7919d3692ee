"""Tensors in the log, read: listed, shown, exported as lists, and replayed bit for bit."""

from __future__ import annotations

import asyncio
import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyarrow import parquet

from predictor.reader import cli
from predictor.reader.tensors import tensors_of
from tests.support import bare_models, tensor_models
from tests.support.server import serve
from tests.support.tensor_models import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


async def fill(outbox: Path, path: Path, requests: Sequence[dict[str, NDArray[Any]]], **settings: str) -> None:
    """Serve requests, all at once."""
    async with serve(outbox, path, **settings) as here:
        bodies = [{"inputs": {name: each.tolist() for name, each in request.items()}} for request in requests]
        await asyncio.gather(*[here.post("/predict", json=each, raise_for_status=True) for each in bodies])


def run(capsys: pytest.CaptureFixture[str], verb: str, outbox: Path, *arguments: str, status: int = 0) -> str:
    """Return what a verb prints."""
    capsys.readouterr()
    assert cli.main([verb, *arguments, "--from", str(outbox)]) == status
    return capsys.readouterr().out


def edit(outbox: Path, old: str, new: str) -> None:
    """Replace the first place of a text in an outbox."""
    (path,) = outbox.glob("v1/*/logs/*.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("kind", KINDS)
async def test_replayed(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """What is wholly in the log gives the same bits again, whoever shared its batch."""
    path = KINDS[kind].make(tmp_path / "m.onnx")
    await fill(outbox, path, [KINDS[kind].request(1 + at % 3) for at in range(12)], PREDICTOR_RECORD_BYTES="1MiB")
    found = json.loads(run(capsys, "replay", outbox, "--model", str(path), "--json"))
    assert (found["equal"], found["replayed"]) == (True, 12)
    assert "complete" in run(capsys, "verify", outbox)


async def test_replayed_through_another_model(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed number is found, also where the record has only a hash; cut inputs are counted, not guessed."""
    path = tensor_models.influence(tmp_path / "m.onnx")
    small, large = ({"x": np.ones((rows, 2, 2), np.float32)} for rows in (1, 200))
    await fill(outbox, path, [small, small, large], PREDICTOR_RECORD_BYTES="1KiB")
    found = json.loads(run(capsys, "replay", outbox, "--model", str(path), "--json"))
    assert (found["predictions"], found["replayed"], found["equal"]) == (3, 2, True)
    assert found["not_replayed"] == {"truncated": 1}
    edit(outbox, "[0.0,0.0,0.0,0.0]", "[0.0,0.5,0.0,0.0]")
    found = json.loads(run(capsys, "replay", outbox, "--model", str(path), "--json", status=1))
    assert found["equal"] is False
    edit(outbox, '\\"shape\\":[1,2,2]', '\\"shape\\":[1,2,9]')
    found = json.loads(run(capsys, "replay", outbox, "--model", str(path), "--json"))
    assert found["not_replayed"] == {"truncated": 1, "unreadable": 1}
    other = bare_models.price(tmp_path / "price.onnx")
    assert cli.main(["replay", "--from", str(outbox), "--model", str(other)]) == 2


async def test_listed_and_shown(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request is one line that says how many rows it has, and is shown with its tensors."""
    await fill(outbox, tensor_models.several(tmp_path / "m.onnx"), [KINDS["several"].request(2)])
    (listed,) = [json.loads(line) for line in run(capsys, "list", outbox, "--json").splitlines()]
    assert listed["attributes"]["prediction.rows"] == 2
    assert "2 rows" in run(capsys, "list", outbox)
    shown = run(capsys, "show", outbox, listed["attributes"]["prediction.job_id"])
    assert '"name":"words","datatype":"BYTES","shape":[2,2]' in shown


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
async def test_exported(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    """Tensors are lists of their values with a list of their shape, in each format; large ones are shapes."""
    request = KINDS["several"].request(3)
    await fill(outbox, tensor_models.several(tmp_path / "m.onnx"), [request])
    file = tmp_path / f"out.{ending}"
    run(capsys, "export", outbox, str(file))
    row: dict[str, Any]
    if ending == "parquet":
        (row,) = parquet.read_table(file).drop_columns(["time"]).to_pylist()
    elif ending == "jsonl":
        (row,) = map(json.loads, file.read_text().splitlines())
    else:
        with file.open(newline="") as text:
            (row,) = csv.DictReader(text)
        row = {name: json.loads(value) if value.startswith("[") else value for name, value in row.items()}
    for name, tensor in request.items():
        assert row[f"input_{name}"] == tensor.reshape(-1).tolist()
        assert row[f"input_{name}_shape"] == [*tensor.shape]
    assert row["output_negative"] == (-request["half"]).reshape(-1).tolist()
    assert row["output_said_shape"] == [3, 2]
    assert int(row["rows"]) == 3


async def test_a_row_each(outbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `per_row` each row of tensors has a record of its own, and is replayed alone."""
    folder = tmp_path / "m"
    tensor_models.image(folder / "m.onnx")
    (folder / "model.toml").write_text('name = "m"\nversion = "1"\ntask = "tensors"\n[log]\nrows = "per_row"\n')
    await fill(outbox, folder, [KINDS["image"].request(3)] * 4)
    listed = [json.loads(line)["attributes"] for line in run(capsys, "list", outbox, "--json").splitlines()]
    assert [(each["prediction.index"], each["prediction.rows"]) for each in listed] == [(at, 1) for at in range(3)] * 4
    assert {tuple(each.shape) for each in tensors_of(listed[1], "inputs")} == {(1, 3, 16, 16)}
    found = json.loads(run(capsys, "replay", outbox, "--model", str(folder), "--json"))
    assert (found["replayed"], found["equal"]) == (12, True)
    assert "complete" in run(capsys, "verify", outbox)


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"name":"x","datatype":"FP99","shape":[1],"base64":"AAAA"}]', "["])
def test_what_are_no_tensors(text: str) -> None:
    """An attribute that holds something else is refused by a sentence."""
    with pytest.raises(ValueError, match=r"prediction\.inputs are not tensors"):
        tensors_of({"prediction.inputs": text}, "inputs")
