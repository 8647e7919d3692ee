"""The page's stream: what it tells of predictions, and that neither slow readers nor many of them do harm."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from predictor.core.result import ManyPredictions, Origin, Prediction
from predictor.dashboard import feed as feeding
from predictor.dashboard.feed import KEPT, MOST_LISTENERS, NEWS, Feed
from predictor.dashboard.view import View
from predictor.inference.log_rules import OutputLog
from predictor.server import app
from predictor.serving import listeners
from tests.support.gated_model import pipeline
from tests.support.model_folders import failing, wide
from tests.support.sample_predictions import success
from tests.support.server import IRIS, ROOT, ROW, predictions, problem, serve, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.server import Here

_PATIENCE = 30.0  # s
_GRAFANA = "https://grafana.example/x/"


class Ear:
    """Listens to the stream as a browser does."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        """Take the body of an open answer."""
        self._reader = reader
        self.state: Any = None
        """What was last said of the server."""

    async def event(self) -> tuple[str, Any]:
        """Return the next event's name and data, but for those about the server's state."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                said = (await self._reader.readuntil(b"\n\n")).decode()
                match = re.fullmatch(r"event: (\w+)\ndata: (.*)\n\n", said)
                if match and match[1] != "state":
                    return match[1], json.loads(match[2])
                if match:
                    self.state = json.loads(match[2])
                else:
                    assert said == ":\n\n"

    async def ended(self) -> bool:
        """Tell, when the stream has ended, whether it did without a word more."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.read() == b""


@asynccontextmanager
async def listening(here: Here, **headers: str) -> AsyncIterator[Ear]:
    """Open the stream."""
    async with here.client.get("/page/events", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Ear(response.content)  # type: ignore[arg-type]


def feed(here: Here) -> Feed:
    """Return the server's feed."""
    return here.app[app.PAGES].feed()


def prediction(number: int = 0, width: int = 4) -> Prediction:
    """Return a prediction of no server."""
    origin = Origin("0" * 32, "0" * 16, "/predict", 1_700_000_000_000_000_000, 0.0)
    return Prediction(f"job-{number}", origin, 0, [0.5] * width, [1.0, 0.0], 0, total=0.001)


async def test_what_is_told(outbox: Path) -> None:
    """A page hears first what was before it, then each prediction in full, and where it is to be found."""
    async with serve(outbox, PREDICTOR_GRAFANA_URL=_GRAFANA) as here:
        before = (await here.post("/predict", json={"data": [ROW]})).json["job_id"]
        async with listening(here) as ear:
            name, data = await ear.event()
            assert (name, data["observed"]) == ("snapshot", 1)
            assert [each["job_id"] for each in data["predictions"]] == [before]
            answer = await here.post("/predict", json={"data": [ROW]}, headers={"X-Request-Id": "r-1"})
            name, data = await ear.event()
    ((told,), logged) = data["predictions"], predictions(outbox)[1]
    assert (name, told["n"], told["job_id"]) == ("news", 2, answer.json["job_id"])
    assert told["features"] == ROW
    assert (told["label"], told["probabilities"][0][0]) == (2, 2)
    assert sorted(share for _, share in told["probabilities"]) == sorted(answer.json["prediction"])
    assert (told["outlier"], told["score"]) == (answer.json["is_outlier"], answer.json["outlier_score"])
    for key, name in {"total": "total", "queue": "queue", "inference": "inference"}.items():
        assert told[key] == logged[f"prediction.duration.{name}"]
    assert (told["batch"], told["route"], told["request_id"]) == (1, "/predict", "r-1")
    assert told["trace_id"] == answer.headers["X-Trace-Id"]
    assert told["link"].startswith(f"{_GRAFANA}d/trace?var-trace_id={told['trace_id']}&var-job_id={told['job_id']}&")


