"""Feedback: what a prediction truly was, logged in the same stream with the same promise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from predictor.config.settings import load
from predictor.outbox.layout import streams
from predictor.recording import record_schema
from tests.support.official_otlp import parsed
from tests.support.server import ROOT, ROW, predictions, problem, records, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.server import Answer, Here

JOB = "01a206a5-7cf9-7f24-8992-729b23f48647"
TOKEN = "s3cret-and-long"


@pytest.fixture
async def taking(outbox: Path) -> AsyncIterator[Here]:
    """A server that takes feedback."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true") as here:
        yield here


def feedback(outbox: Path) -> list[dict[str, Any]]:
    """Return the feedback records of the log."""
    return [each for each in records(outbox) if each["eventName"] == "prediction.feedback"]


async def say(here: Here, said: object, job: str = JOB, **headers: str) -> Answer:
    """Send feedback as JSON, or as it is if it is bytes."""
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return await here.post(f"/feedback/{job}", data=data, headers={"Content-Type": "application/json"} | headers)


async def test_feedback_is_logged_before_the_answer(taking: Here, outbox: Path) -> None:
    """An answered feedback is a numbered record of the server's stream, with what the caller said."""
    job = (await taking.post("/predict", json={"data": [ROW]})).json["job_id"]
    answer = await say(taking, {"index": 0, "label": "virginica"}, job, **{"X-Request-Id": "r-1"})
    assert (answer.status, answer.json) == (200, {"job_id": job, "index": 0})
    (logged,) = feedback(outbox)
    assert logged["attributes"] == {
        "prediction.stream.sequence": 4,
        "prediction.job_id": job,
        "prediction.index": 0,
        "prediction.feedback.label": "virginica",
        "prediction.request_id": "r-1",
        "http.route": "/feedback/{job_id}",
        "event.name": "prediction.feedback",
    }
    assert logged["traceId"] == answer.headers["X-Trace-Id"]
    assert len(predictions(outbox)) == 1, "feedback is no prediction"


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ({"label": "setosa"}, {"prediction.feedback.label": "setosa"}),
        ({"value": 3}, {"prediction.feedback.value": 3.0}),
        ({"comment": 'a "quoted"\nline'}, {"prediction.feedback.comment": 'a "quoted"\nline'}),
        (
            {"index": 7, "label": "setosa", "value": -0.5, "comment": "é"},
            {
                "prediction.feedback.label": "setosa",
                "prediction.feedback.value": -0.5,
                "prediction.feedback.comment": "é",
            },
        ),
    ],
)
async def test_what_can_be_said(taking: Here, outbox: Path, said: dict[str, Any], held: dict[str, Any]) -> None:
    """A label, a number, a comment or all of them are taken, for any row of any job."""
    assert (await say(taking, said)).status == 200
    (logged,) = feedback(outbox)
    names = {name: value for name, value in logged["attributes"].items() if "feedback." in name}
    assert names == held
    assert logged["attributes"]["prediction.index"] == said.get("index", 0)
    assert "\n" not in logged["body"]


async def test_index_as_a_float(taking: Here, outbox: Path) -> None:
    """JSON has no integers, so an index of 341.0 is 341, in the answer and in the record."""
    answer = await say(taking, {"index": 341.0, "label": "virginica"})
    assert answer.body == b'{"job_id":"%b","index":341}' % JOB.encode()
    (logged,) = feedback(outbox)
    assert logged["attributes"]["prediction.index"] == 341


@pytest.mark.parametrize(
    ("said", "status", "word", "detail"),
    [
        ({"label": "tulip"}, 422, "invalid-data", "label is 'tulip', wanted one of setosa, versicolor, virginica"),
        ({}, 422, "invalid-data", "says nothing"),
        ({"comment": ""}, 422, "invalid-data", "says nothing"),
        ({"label": 3}, 422, "invalid-data", "$.label"),
        ({"index": -1, "label": "setosa"}, 422, "invalid-data", "$.index"),
        ({"index": 2**31, "label": "setosa"}, 422, "invalid-data", "$.index"),
        ({"index": 1.5, "label": "setosa"}, 422, "invalid-data", "$.index"),
        ({"index": 1e300, "label": "setosa"}, 422, "invalid-data", "$.index"),
        ({"index": "1", "label": "setosa"}, 422, "invalid-data", "$.index"),
        ({"index": True, "label": "setosa"}, 422, "invalid-data", "$.index"),
        ({"truth": "setosa"}, 422, "invalid-data", "truth"),
        ([1], 422, "invalid-data", "wanted"),
        (b'{"value": NaN}', 400, "invalid-json", "NaN"),
        (b"", 400, "invalid-json", "empty"),
        (b"[" * 4000, 422, "invalid-data", "wanted"),
        (b'{"comment":"' + b"x" * 4096 + b'"}', 413, "content-too-large", "PREDICTOR_FEEDBACK_BYTES"),
    ],
)
async def test_what_is_refused(taking: Here, outbox: Path, said: object, status: int, word: str, detail: str) -> None:
    """What cannot be joined to a prediction, or is no feedback, is refused with what was wanted, and not logged."""
    assert detail in problem(await say(taking, said), status, word)
    assert feedback(outbox) == []


