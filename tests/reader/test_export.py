"""`predictor log export`: typed columns, each prediction once, feedback joined, a whole file or none."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from predictor.reader import cli
from predictor.reader.class_names import LearnedClasses
from predictor.reader.export.columns import ExportColumn
from predictor.reader.export.writers import Csv, JsonLines
from tests.support.log_files import BASE, IRIS, SECOND, Stream, lay_out, line, lines, said
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.log_files import Record


def export(folder: Path, written: Sequence[bytes], *arguments: str, name: str = "out.jsonl") -> list[dict[str, Any]]:
    """Return the rows of an export to JSON lines."""
    where = lay_out("files", folder, written)
    assert cli.main(["export", str(folder / name), "--from", where, *arguments]) == 0
    return [json.loads(text) for text in (folder / name).read_text().splitlines()]


def day(stream: Stream) -> list[Record]:
    """Return a stream with each label, a failure, and feedback."""
    records = [stream.opened(), *stream.predictions(3), stream.failure()]
    job = str(said(records[1])["prediction.job_id"])
    return [*records, stream.feedback(job, label="versicolor"), stream.feedback(job, value=2.5), stream.closed()]


def test_row(tmp_path: Path) -> None:
    """A row has the record's own values, and every column that has a value in any row."""
    stream = Stream()
    records = day(stream)
    row, _, other, failure = export(tmp_path, lines(stream, records))
    values = said(records[1])
    assert row == {
        "time": "2025-10-09T08:53:20.001000000Z",
        "job_id": values["prediction.job_id"],
        "index": 0,
        **{f"input_{name}": values[f"prediction.input.{name}"] for name in _SORTED},
        "probability_setosa": 0.8,
        "probability_versicolor": 0.1,
        "probability_virginica": 0.1,
        "label": "setosa",
        "confidence": 0.8,
        "outlier": False,
        "outlier_score": 0.25,
        "error": None,
        "duration_queue": 0.0001,
        "duration_inference": 0.0002,
        "duration_total": 0.001,
        "batch_size": 1,
        "route": "/predict",
        "model_name": "iris",
        "model_version": "1",
        "model_digest": "sha256:" + "ab" * 32,
        "trace_id": f"{2:032x}",
        "stream": stream.id,
        "sequence": 2,
        "feedback_label": "versicolor",
        "feedback_value": 2.5,
        "feedback_time": "2025-10-09T08:53:20.006000000Z",
    }
    assert list(row) == list(other) == list(failure)
    assert (other["label"], other["feedback_time"]) == ("virginica", None)
    assert (failure["error"], failure["index"], failure["probability_setosa"]) == ("invalid-data", None, None)


_SORTED = ("petal_length", "petal_width", "sepal_length", "sepal_width")


def test_parquet_is_typed(tmp_path: Path) -> None:
    """Parquet has timestamps to the nanosecond, and holds what JSON lines hold."""
    stream = Stream()
    texts = lines(stream, day(stream))
    rows = export(tmp_path, texts)
    assert cli.main(["export", str(tmp_path / "out.parquet"), "--from", str(tmp_path / "files")]) == 0
    table = parquet.read_table(tmp_path / "out.parquet")
    types = {field.name: field.type for field in table.schema}
    assert types["time"] == types["feedback_time"] == pa.timestamp("ns", tz="UTC")
    assert types["index"] == types["sequence"] == types["batch_size"] == pa.int64()
    assert types["outlier"] == pa.bool_()
    assert types["input_sepal_length"] == types["probability_setosa"] == types["feedback_value"] == pa.float64()
    assert table["time"].cast(pa.int64()).to_pylist()[0] == BASE + 1_000_000
    plain = [name for name in table.column_names if not name.endswith("time")]
    assert table.select(plain).to_pylist() == [{name: row[name] for name in plain} for row in rows]


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    """--only takes those that were answered, or failed; --feedback joined those of which something was said."""
    stream = Stream()
    texts = lines(stream, day(stream))
    assert [row["sequence"] for row in export(tmp_path, texts, "--only", "failure")] == [5]
    rows = export(tmp_path / "once", texts, "--only", "success")
    assert [row["sequence"] for row in rows] == [2, 3, 4]
    assert "error" not in rows[0]
    (row,) = export(tmp_path / "more", texts, "--feedback", "joined")
    assert (row["sequence"], row["feedback_label"], "error" in row) == (2, "versicolor", False)


