"""`predictor log export --append`: a table by model and day that takes up where it was, and holds each record once."""

from __future__ import annotations

import fcntl
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from predictor.reader import cli
from predictor.reader.export import pieces
from tests.support.fake_loki import Loki
from tests.support.log_files import IRIS, SECOND, Stream, lay_out, line, lines, pairs, said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.log_files import Record

DAY = 24 * 3600 * SECOND


class Table:
    """A table beside the log that it is made of."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Take a folder for both."""
        self.folder, self._capsys = folder / "table", capsys
        self.where = lay_out("files", folder, [])
        self._log = folder / "files" / "logs.jsonl"

    def log(self, *texts: bytes) -> None:
        """Add to the log."""
        with self._log.open("ab") as file:
            file.writelines(texts)

    def append(self, *options: str, source: str = "", status: int = 0) -> str:
        """Run it and return what it says."""
        assert cli.main(["export", "--append", str(self.folder), "--from", source or self.where, *options]) == status
        told = self._capsys.readouterr()
        return told.out + told.err

    def names(self) -> list[str]:
        """Return the files."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.parquet"))

    def rows(self, kind: str = "predictions") -> list[dict[str, Any]]:
        """Return the rows by stream and number, with the columns that the folders' names are."""
        base = str(self.folder / kind)
        files = dataset.dataset(base, partitioning="hive").files
        parts = [dataset.dataset(file, partitioning="hive", partition_base_dir=base) for file in files]
        found = pa.concat_tables([part.to_table() for part in parts], promote_options="default").to_pylist()
        return sorted(found, key=lambda row: (row["stream"], row["sequence"]))

    def numbers(self) -> list[int]:
        """Return the numbers of the predictions of a log of one stream."""
        return [row["sequence"] for row in self.rows()]


def model(stream: Stream) -> Record:
    """Return the next record, which says what the model is."""
    about = dict.fromkeys((f"prediction.model.{name}" for name in ("task", "runtime", "provider")), "x")
    about["prediction.model.signature"] = '{"labels":["setosa","versicolor","virginica"],"features":[]}'
    event = stream.opened()
    return event | {
        "eventName": "prediction.model",
        "attributes": event["attributes"][:1] + pairs(about | {"event.name": "prediction.model"}),
    }


@pytest.fixture
def table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Table:
    """Return a table of nothing."""
    return Table(tmp_path, capsys)


def test_layout(table: Table) -> None:
    """Predictions and feedback lie by model and day, in files named by stream and numbers; a row has its values."""
    stream = Stream()
    about = model(stream)
    record = stream.prediction(2)
    job = str(said(record)["prediction.job_id"])
    stream.now += DAY
    later = stream.prediction(0)
    other = line(stream.id, [stream.prediction(0)], scope=IRIS | {"prediction.model.name": "a/b"})
    table.log(
        *lines(stream, [about, record, later]), other, *lines(stream, [stream.feedback(job, label="setosa", value=2.5)])
    )
    assert "3 predictions, 1 feedback records in 4 files" in table.append()
    assert table.names() == [
        f"feedback/model=iris/day=2025-10-10/{stream.id}.1-5.parquet",
        f"predictions/model=a%2Fb/day=2025-10-10/{stream.id}.1-5.parquet",
        f"predictions/model=iris/day=2025-10-09/{stream.id}.1-5.parquet",
        f"predictions/model=iris/day=2025-10-10/{stream.id}.1-5.parquet",
    ]
    first, *_ = table.rows()
    assert (first["label"], first["probability_virginica"], first["job_id"]) == ("virginica", 0.8, job)
    assert (first["model"], str(first["day"]), first["model_version"]) == ("iris", "2025-10-09", "1")
    assert table.rows()[2]["model"] == "a/b"
    (told,) = table.rows("feedback")
    assert (told["job_id"], told["index"], told["label"], told["value"]) == (job, 0, "setosa", 2.5)
    schema = parquet.read_schema(table.folder / table.names()[2])
    assert schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert {"error", "request_id", "outlier"} <= set(schema.names), "files are of one form, whatever their rows lack"


def test_feedback_on_a_key(table: Table) -> None:
    """Feedback that speaks of a caller's own key has that in a column, and no job."""
    stream = Stream()
    told = stream.feedback("", label="setosa")
    whose = {"prediction.job_id", "prediction.index"}
    told["attributes"] = [pair for pair in told["attributes"] if pair["key"] not in whose]
    told["attributes"] += pairs({"prediction.key": "order 7"})
    table.log(*lines(stream, [told]))
    table.append()
    (row,) = table.rows("feedback")
    assert (row["key"], row["job_id"], row["label"]) == ("order 7", None, "setosa")