def test_the_link_is_one_that_the_dashboard_takes() -> None:
    """The dashboard that a link leads to exists and has the variables that the link fills."""
    dashboard = json.loads((ROOT / "otel" / "grafana" / "dashboards" / "trace.json").read_text())
    assert dashboard["uid"] == "trace"
    assert {"trace_id", "job_id"} <= {each["name"] for each in dashboard["templating"]["list"]}


async def test_failures_and_batches(outbox: Path, tmp_path: Path) -> None:
    """Each row of a batch is told with its index, a failure with its word, a refusal without rows."""
    async with serve(outbox, failing(tmp_path / "model")) as here, listening(here) as ear:
        await ear.event()
        await here.post("/predict/batch", json={"data": [[1, 2], [3, 4]]})
        await here.post("/predict", json={"data": [[5000, 2]]})
        await here.post("/predict", json={"data": [[1]]})
        told: list[dict[str, Any]] = []
        while len(told) < 4:
            told += (await ear.event())[1]["predictions"]
    assert [(each["n"], each.get("index"), each.get("error")) for each in told] == [
        (1, 0, None),
        (2, 1, None),
        (3, 0, "model-failed"),
        (4, None, "invalid-data"),
    ]
    assert told[2]["features"] == [5000, 2]
    assert "features" not in told[3]


@pytest.mark.parametrize("log", ["drop", "hash"])
async def test_redacted_features_are_not_told(outbox: Path, tmp_path: Path, log: str) -> None:
    """A feature that the log does not hold as it is is not shown either, not as a hash and not of failures."""
    model = tmp_path / "model"
    shutil.copytree(IRIS, model)
    text = (model / "model.toml").read_text()
    (model / "model.toml").write_text(text.replace('name = "petal_length"', f'name = "petal_length"\nlog = "{log}"'))
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    async with serve(outbox, model, PREDICTOR_HASH_KEY_FILE=str(key), PREDICTOR_QUEUE_ROWS="1") as here:
        page = (await here.get("/")).body.decode()
        assert 'data-name="petal_width"' in page
        assert 'data-name="petal_length"' not in page
        async with listening(here) as ear:
            await ear.event()
            await here.post("/predict", json={"data": [[6.0, 3.0, 4.4321, 1.0]]})
            ((told,), _) = (await ear.event())[1]["predictions"], None
            assert told["features"] == [6.0, 3.0, None, 1.0]
            assert "4.4321" not in json.dumps(told)
        failed = Prediction("j", prediction().origin, 0, (6.0, 3.0, 4.4321, 1.0))
        view = View(pipeline(here).model.description.features, "")
        assert view.of(1, failed).features == [6.0, 3.0, None, 1.0]


def test_outputs_are_shown_as_they_are_logged() -> None:
    """Outputs that stay out of the log are not shown, but for the verdict; rounded ones are shown rounded."""
    one = success(outlier=True, score=0.4375)
    shown = View([], "", OutputLog("round", 1)).of(1, one)
    assert shown.probabilities == [(2, 1.0), (1, 0.0), (0, 0.0)]
    assert (shown.label, shown.score) == (2, 0.4)
    for outputs in (OutputLog("hash"), OutputLog("drop")):
        hidden = View([], "", outputs).of(1, one)
        assert (hidden.label, hidden.probabilities, hidden.score, hidden.outlier) == (None, None, None, True)


async def test_memory_is_bounded() -> None:
    """However many predictions come and however wide they are, few are kept and fewer are sent at once."""
    for features, labels, kept, most in ((4, 3, KEPT, NEWS), (1000, 1000, 100, 5), (500_000, 500_000, 5, 5)):
        here = Feed(View([], ""), features, labels)
        for number in range(1000):
            here.observe([prediction(number, 40)])
        shown: list[dict[str, Any]] = []
        for number, piece in enumerate(here.history()):
            name, data = piece.decode().split("\n")[:2]
            assert name == ("event: news" if number else "event: snapshot")
            assert json.loads(data[6:])["observed"] == 1000
            assert len(json.loads(data[6:])["predictions"]) == most
            shown += json.loads(data[6:])["predictions"]
        assert [each["n"] for each in shown] == list(range(1001 - kept, 1001))
        assert len(shown[0]["features"]) == 32