def test_types_of_features(tmp_path: Path) -> None:
    """Numbers of both kinds share a column of doubles, truth with gaps is a number, anything else is text."""
    stream = Stream()
    records = [
        stream.prediction(0, input__a=1, input__b=True, input__c=True, input__d=1, input__e=1),
        stream.prediction(0, input__a=2.5, input__b=None, input__c=False, input__d="x", input__e=2),
    ]
    rows = export(tmp_path, lines(stream, records))
    assert [[row[f"input_{name}"] for name in "abcde"] for row in rows] == [
        [1.0, 1.0, True, "1", 1],
        [2.5, None, False, "x", 2],
    ]
    assert cli.main(["export", str(tmp_path / "out.parquet"), "--from", str(tmp_path / "files")]) == 0
    kinds = parquet.read_schema(tmp_path / "out.parquet")
    found = [kinds.field(f"input_{name}").type for name in "abcde"]
    assert found == [pa.float64(), pa.float64(), pa.bool_(), pa.string(), pa.int64()]


def test_many_rows(tmp_path: Path) -> None:
    """Rows of several blocks are all there in their order, those of a column that begins late included."""
    stream = Stream()
    records = [stream.prediction(number % 3) for number in range(1500)]
    records.append(stream.prediction(0, request_id="late", output="[0.7,0.1,0.1,0.1]", confidence=0.7))
    rows = export(tmp_path, lines(stream, records))
    assert [row["sequence"] for row in rows] == [*range(1, 1502)]
    assert {row["request_id"] for row in rows[:-1]} == {None}
    assert (rows[-1]["request_id"], rows[-1]["probability_#3"], rows[0]["probability_#3"]) == ("late", 0.1, None)
    assert cli.main(["export", str(tmp_path / "out.parquet"), "--from", str(tmp_path / "files")]) == 0
    assert parquet.read_table(tmp_path / "out.parquet").num_rows == 1501