def test_goes_on(table: Table) -> None:
    """A run adds what has come since the last one, whatever was sent again; a run with nothing new adds no file."""
    stream = Stream()
    texts = lines(stream, [stream.opened(), *stream.predictions(5)])
    table.log(*texts)
    table.append()
    table.log(*texts[2:], *lines(stream, [*stream.predictions(3), stream.closed()]))
    assert "3 predictions, 0 feedback records in 1 files" in table.append()
    assert [name.rpartition(".")[0].rpartition(".")[2] for name in table.names()] == ["1-6", "7-10"]
    assert "0 predictions, 0 feedback records in 0 files" in table.append()
    assert table.numbers() == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_repeat_writes_the_same(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is made anew has the same files, byte for byte, whatever the order of the log."""
    monkeypatch.setattr(pieces, "PIECE", 4)
    monkeypatch.setattr(pieces, "_PENDING", 3)
    monkeypatch.setattr("predictor.reader.export.append.PIECE", 4)
    stream = Stream()
    texts = lines(stream, [*stream.predictions(10), stream.closed()])
    table.log(*texts)
    table.append()
    first = {name: (table.folder / name).read_bytes() for name in table.names()}
    assert len(first) == 3
    for name in first:
        (table.folder / name).unlink()
    (table.folder.parent / "files" / "logs.jsonl").write_bytes(b"".join([*texts[::-1], *texts[3:6]]))
    table.append()
    assert {name: (table.folder / name).read_bytes() for name in table.names()} == first


def test_a_run_that_was_ended(table: Table) -> None:
    """Files that a run did not come to write are written by the next; if the log has them no more, that is said."""
    stream = Stream()
    table.log(*lines(stream, stream.predictions(2)))
    stream.now += DAY
    late = lines(stream, stream.predictions(2))
    table.log(*late)
    table.append()
    first, second = table.names()
    content = (table.folder / second).read_bytes()
    (table.folder / second).unlink()
    table.log(*lines(stream, stream.predictions(1)))
    assert "3 predictions, 0 feedback records in 2 files" in table.append()
    assert table.numbers() == [1, 2, 3, 4, 5]
    assert (table.folder / second).read_bytes() == content
    assert first in table.names()
    (table.folder / table.names()[-1]).unlink()
    (table.folder / second).unlink()
    (table.folder.parent / "files" / "logs.jsonl").write_bytes(b"".join(lines(stream, [stream.closed()])))
    assert f"did not write all of {stream.id} 1-4, which the log no longer has" in table.append(status=1)


def test_what_may_still_come(table: Table) -> None:
    """Above a number that may still be on its way nothing is taken until it has come, or for five minutes."""
    stream = Stream(time.time_ns() - 60 * SECOND)
    one, two, three, four = lines(stream, stream.predictions(4))
    table.log(one, two, four)
    table.append()
    assert table.numbers() == [1, 2]
    table.log(three)
    table.append()
    assert table.numbers() == [1, 2, 3, 4]
    old = Stream()
    texts = lines(old, old.predictions(3))
    table.log(texts[0], texts[2])
    table.append()
    assert [row["sequence"] for row in table.rows() if row["stream"] == old.id] == [1, 3]


def test_a_window_that_begins_late(table: Table) -> None:
    """A table may begin at any time; what lies before is not claimed, and can be added later."""
    stream = Stream()
    table.log(*lines(stream, stream.predictions(4)))
    stream.now += DAY
    table.log(*lines(stream, stream.predictions(4)))
    table.append("--since", "2025-10-10T00:00:00Z")
    assert table.names() == [f"predictions/model=iris/day=2025-10-10/{stream.id}.5-8.parquet"]
    table.append()
    assert table.numbers() == [*range(1, 9)]


def test_loki_from_where_the_table_ends(table: Table) -> None:
    """Loki is asked from the last record of the stream that is furthest behind, not from its beginning."""
    stream = Stream(time.time_ns() - 3600 * SECOND)
    with Loki() as loki:
        loki.add(*lines(stream, stream.predictions(3)))
        table.append(source=loki.url)
        loki.queries.clear()
        loki.add(*lines(stream, stream.predictions(2)))
        table.append(source=loki.url)
        assert min(int(query["start"]) for query in loki.queries if "event_name" not in query["query"]) > (
            stream.now - 120 * SECOND
        )
    assert table.numbers() == [1, 2, 3, 4, 5]


def test_loki_from_where_nothing_was_left(table: Table) -> None:
    """What was left to the next run, since a number below was missing, is asked for by it, however long ago it came."""
    stream = Stream(time.time_ns() - 280 * SECOND)
    one, late, three = lines(stream, stream.predictions(3))
    stream.now += 270 * SECOND
    with Loki() as loki:
        loki.add(one, three, *lines(stream, stream.predictions(1)))
        table.append(source=loki.url)
        assert table.numbers() == [1]
        loki.add(late)
        table.append(source=loki.url)
    assert table.numbers() == [1, 2, 3, 4]


def test_labels_are_remembered(table: Table) -> None:
    """The labels that the log has said once name the columns of later files too."""
    stream = Stream()
    table.log(*lines(stream, [model(stream), stream.prediction(0)]))
    table.append()
    (table.folder.parent / "files" / "logs.jsonl").write_bytes(b"".join(lines(stream, [stream.prediction(0)])))
    table.append()
    names = [parquet.read_schema(table.folder / name).names for name in table.names()]
    assert len(names) == 2
    assert names[0] == names[1]
    assert "probability_virginica" in names[1]


def test_one_run_at_a_time(table: Table) -> None:
    """A second run on the same folder is refused by a sentence."""
    table.append()
    with (table.folder / "_lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another run adds to it" in table.append(status=2)


@pytest.mark.parametrize("more", [["a.csv"], ["--only", "success"], ["--feedback", "joined"]])
def test_all_records(table: Table, more: list[str]) -> None:
    """A range says what it covers, so nothing may be left out of it."""
    assert "--append takes all records" in table.append(*more, status=2)


def test_no_such_place(table: Table) -> None:
    """A URL that nobody knows is a sentence."""
    assert cli.main(["export", "--append", "nowhere://x/y", "--from", table.where]) == 2
    assert cli.main(["export", "--from", table.where]) == 2