def many(number: int, rows: int) -> ManyPredictions:
    """Return the predictions of a request that share a record."""
    origin = Origin("0" * 32, "0" * 16, "/predict/batch", 1_700_000_000_000_000_000, 0.0)
    features = [[float(number), float(at)] for at in range(rows)]
    probabilities = [[1.0, 0.0]] * rows
    return ManyPredictions(
        f"job-{number}", origin, features, probabilities, [0] * rows, None, None, None, 0.1, 0.2, 0.5, rows
    )


def shown(feed: Feed) -> list[Any]:
    """Return all that a feed keeps, as a page that is opened now hears it."""
    pieces = [json.loads(piece.decode().split("\n")[1][6:]) for piece in feed.history()]
    return [each for piece in pieces for each in piece["predictions"]]


def test_rows_of_one_record_are_shown_one_by_one() -> None:
    """Whether rows share a record is nothing that a page shows: the same rows, numbers and durations."""
    together, apart = Feed(View([], ""), 2, 2), Feed(View([], ""), 2, 2)
    for number, rows in enumerate((1, 256, 40, 3 * KEPT, 7)):
        record = many(number, rows)
        together.observe([record, prediction(number, 2)])
        apart.observe([*record.all_rows(), prediction(number, 2)])
        assert shown(together) == shown(apart)
        assert together.observed == apart.observed


def test_few_rows_of_a_large_record_are_kept() -> None:
    """A request of very many rows leaves no more in memory than is shown."""
    feed = Feed(View([], ""), 2, 2)
    record = many(1, 10 * KEPT)
    before = sys.getrefcount(record)
    feed.observe([record])
    assert sys.getrefcount(record) == before
    assert len(shown(feed)) == KEPT


async def test_what_was_before_is_told_once_and_whole(here: Here) -> None:
    """A page that is opened while predictions come hears all that is kept, each in its order, and then what is new."""
    for number in range(1, KEPT + 1):
        feed(here).observe([prediction(number)])
    async with listening(here) as ear:
        feed(here).observe([prediction(KEPT + 1)])
        heard: list[int] = []
        while KEPT + 1 not in heard:
            heard += [each["n"] for each in (await ear.event())[1]["predictions"] if each["n"] > (heard or [0])[-1]]
    assert heard == list(range(heard[0], KEPT + 2))
    assert heard[0] in {1, 2}


async def test_at_a_high_rate_the_newest_are_told(here: Here) -> None:
    """Of more predictions than are sent at once the newest are, and the page learns how many there were."""
    async with listening(here) as ear:
        await ear.event()
        for number in range(5000):
            feed(here).observe([prediction(number)])
        name, data = await ear.event()
        assert (name, data["observed"], len(data["predictions"])) == ("news", 5000, NEWS)
        assert data["predictions"][-1]["n"] == 5000