def test_csv(tmp_path: Path) -> None:
    """CSV has a line of names, empty cells for what is absent, and texts with commas and line ends whole."""
    stream = Stream()
    records = day(stream)
    job = str(said(records[2])["prediction.job_id"])
    records.append(stream.feedback(job, comment='no, "really"\nnot'))
    where = lay_out("files", tmp_path, lines(stream, records))
    assert cli.main(["export", str(tmp_path / "out.csv"), "--from", where]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outlier"] for row in rows] == ["false", "false", "false", ""]
    assert [float(row["confidence"] or 0) for row in rows] == [0.8, 0.8, 0.8, 0]
    assert rows[1]["feedback_comment"] == 'no, "really"\nnot'


@given(st.lists(st.none() | st.floats() | st.sampled_from([0.0, -0.0, 1e-5, 1e16, 5e-324]), min_size=1))
def test_numbers_in_csv(values: list[float | None]) -> None:
    """A number in CSV is the one that it was, to the last digit; one that is absent is empty."""
    found = Csv([ExportColumn("x", "double"), ExportColumn("y", "int")]).render({"x": values, "y": [1] * len(values)})
    read = [text.rpartition(",")[0] for text in found.decode().splitlines()]
    assert [repr(float(text)) if text else None for text in read] == [
        None if value is None else repr(value) for value in values
    ]


@pytest.mark.parametrize("names", [["a", "b"], ["a", 'b"\\'], ["é\n", "b"], ["a", "a"]])
def test_names_in_json(names: list[str]) -> None:
    """Whatever columns are called, their names are in each line as they are."""
    columns = [ExportColumn(name, "int") for name in names]
    rows = {name: [place, None] for place, name in enumerate(names)}
    found = [json.loads(text) for text in JsonLines(columns).render(rows).splitlines()]
    assert found == [{name: values[at] for name, values in rows.items()} for at in range(2)]


def test_copies_once(tmp_path: Path) -> None:
    """However often a record was sent, it is one row, and its feedback is joined once."""
    stream = Stream()
    texts = lines(stream, day(stream))
    assert export(tmp_path, [*texts, *texts[2:4], *texts]) == export(tmp_path / "once", texts)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    for name in ("once", "more"):
        (tmp_path / name).mkdir()


def test_newest_feedback(tmp_path: Path) -> None:
    """Of several opinions on a row the newest counts, in whatever order they were stored."""
    stream = Stream()
    prediction = stream.prediction()
    job = str(said(prediction)["prediction.job_id"])
    told = [stream.feedback(job, label=label) for label in ("setosa", "versicolor", "virginica")]
    (row,) = export(tmp_path, lines(stream, [told[2], told[0], prediction, told[1]]))
    assert row["feedback_label"] == "virginica"


def test_feedback_after_the_window(tmp_path: Path) -> None:
    """Feedback that came days after the window is joined; predictions of after it are not there."""
    stream, later = Stream(), Stream(BASE + 3 * 24 * 3600 * SECOND)
    prediction = stream.prediction()
    job = str(said(prediction)["prediction.job_id"])
    texts = [*lines(stream, [prediction]), *lines(later, [later.prediction(), later.feedback(job, label="virginica")])]
    (row,) = export(tmp_path, texts, "--since", "2025-10-09T00:00:00Z", "--until", "2025-10-10T00:00:00Z")
    assert (row["sequence"], row["feedback_label"]) == (1, "virginica")


def test_names_of_classes(tmp_path: Path) -> None:
    """Classes are named by the log as far as it goes, by place beyond that, and as the person says before all."""
    stream = Stream()
    texts = lines(stream, [stream.prediction(2), stream.prediction(0)])
    named = [[name for name in row if name.startswith("probability_")] for row in export(tmp_path, texts)]
    assert named == [["probability_setosa", "probability_#1", "probability_virginica"]] * 2
    for number, options in enumerate((("--labels", "a,b,c"), ("--model", str(ROOT / "models" / "iris")))):
        row, _ = export(tmp_path / "once", texts, *options, name=f"{number}.jsonl")
        wanted = [["a", "b", "c"], ["setosa", "versicolor", "virginica"]][number]
        assert [name for name in row if name.startswith("probability_")] == [f"probability_{each}" for each in wanted]
        (tmp_path / "once" / "files" / "logs.jsonl").unlink()
        (tmp_path / "once" / "files").rmdir()


def test_classes() -> None:
    """A tie names no class, and what was learned first stays."""
    classes = LearnedClasses()
    classes.learn([0.5, 0.5], "a")
    assert classes.columns() == ["probability_#0", "probability_#1"]
    classes.learn([0.2, 0.8], "1")
    assert classes.columns() == ["probability_#0", "probability_1"]
    classes.learn([], None)
    classes.learn([0.1, 0.2, 0.7], "c")
    assert classes.columns(["x", "y"]) == ["probability_#0", "probability_1", "probability_c"]
    assert classes.columns(["x", "y", "z"]) == ["probability_x", "probability_y", "probability_z"]


def test_a_class_is_known_by_its_confidence() -> None:
    """A label that is not the most probable class names the class that has its confidence, and no other."""
    classes = LearnedClasses()
    classes.learn([0.6, 0.3, 0.1], "b", 0.3)
    classes.learn([0.4, 0.4, 0.2], "a", 0.4)
    assert classes.columns() == ["probability_#0", "probability_b", "probability_#2"]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_csv_holds_no_formula(tmp_path: Path, begin: str) -> None:
    """Text that a spreadsheet would run is marked as text, and what a terminal would obey is escaped; numbers stay."""
    stream = Stream()
    said = f"{begin}HYPERLINK(1)\x1b[2J\x9b"
    record = stream.prediction(0, input__x=-1.5, label=said, request_id="-7.25")
    where = lay_out("files", tmp_path, lines(stream, [record]))
    assert cli.main(["export", str(tmp_path / "out.csv"), "--from", where]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["label"] == f"'{begin}HYPERLINK(1)\\x1b[2J\\x9b"
    assert (row["input_x"], row["request_id"]) == ("-1.5", "-7.25")


def test_hashed_outputs(tmp_path: Path) -> None:
    """Where outputs are logged as hashes, these have columns."""
    stream = Stream()
    record = stream.prediction(0, output=None, label=None, confidence=None, hashed_output="00ff", hashed_label="11ee")
    (row,) = export(tmp_path, lines(stream, [record]))
    assert (row["hashed_output"], row["hashed_label"], "label" in row) == ("00ff", "11ee", False)


def test_two_models(tmp_path: Path) -> None:
    """Models of different features and classes share a file: columns of both, each row has its own."""
    one, other = Stream(), Stream(BASE + SECOND)
    scope = IRIS | {"prediction.model.name": "other"}
    odd = other.prediction(0, input__x=1.5, output="[0.25,0.75]", label="yes", confidence=0.75)
    rows = export(tmp_path, [*lines(one, one.predictions(1)), line(other.id, [odd], scope=scope)])
    assert [(row["model_name"], row["probability_setosa"], row["probability_yes"]) for row in rows] == [
        ("iris", 0.8, None),
        ("other", None, 0.75),
    ]
    assert [row["input_x"] for row in rows] == [None, 1.5]


def test_wide_and_redacted(tmp_path: Path) -> None:
    """A wide row is one text, or columns if the model's folder names them; hashes have columns of their own."""
    model = tmp_path / "model"
    model.mkdir()
    text = (ROOT / "models" / "iris" / "model.toml").read_text()
    (model / "model.toml").write_text(text)
    stream = Stream()
    bare: dict[str, Any] = dict.fromkeys((f"input__{name}" for name in _SORTED), None)
    wide = stream.prediction(input_json="[1.0,2.0,3.0,4.0]", **bare)
    cut = stream.prediction(input_json="[1.0,2", input_truncated=True, **bare)
    hashed = stream.prediction(hashed_input__sepal_width="00ff", **(bare | {"input__petal_width": 0.5}))
    texts = lines(stream, [wide, cut, hashed])
    assert [row["input_json"] for row in export(tmp_path, texts)] == ["[1.0,2.0,3.0,4.0]", "[1.0,2", None]
    rows = export(tmp_path / "once", texts, "--model", str(model))
    inputs = [{key: value for key, value in row.items() if key.startswith(("input_", "hash_"))} for row in rows]
    assert list(inputs[0]) == [
        *("input_sepal_length", "input_sepal_width", "input_petal_length", "input_petal_width"),
        *("hash_sepal_width", "input_json"),
    ]
    assert [each["input_sepal_width"] for each in inputs] == [2.0, None, None]
    secret = stream.prediction(input_json='[1.0,"00ff",null,4.0]', **bare)
    scope = {"prediction.redaction": '{"sepal_width":"hash","petal_length":"drop"}'}
    (row,) = export(tmp_path / "more", [line(stream.id, [secret], scope=scope)], "--model", str(model))
    assert {key: value for key, value in row.items() if key.startswith(("input_", "hash_"))} == {
        "input_sepal_length": 1.0,
        "input_petal_width": 4.0,
        "hash_sepal_width": "00ff",
        "input_json": '[1.0,"00ff",null,4.0]',
    }
    assert (inputs[2]["hash_sepal_width"], inputs[2]["input_petal_width"]) == ("00ff", 0.5)


def test_nothing(tmp_path: Path) -> None:
    """An export of nothing is a file with columns and no rows."""
    stream = Stream()
    where = lay_out("files", tmp_path, lines(stream, [stream.opened()]))
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        assert cli.main(["export", str(tmp_path / name), "--from", where]) == 0
    assert parquet.read_table(tmp_path / "out.parquet").num_rows == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_whole_or_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """An export that fails leaves the file of before as it was, and nothing beside it."""
    stream = Stream()
    target = tmp_path / "to" / f"out.{ending}"
    target.parent.mkdir()
    target.write_text("before")
    where = lay_out("files", tmp_path, lines(stream, [stream.prediction(output="[0.1,", label="setosa")]))
    assert cli.main(["export", str(target), "--from", where]) == 2
    assert "number 1: prediction.output is not a JSON array of numbers" in capsys.readouterr().err
    (tmp_path / "files" / "logs.jsonl").write_bytes(b"".join(lines(stream, stream.predictions(3))))
    monkeypatch.setattr("predictor.reader.export.learned.Learned.rows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["export", str(target), "--from", where])
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.read_text() == "before"


def test_without_pyarrow(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra Parquet is refused at once, by a sentence that says how to get it."""
    monkeypatch.setattr("predictor.reader.export.command.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", str(tmp_path / "out.parquet"), "--from", str(tmp_path)])
    assert "-m pip install 'pyarrow>=" in capsys.readouterr().err
