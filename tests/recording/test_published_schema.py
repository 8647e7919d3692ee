"""The published JSON Schema is the record: what the server writes fits it, and what it does not write does not."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from predictor.outbox.layout import streams
from predictor.reader.record import SCHEMAS
from predictor.recording.record_schema import SCHEMA_VERSION
from tests.recording.test_record_schema import _events, _written, written_many
from tests.support.sample_predictions import CASES, MANY
from tests.support.server import ROOT, ROW, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = ROOT / "docs" / "schema"
SCHEMA = json.loads((FOLDER / f"record-{SCHEMA_VERSION}.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def fits(line: bytes) -> bool:
    """Tell whether a line of the log fits the published schema."""
    return bool(VALIDATOR.is_valid(json.loads(line)))


def test_the_schema_is_one() -> None:
    """The file is a JSON Schema of the draft that it names."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"].endswith(f":{SCHEMA_VERSION}")


def test_the_file_is_what_the_script_writes(tmp_path: Path) -> None:
    """The committed file is made of the code's own tables as they are now."""
    script = ROOT / "scripts" / "record_schema.py"
    code = f"import runpy; print(runpy.run_path({str(script)!r})['text'](), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == (FOLDER / f"record-{SCHEMA_VERSION}.json").read_text(), "run scripts/record_schema.py"


@pytest.mark.parametrize("name", CASES)
def test_every_form_of_a_prediction_fits(name: str) -> None:
    """A prediction of whatever form, failures and redacted ones included, fits the published schema."""
    line = json.loads(_written(*CASES[name]))
    assert [error.json_path for error in VALIDATOR.iter_errors(line)] == []


@pytest.mark.parametrize("name", MANY)
def test_many_rows_fit(name: str) -> None:
    """A record of many rows fits the published schema."""
    assert [error.json_path for error in VALIDATOR.iter_errors(json.loads(written_many(*MANY[name])))] == []


def test_every_event_fits() -> None:
    """Each of the stream's own events fits."""
    lines = _events()
    assert len(lines) >= 5
    assert all(map(fits, lines))


async def test_what_a_server_writes_fits(outbox: Path) -> None:
    """Every line of a real server's log fits: its stream, predictions, refusals and feedback."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true") as here:
        job = (await here.post("/predict", json={"data": [ROW]})).json["job_id"]
        await here.post("/predict/batch", json={"data": [ROW] * 3})
        await here.post("/predict", json={"data": []})
        await here.post(f"/feedback/{job}", json={"label": "setosa", "value": 1, "comment": "sure"})
    lines = [line for stream in streams(outbox) for line in stream.signal("logs").lines()]
    assert len(lines) == 6
    assert all(map(fits, lines))


def _record(data: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return data["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]


def _named(data: Any, name: str) -> Any:  # noqa: ANN401 - parsed JSON
    return next(pair for pair in _record(data)["attributes"] if pair["key"] == name)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: _record(data)["attributes"].append({"key": "prediction.mood", "value": {"stringValue": "good"}}),
        lambda data: _named(data, "prediction.label").update(value={"intValue": "2"}),
        lambda data: _named(data, "prediction.index").update(value={"intValue": 0}),
        lambda data: _record(data)["attributes"].pop(0),
        lambda data: _record(data).update(eventName="prediction.stream.closed"),
        lambda data: _record(data).update(traceId="0"),
        lambda data: _record(data).pop("timeUnixNano"),
        lambda data: _record(data).update(severityNumber=1),
        lambda data: data["resourceLogs"][0]["scopeLogs"][0]["scope"]["attributes"].pop(),
    ],
)
def test_what_is_not_ours_does_not_fit(spoil: Callable[[Any], object]) -> None:
    """An unknown attribute, a wrong type, a missing number, a wrong event or id does not fit."""
    data = json.loads(_written(*CASES["normal"]))
    spoilt = copy.deepcopy(data)
    spoil(spoilt)
    assert VALIDATOR.is_valid(data)
    assert not VALIDATOR.is_valid(spoilt)


def test_every_published_version_is_read() -> None:
    """The readers take each version that has a published schema, and none that has not."""
    published = {int(re.findall(r"\d+", path.stem)[0]) for path in FOLDER.glob("record-*.json")}
    assert published == set(SCHEMAS)
    assert max(published) == SCHEMA_VERSION
