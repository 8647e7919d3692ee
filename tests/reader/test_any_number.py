"""Whatever numbers a damaged or forged file has, readers say so in a sentence: no traceback, nothing outside."""

from __future__ import annotations

import copy
import json
import re
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from predictor.outbox.ended import unnamed
from predictor.reader import cli
from predictor.reader.export.table_folder import TableFolder
from tests.reader.test_cli import Told
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, lay_out, line, lines
from tests.support.sealed_log import SealedStream, sealed

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINES = sealed(SealedStream(BASE)).lines
_EDGES = (0, 1, -1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, -(10**30), 10**400)
_NUMBERS = st.sampled_from(_EDGES) | st.integers() | st.floats() | st.sampled_from(["", "x", "1e5", "٣", "0x10", None])
_VERBS = (
    ("verify",),
    ("list",),
    ("list", "-o", "wide"),
    ("export", "{}/out.csv"),
    ("export", "{}/out.jsonl"),
    ("export", "{}/out.parquet"),
    ("export", "--append", "{}/table"),
    ("score",),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """Yield the ways to every number of a line, those that are texts too."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _places(each, (*path, at))
    elif isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"\d{1,19}", value)):
        yield path


_DATA = [json.loads(text) for text in _LINES]
_PLACES = [(at, place) for at, data in enumerate(_DATA) for place in _places(data)]


def _forged(changes: list[tuple[tuple[int, tuple[Any, ...]], Any]]) -> list[bytes]:
    """Return the log with other numbers in some places."""
    data = copy.deepcopy(_DATA)
    for (at, place), number in changes:
        inner: Any = data[at]
        for key in place[:-1]:
            inner = inner[key]
        text = isinstance(inner[place[-1]], str) and isinstance(number, int)
        inner[place[-1]] = str(number) if text else number
    return [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in data]


def _told(*arguments: str) -> tuple[int, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(arguments)
    return status, out.getvalue() + err.getvalue()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(_PLACES), _NUMBERS), min_size=1, max_size=3), st.sampled_from(_VERBS))
def test_numbers_of_records(changes: list[tuple[tuple[int, tuple[Any, ...]], Any]], verb: tuple[str, ...]) -> None:
    """Any number anywhere in a line, of any size and kind, ends no verb by an exception, from files and from Loki."""
    lines = _forged(changes)
    with tempfile.TemporaryDirectory() as name:
        where = lay_out("files", Path(name), lines)
        status, said = _told(*(part.format(name) for part in verb), "--from", where)
        assert status in {0, 1, 2}, said
        assert "Traceback" not in said


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(_EDGES) | st.sampled_from(["", "x", "1e5", "٣"]), st.data(), st.sampled_from(_VERBS))
def test_numbers_in_loki(number: object, data: st.DataObject, verb: tuple[str, ...]) -> None:
    """Any text in the place of a number in Loki is damage at most."""
    with Loki() as loki, tempfile.TemporaryDirectory() as name:
        loki.add(*_LINES)
        at = data.draw(st.integers(0, len(loki.entries) - 1))
        entry = loki.entries[at]
        numeric = [key for key, value in entry.metadata.items() if re.fullmatch(r"-?[\d.]+", value)]
        key = data.draw(st.sampled_from(sorted(numeric)))
        loki.entries[at] = entry._replace(metadata=entry.metadata | {key: str(number)})
        status, said = _told(
            *(part.format(name) for part in verb), "--from", loki.url, "--since", "2025-10-01", "--until", "2025-10-20"
        )
        assert status in {0, 1, 2}, said
        assert "Traceback" not in said


@pytest.mark.parametrize("stream", ["../../out", "/etc", "a/b", "", "x" * 65, "nul\0", "."])
def test_a_streams_name_is_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str) -> None:
    """A stream's name is written into files' names, so one that could lead elsewhere is damage."""
    whole, other = Stream(), Stream(BASE + SECOND)
    records = lines(whole, [whole.opened(), *whole.predictions(2), whole.closed()])
    where = lay_out("files", tmp_path / "in", [*records, line(stream, [other.opened(), other.prediction()])])
    table = tmp_path / "deep" / "er" / "table"
    told = Told(capsys, "export", "--append", str(table), "--from", where)
    assert told.status == 1
    assert told.err.count("wanted a UUID") == 1
    files = list(tmp_path.rglob("*.parquet"))
    assert [path.name for path in files] == [f"{whole.id}.1-4.parquet"]
    assert table in files[0].parents
    told = Told(capsys, "verify", "--from", where)
    assert told.status == 1
    assert whole.id in told.out


@pytest.mark.parametrize(
    "change",
    [
        {"lost.first": 10, "lost.last": 2},
        {"lost.first": -5, "lost.last": 2},
        {"lost.first": 0, "lost.last": 0},
    ],
)
def test_a_loss_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, int]) -> None:
    """A declared loss of no numbers is damage, and not so many fewer that are missing."""
    stream = Stream()
    records = [stream.opened(), stream.lost(2, 2), stream.closed()]
    for name, value in change.items():
        pair = next(pair for pair in records[1]["attributes"] if pair["key"] == f"prediction.stream.{name}")
        pair["value"] = {"intValue": str(value)}
    told = Told(capsys, "verify", "--from", lay_out("files", tmp_path, lines(stream, records)))
    assert told.status == 1
    assert "wanted" in told.out


def test_counts_below_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A status that counts fewer than none is damage, and does not spoil the sums."""
    stream = Stream()
    records = [stream.opened(), stream.status(rejected=-7), stream.closed()]
    told = Told(capsys, "verify", "--from", lay_out("files", tmp_path, lines(stream, records)))
    assert told.status == 1
    assert "rejected.count -7, wanted none below 0" in told.out
    assert "-7 " not in told.out.partition("rejected.count")[0]


@pytest.mark.parametrize("last", [10**30, 2**63, -1, 1.5, "9", None])
def test_ended_file(tmp_path: Path, last: object) -> None:
    """A line of `ended.jsonl` with a number that no stream ends with is passed over, and the others are taken."""
    (tmp_path / "v1").mkdir()
    good = {"stream": "a", "last": 3, "digest": "", "ended_ns": 5}
    text = json.dumps(good | {"stream": "b", "last": last}) + "\n" + json.dumps(good) + "\n" + "[" * 9999 + "\n"
    (tmp_path / "v1" / "ended.jsonl").write_text(text)
    assert [each.stream for each in unnamed(tmp_path)] == ["a"]


@settings(max_examples=40, deadline=None)
@example("until", 2**63 - 1)
@given(st.sampled_from(["until", "last", "spoke", "rejected", "sealed", "sealed_ns", "version"]), _NUMBERS)
def test_state_file(name: str, number: object) -> None:
    """Whatever a state file says, `verify --state` goes on or refuses it by a sentence, and no check is left out."""
    stream = Stream(time.time_ns() - SECOND)
    with tempfile.TemporaryDirectory() as folder:
        where = lay_out("files", Path(folder), lines(stream, [stream.opened(), *stream.predictions(2)]))
        file = Path(folder) / "state"
        assert _told("verify", "--from", where, "--state", str(file))[0] == 0
        state = json.loads(file.read_text())
        inner = state if name in state else state["streams"][stream.id]
        inner[name] = number
        file.write_text(json.dumps(state))
        status, said = _told("verify", "--from", where, "--state", str(file))
        assert status in {0, 1, 2}
        assert "Traceback" not in said
        if name == "until" and type(number) is int and 2**62 < number < 2**63:
            assert "yet to come" in said


@pytest.mark.parametrize(
    "about",
    [b"[]", b"{", b'{"files":5,"newest":1,"closed":false,"labels":{}}', b'{"files":[],"newest":1e300,"closed":0}'],
)
def test_footer_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], about: bytes) -> None:
    """What the footer of a table's file says is taken if it can be read, and else nothing is known of the file."""
    stream = Stream()
    where = lay_out("files", tmp_path, lines(stream, [stream.opened(), *stream.predictions(2), stream.closed()]))
    table = str(tmp_path / "table")
    assert Told(capsys, "export", "--append", table, "--from", where).status == 0
    (file,) = (tmp_path / "table").rglob("*.parquet")
    pq.write_table(pq.read_table(file).replace_schema_metadata({b"predictor": about}), file)
    assert Told(capsys, "export", "--append", table, "--from", where).status == 0
    odd = file.with_name(f"{stream.id}.{9**300}-{9**301}.parquet"[-200:])
    odd.write_bytes(b"")
    assert [part.last for parts in TableFolder(table).ranges().values() for part in parts] == [4]