@pytest.mark.parametrize("job", ["1", "x" * 36, JOB.replace("-", ""), JOB + "0", "%00" * 12])
async def test_a_job_id_is_a_uuid(taking: Here, outbox: Path, job: str) -> None:
    """What is no job id is refused: it could never be joined."""
    assert "wanted the job_id" in problem(await say(taking, {"label": "setosa"}, job), 422, "invalid-data")
    assert feedback(outbox) == []


async def test_job_ids_are_written_as_the_server_writes_them(taking: Here, outbox: Path) -> None:
    """Capital letters in a job id make no other job."""
    assert (await say(taking, {"label": "setosa"}, JOB.upper())).json["job_id"] == JOB
    assert feedback(outbox)[0]["attributes"]["prediction.job_id"] == JOB


async def test_off_unless_asked_for(here: Here) -> None:
    """A server that was not told to take feedback has no such call."""
    problem(await say(here, {"label": "setosa"}), 404, "not-found")


async def test_token(outbox: Path) -> None:
    """With a token set, feedback without it is refused and not logged; the token is not in the settings' text."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_FEEDBACK_TOKEN=TOKEN) as here:
        for given in ("", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
            answer = await say(here, {"label": "setosa"}, Authorization=given)
            problem(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert feedback(outbox) == []
        assert (await say(here, {"label": "setosa"}, Authorization=f"Bearer {TOKEN}")).status == 200
    assert len(feedback(outbox)) == 1
    assert TOKEN not in repr(load({"PREDICTOR_FEEDBACK_TOKEN": TOKEN}))


@pytest.mark.parametrize("policy", ["refuse", "lose"])
async def test_a_full_outbox(outbox: Path, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feedback that cannot be logged is refused, or under the policy `lose` declared lost and said so."""
    from predictor.outbox import OutboxError  # noqa: PLC0415
    from predictor.outbox.outbox import Outbox  # noqa: PLC0415 - patched here

    async with serve(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_OUTBOX_FULL=policy) as here:

        def full(*_: object, **__: object) -> None:
            raise OutboxError("bytes", "full")  # noqa: EM101 - the first is a reason, no sentence

        with monkeypatch.context() as patch:
            patch.setattr(Outbox, "append", full)
            answer = await say(here, {"label": "setosa"})
        if policy == "refuse":
            problem(answer, 503, "outbox-full")
        else:
            assert (answer.status, answer.headers["X-Prediction-Logged"]) == (200, "false")
        assert (await say(here, {"label": "setosa"})).status == 200
    assert len(feedback(outbox)) == 1
    lost = [each for each in records(outbox) if each["eventName"] == "prediction.stream.lost"]
    assert len(lost) == (policy == "lose")


async def test_synced_before_the_answer(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsync mode `batch` a feedback is on disk before its answer."""
    from predictor.recording.prediction_log import PredictionLog  # noqa: PLC0415 - patched here

    synced = []
    real = PredictionLog.synced

    async def spy(self: PredictionLog) -> None:
        await real(self)
        synced.append(len(feedback(outbox)))

    monkeypatch.setattr(PredictionLog, "synced", spy)
    async with serve(outbox, PREDICTOR_FEEDBACK="true", PREDICTOR_OUTBOX_FSYNC="batch") as here:
        assert (await say(here, {"label": "setosa"})).status == 200
        assert synced == [1]


async def test_the_official_library_reads_it(taking: Here, outbox: Path) -> None:
    """A line with feedback is OTLP JSON to OpenTelemetry's own bindings, and they lose nothing of it."""
    await say(taking, {"label": "setosa", "comment": "\U0001f600 \x1b[31m"})
    lines = [line for stream in streams(outbox) for line in stream.signal("logs").lines()]
    assert lines
    for line in lines:
        parsed(line)  # asserts that nothing is lost


def test_the_published_table() -> None:
    """docs/record.md lists the attributes of feedback as the code has them."""
    page = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    section = page[page.index("## Feedback\n") : page.index("## Which records there are\n")]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert rows == [[f"`{each.name}`", each.type, each.meaning] for each in record_schema.FEEDBACK]