async def test_who_does_not_read_is_dropped(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that does not read loses its place, others lose nothing, and predictions are answered meanwhile."""
    monkeypatch.setattr(feeding, "_TICK", 0.001)
    sleeper = socket.create_connection(("127.0.0.1", here.port))
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.sendall(b"GET /page/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until(lambda: feed(here).listeners == 1)
    async with listening(here) as ear:

        async def read() -> None:
            while (await ear.event())[1]["predictions"][-1:] != [{"last": True}]:
                pass

        reading = asyncio.create_task(read())

        def dropped() -> bool:
            for number in range(NEWS):
                feed(here).observe([prediction(number, 32)])
            return feed(here).listeners == 1

        await until(dropped)
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        assert not reading.done(), "who reads stays"
        reading.cancel()
    sleeper.close()


async def test_few_may_listen(here: Here) -> None:
    """One page more than may listen is told to come again, and a place is free as soon as a page is closed."""
    ears = [await here.client.get("/page/events") for _ in range(MOST_LISTENERS)]
    answer = await here.get("/page/events")
    assert "16 pages listen" in problem(answer, 503, "page-busy")
    assert answer.headers["Retry-After"]
    ears.pop().close()
    await until(lambda: not feed(here).full)
    async with listening(here):
        pass
    for each in ears:
        each.close()
    await until(lambda: feed(here).listeners == 0)
    teller = feed(here)._teller
    assert teller
    await until(teller.done)  # what nobody hears costs nothing


async def test_pages_from_elsewhere_take_no_place(here: Here) -> None:
    """A web page of another site, which could not read the stream, cannot hold it open either."""
    for site in ("cross-site", "same-site"):
        problem(await here.get("/page/events", headers={"Sec-Fetch-Site": site}), 404, "not-found")
    async with listening(here, **{"Sec-Fetch-Site": "same-origin"}) as ear:
        await ear.event()
    assert not (await here.send("HEAD", "/page/events")).body


async def test_silence_is_kept_alive(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without news says so now and then, so that no proxy takes it for dead."""
    monkeypatch.setattr(feeding, "_TICK", 0.001)
    async with here.client.get("/page/events") as response, asyncio.timeout(_PATIENCE):
        await response.content.readuntil(b"\n\n")
        said = b""
        while said != b":\n\n":
            said = await response.content.readuntil(b"\n\n")


@pytest.mark.parametrize("stuck", [False, True])
async def test_shutdown_waits_for_no_page(outbox: Path, stuck: bool) -> None:  # noqa: FBT001 - a case
    """Open streams end as soon as the server drains, however long it would wait, even if they do not read."""
    async with asyncio.timeout(_PATIENCE), serve(outbox, PREDICTOR_DRAIN="1h") as here:
        if stuck:
            sleeper = socket.create_connection(("127.0.0.1", here.port))
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sleeper.sendall(b"GET /page/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: feed(here).listeners == 1)
            (listener,) = feed(here)._listeners
            # More than the kernel takes: its writer now waits for a reader who never comes.
            listener._transport.write(b":" * (64 << 20))
            listener.offer(b":\n\n")
        response = await here.client.get("/page/events")
        ear = Ear(response.content)  # type: ignore[arg-type]
        await ear.event()
        await here.app.shutdown()
        assert await ear.ended()
        problem(await here.get("/page/events"), 503, "draining")
    if stuck:
        sleeper.close()


async def test_a_faulty_page_harms_no_prediction(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """If telling fails, the pages are let go and predictions go on."""

    def fail(*_: object) -> None:
        raise RuntimeError

    async with listening(here) as ear:
        await ear.event()
        monkeypatch.setattr(View, "of", fail)
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        assert await ear.ended()
    assert (await here.post("/predict", json={"data": [ROW]})).status == 200


async def test_a_faulty_observer_harms_neither_prediction_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks at predictions cannot stop them, nor keep them from the next who looks; the fault is said once."""
    seen: list[Prediction | ManyPredictions] = []

    def fail(_: object) -> None:
        raise RuntimeError

    observe = listeners.together(None, fail, seen.extend)
    assert observe
    observe([prediction(1)])
    observe([prediction(2)])
    assert [each.job_id for each in seen] == ["job-1", "job-2"]
    assert caplog.text.count("could not be shown") == 1
    assert listeners.together(None) is None


async def test_a_wide_row_is_cut(outbox: Path, tmp_path: Path) -> None:
    """Of a wide model's row the first 32 features are told."""
    async with serve(outbox, wide(tmp_path / "model", 100)) as here, listening(here) as ear:
        await ear.event()
        await here.post("/predict", json={"data": [list(range(100))]})
        assert (await ear.event())[1]["predictions"][0]["features"] == list(range(32))
