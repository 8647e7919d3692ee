"""The record of `predictor check`: real, published, and no prediction to any reader of the log."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from predictor import otlp
from predictor.recording.record_schema import CHECK
from predictor.server import check_record
from predictor.server.otel_resource import resource
from tests.reader.test_cli import SINCE, Told
from tests.recording.test_published_schema import SCHEMA
from tests.support.fake_loki import Loki
from tests.support.log_files import Stream, lay_out, lines
from tests.support.official_otlp import parsed
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALIDATOR = Draft202012Validator(SCHEMA)


def sent(*, traced: bool = True) -> bytes:
    """Return the line that `predictor check` sends to the logs' endpoint."""
    return check_record.line("logs", check_record.new(), otlp.resource_json(resource()), traced=traced)


@pytest.fixture(params=["files", "loki"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Return a log with such records in between, and how many records of it are predictions."""
    stream = Stream()
    records = lines(stream, [stream.opened(), *stream.predictions(3), stream.status(), stream.closed()])
    texts = [sent(), *records[:3], sent(traced=False), *records[3:], sent()]
    if request.param == "files":
        yield lay_out("files", tmp_path, texts), 3
        return
    with Loki() as loki:
        loki.add(*texts)
        yield loki.url, 3


def test_readers_pass_it_over(capsys: pytest.CaptureFixture[str], tmp_path: Path, where: tuple[str, int]) -> None:
    """No verb takes it for a prediction, an event or a fault, whatever it is asked."""
    place, predictions = where
    told = Told(capsys, "list", "--from", place, *SINCE, "--events", "--json")
    assert (told.status, len(told.json)) == (0, predictions + 3)
    told = Told(capsys, "verify", "--from", place, *SINCE)
    assert (told.status, told.out.splitlines()[-1], told.err) == (0, "nothing is missing", "")
    told = Told(capsys, "export", str(tmp_path / "a.jsonl"), "--from", place, *SINCE)
    assert (told.status, len((tmp_path / "a.jsonl").read_text().splitlines())) == (0, predictions)


def test_a_sink_that_has_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A sink that only a check has reached holds no record of a stream: there is nothing to prove yet."""
    told = Told(capsys, "verify", "--from", lay_out("files", tmp_path, [sent()]))
    assert (told.status, told.out) == (2, "no records there: nothing to prove\n")


@pytest.mark.parametrize("traced", [False, True])
def test_it_is_otlp_and_published(*, traced: bool) -> None:
    """It is OTLP to OpenTelemetry's own bindings, fits the published schema, and is of this moment."""
    line = sent(traced=traced)
    parsed(line)  # asserts that nothing is lost
    assert VALIDATOR.is_valid(json.loads(line))
    record = _record(json.loads(line))
    assert record.get("flags") == (1 if traced else None)
    assert abs(int(record["timeUnixNano"]) - time.time_ns()) < 60 * 10**9


@pytest.mark.parametrize(
    "more",
    [
        {"key": "prediction.stream.sequence", "value": {"intValue": "1"}},
        {"key": "prediction.label", "value": {"stringValue": "setosa"}},
    ],
)
def test_what_belongs_to_a_prediction_does_not_fit(more: dict[str, Any]) -> None:
    """A record without a stream that has a number or an outcome is none of ours by the published schema."""
    line = json.loads(sent())
    _record(line)["attributes"].append(more)
    assert not VALIDATOR.is_valid(line)


def test_a_prediction_without_a_stream_does_not_fit() -> None:
    """The schema lets only this event be without a stream."""
    line = json.loads(sent())
    _record(line)["eventName"] = "prediction"
    assert not VALIDATOR.is_valid(line)


def test_the_published_table() -> None:
    """docs/record.md lists its attributes as the code has them."""
    page = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    section = page[page.index("## The record of a check\n") : page.index("## Versions\n")]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert rows == [[f"`{each.name}`", each.type, each.meaning] for each in CHECK]


def _record(line: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return line["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
