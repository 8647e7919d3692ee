"""What the log has of each problem is what docs/http.md says: a record for each row, one without rows, or none."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from predictor.core.problems import Kind
from predictor.dashboard.feed import MOST_LISTENERS
from predictor.http.handlers import MEMORY
from predictor.server import app
from tests.support import model_folders
from tests.support.gated_model import pipeline
from tests.support.raw_connection import Caller
from tests.support.server import IRIS, ROOT, ROW, first, message, predictions, serve, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.gated_model import Gate
    from tests.support.server import Answer, Here

    Ask = Callable[[Here, Gate], Awaitable[Answer]]

JSON = {"Content-Type": "application/json"}
ROWS = {"data": [ROW, ROW]}
TOKEN = "0123456789abcdef"
CONTROL = {"Authorization": f"Bearer {TOKEN}", **JSON}
LARGE = b'{"data":[[6.7,3.0,5.2,2.3]]}'.ljust(100_000)
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


def published() -> dict[str, tuple[str, str]]:
    """Return what the page says: of each problem, or case of one, what the record is and whether it is counted."""
    section = PAGE[PAGE.index("\n## What is recorded of a problem\n") :]
    table = section[section.index("\n|") + 1 :].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {case.replace("`", ""): (record, counted) for case, record, counted in cells}


TABLE = published()


def asks(method: str, path: str, **more: Any) -> Ask:  # noqa: ANN401 - aiohttp's own arguments
    """Return what sends a request and returns its answer."""

    async def ask(here: Here, _: Gate) -> Answer:
        return await here.send(method, path, **more)

    return ask


def sends(sent: bytes) -> Ask:
    """Return what sends bytes as they are and returns the first answer."""

    async def ask(here: Here, _: Gate) -> Answer:
        return await first(here.port, sent)

    return ask


async def shared_port(here: Here, _: Gate) -> Answer:
    """Unload a model where several processes serve one port."""
    here.app[app.MODELS]._shared_port = True
    return await here.post("/v2/repository/models/iris/unload", headers=CONTROL, data=b"{}")


async def too_fast(here: Here, _: Gate) -> Answer:
    """Ask for more rows than a second has."""
    assert (await here.post("/predict/batch", json=ROWS)).status == 200
    return await here.post("/predict/batch", json=ROWS)


async def fault(here: Here, _: Gate) -> Answer:
    """Ask while the server has a fault."""

    def fail() -> None:
        raise RuntimeError

    pipeline(here).check_room = fail
    return await here.post("/predict", json=ROWS)


async def failing_model(here: Here, _: Gate) -> Answer:
    """Ask a model that fails on the second row."""
    return await here.post("/predict/batch", json={"data": [[1, 2], [model_folders.FAILS_ABOVE + 1, 2]]})


async def no_model(here: Here, _: Gate) -> Answer:
    """Ask when the only model was unloaded."""
    await here.app[app.MODELS].unload("iris")
    return await here.post("/predict", json=ROWS)


async def full_queue(here: Here, gate: Gate) -> Answer:
    """Ask while as many rows wait as may."""
    async with asyncio.TaskGroup() as group:
        await fill(here, gate, group)
        answer = await here.post("/predict/batch", json=ROWS)
        gate.open()
    return answer


async def queue_fills(here: Here, gate: Gate) -> Answer:
    """Be let in, and send the body when as many rows wait as may."""
    body = b'{"data":[[1,2,3,4],[5,6,7,8]]}'
    async with asyncio.TaskGroup() as group, Caller(here.port) as caller:
        head = message("POST", "/predict/batch", Content_Length=str(len(body)), Expect="100-continue")
        assert (await caller.asks(head)).status == 100
        await fill(here, gate, group)
        answer = await caller.asks(body)
        gate.open()
    return answer


async def fill(here: Here, gate: Gate, group: asyncio.TaskGroup) -> None:
    """Have one row run and one wait."""
    inside = pipeline(here, gate)
    group.create_task(here.post("/predict", json={"data": [ROW]}))
    await until(lambda: bool(gate.batches))
    group.create_task(here.post("/predict", json={"data": [ROW]}))
    await until(lambda: inside.queued_rows == 1)


async def full_memory(here: Here, _: Gate) -> Answer:
    """Send a large body while others hold what all may."""
    budget = here.app[MEMORY]
    assert budget.take(budget.most - budget.used)
    answer = await here.post("/predict", data=LARGE, headers=JSON)
    budget.give(budget.used)
    return answer


async def draining(here: Here, _: Gate) -> Answer:
    """Ask on a connection that is still open when the server shuts down."""
    pipeline(here).draining = True
    return await here.post("/predict", json=ROWS)


async def late_body(here: Here, _: Gate) -> Answer:
    """Send a head, and no body."""
    async with Caller(here.port) as caller:
        return await caller.asks(message("POST", "/predict", Content_Length="50", Content_Type="application/json"))


async def late_model(here: Here, gate: Gate) -> Answer:
    """Ask a model that takes too long."""
    pipeline(here, gate)
    answer = await here.post("/predict/batch", json=ROWS)
    gate.open()
    return answer


async def busy_page(here: Here, _: Gate) -> Answer:
    """Open one page more than may be open."""
    async with AsyncExitStack() as stack:
        for _number in range(MOST_LISTENERS):
            await stack.enter_async_context(here.client.get("/page/events"))
        return await here.get("/page/events")


BROWSER = {"Sec_Fetch_Site": "same-origin"}
CASES: dict[str, Ask] = {
    "bad-request: the body does not match its headers": asks(
        "POST", "/predict", data=b"no gzip", headers=JSON | {"Content-Encoding": "gzip"}
    ),
    "bad-request: not HTTP/1.1": sends(b"x\r\n\r\n"),
    "invalid-json": asks("POST", "/predict", data=b"{", headers=JSON),
    "unauthorized": asks("POST", "/predict", json=ROWS),
    "forbidden": asks("POST", "/predict", json=ROWS, headers={"Sec-Fetch-Site": "cross-site"}),
    "not-found: nothing is at the path": asks("POST", "/predictions", json=ROWS),
    "not-found: no such model or version": asks("POST", "/v2/models/wine/infer", json={"inputs": []}),
    "method-not-allowed": asks("PUT", "/predict", json=ROWS),
    "shared-port": shared_port,
    "content-too-large": asks("POST", "/predict/batch", json={"data": [ROW] * 3}),
    "uri-too-long": sends(message("POST", f"/predict?{'x' * 9000}")),
    "unsupported-media-type": asks("POST", "/predict", data=b"{}", headers={"Content-Type": "text/plain"}),
    "unsupported-media-type: a browser without Content-Type": sends(message("POST", "/predict", b"{}", **BROWSER)),
    "unsupported-coding": asks("POST", "/predict", data=b"{}", headers=JSON | {"Content-Encoding": "br"}),
    "misdirected-request": asks("POST", "/predict", json=ROWS, headers={"Host": "elsewhere.example"}),
    "invalid-data": asks("POST", "/predict", json={"data": [[1.0]]}),
    "rate-limited": too_fast,
    "headers-too-large": sends(message("POST", "/predict", b"{}", X_Long="x" * 9000)),
    "internal-error": fault,
    "model-failed": failing_model,
    "no-model": no_model,
    "queue-full: before the body was read": full_queue,
    "queue-full: after it": queue_fills,
    "bodies-full": full_memory,
    "draining": draining,
    "outbox-full": asks("POST", "/predict", json=ROWS),
    "page-busy": busy_page,
    "deadline-exceeded: before the body had come": late_body,
    "deadline-exceeded: after it": late_model,
}


def settings(word: str, tmp_path: Path) -> dict[str, str]:
    """Return the settings under which a problem can be had."""
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    file.chmod(0o600)
    return {
        "unauthorized": {"PREDICTOR_TOKEN_FILE": str(file)},
        "misdirected-request": {"PREDICTOR_ALLOWED_HOSTS": ""},
        "shared-port": {"PREDICTOR_CONTROL_TOKEN_FILE": str(file)},
        "content-too-large": {"PREDICTOR_BATCH_ROWS": "2"},
        "rate-limited": {"PREDICTOR_BATCH_ROWS": "2", "PREDICTOR_ROWS_PER_SECOND": "1"},
        "queue-full": {"PREDICTOR_QUEUE_ROWS": "1", "PREDICTOR_THREADS": "1"},
        "outbox-full": {
            "PREDICTOR_OUTBOX_BYTES": "1MiB",
            "PREDICTOR_FLUSH": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_TRACES_EXPORTER": "none",
        },
        "deadline-exceeded": {"PREDICTOR_DEADLINE": "50ms"},
    }.get(word, {})


def fill_up(outbox: Path) -> None:
    """Leave no room in an outbox of 1 MiB."""
    outbox.mkdir()
    (outbox / "ballast").write_bytes(bytes(2 << 20))


def test_every_problem_is_in_the_table() -> None:
    """The table has each problem of the closed list, in its order, and each of its cases is tried here."""
    words = [re.split(":", case)[0] for case in TABLE]
    assert [*dict.fromkeys(words)] == [kind.word for kind in Kind]
    assert [*TABLE] == [*CASES]


@pytest.mark.parametrize("case", CASES)
async def test_the_log_has_what_the_page_says(case: str, outbox: Path, tmp_path: Path, gate: Gate) -> None:
    """A call that is answered with the problem leaves the record, and is counted, as the table of docs/http.md says."""
    record, counted = TABLE[case]
    kind = next(kind for kind in Kind if kind.word == case.partition(":")[0])
    if kind is Kind.OUTBOX_FULL:
        fill_up(outbox)
    folder = model_folders.failing(tmp_path / "failing") if kind is Kind.MODEL_FAILED else IRIS
    async with serve(outbox, folder, **settings(kind.word, tmp_path)) as here:
        answer = await CASES[case](here, gate)
        assert answer.status == kind.status
        assert kind.word.encode() in answer.body or case.startswith(("not-found: no such", "shared-port"))
        refusals, book = here.app[app.PLANE].refusals, here.app[app.LOG_SERVICE]
        assert refusals == ({} if counted == "no" else {kind: 1})
        assert book.refusals.unrecorded == (record == "none; counted as unrecorded")
    indices = [each.get("prediction.index") for each in predictions(outbox) if each.get("error.type") == kind.word]
    assert indices == {"one for each row": [0, 1], "one, without rows": [None]}.get(record, [])
    if not indices:
        assert not [each for each in predictions(outbox) if "error.type" in each]


@pytest.mark.parametrize("path", ["/feedback/no-id", "/metadata/x", "/v2/models/wine"])
async def test_what_does_not_predict_leaves_no_record(outbox: Path, path: str) -> None:
    """A call other than a prediction has no record of its problem, whatever that is."""
    async with serve(outbox, PREDICTOR_FEEDBACK="true") as here:
        for method in ("GET", "POST"):
            assert (await here.send(method, path, data=b"{", headers=JSON)).status >= 400
    assert predictions(outbox) == []
