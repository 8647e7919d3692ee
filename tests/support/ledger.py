"""A load with a ledger of its own, and the check of what arrived against it: plain json, no code of the server's.

- `async with Load(url) as load:` asks without end, whatever becomes of the server; `await load.more(100)` waits
- `check(load.ledger, tmp_path / "logs.jsonl")` compares with what a Collector wrote, or with records that were read
  elsewhere; raises AssertionError
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

Key = tuple[str, int | None]
_PAUSE = 0.02  # s, after a connection or a request that failed
_ANSWER = 60.0  # s, for one request
_PATIENCE = 180.0  # s, for what is waited for; the machine may be busy


class Answer(NamedTuple):
    """What a caller sent for one row and was told, and whether the answer said that it is logged."""

    features: list[float]
    output: list[float]
    outlier: bool
    score: float
    logged: bool = True


@dataclass
class Ledger:
    """What was acknowledged, kept by those who asked."""

    answers: dict[Key, Answer] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    """Answers other than 200, by the last word of their problem's type."""
    cut: int = 0
    """Requests that got no answer at all: nobody knows what became of them."""

    logged: Counter[bool] = field(default_factory=Counter)
    """Answered rows, by whether the answer said that they are logged."""


class Load:
    """Several clients that ask one server for one row or some, and go on when it is gone."""

    def __init__(
        self,
        url: str,
        *,
        clients: int = 4,
        seed: int = 0,
        rows: int = 12,
        limit: int = 1_000_000,
        keep_alive: bool = True,
        rest: float = 0.0,
    ) -> None:
        """Ask for at most `rows` rows in a request, for about `limit` rows in all, on kept connections or new ones.

        Each client takes a `rest` of so many seconds after an answer: a test of minutes needs no million rows.
        """
        self.url = url
        self.ledger = Ledger()
        self.clients = clients
        self._random = random.Random(seed)
        self._rows = rows
        self._limit = limit
        self._keep_alive = keep_alive
        self._rest = rest
        self._asked = 0
        self._news = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=not self._keep_alive),
            timeout=aiohttp.ClientTimeout(total=_ANSWER),
        )
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self.clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask nothing more; what was asked is answered first, or cut."""
        self._limit = 0
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._session.close()

    async def more(self, rows: int, *, logged: bool = True) -> None:
        """Wait until so many more rows were answered as logged, or with `logged=False` as not logged."""
        wanted = self.ledger.logged[logged] + rows
        await self._until(lambda: self.ledger.logged[logged] >= wanted)

    async def refused(self, word: str, times: int = 1) -> None:
        """Wait until so many more requests were refused with this problem."""
        wanted = self.ledger.refusals[word] + times
        await self._until(lambda: self.ledger.refusals[word] >= wanted)

    async def _until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE), self._news:
            await self._news.wait_for(fact)

    async def _client(self) -> None:
        while self._asked < self._limit:
            rows = list(self._draw(self._random.choice((1, 1, 1, self._random.randint(1, self._rows)))))
            self._asked += len(rows)
            try:
                settled = await self._ask(rows)
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.ledger.cut += 1
                settled = False
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(self._rest if settled else _PAUSE)

    def _draw(self, rows: int) -> Iterator[list[float]]:
        for _ in range(rows):
            yield [round(self._random.uniform(0.1, 8.0), 3) for _ in range(4)]

    async def _ask(self, rows: list[list[float]]) -> bool:
        """Ask once and note what was acknowledged; False if the server refused."""
        path = "/predict" if len(rows) == 1 else "/predict/batch"
        async with self._session.post(self.url + path, json={"data": rows}) as response:
            body = json.loads(await response.read())
            if response.status != 200:
                self.ledger.refusals[body["type"].rpartition(":")[2]] += 1
                return False
            logged = response.headers.get("X-Prediction-Logged") != "false"
        self.ledger.logged[logged] += len(rows)
        items = [body] if len(rows) == 1 else body["predictions"]
        for index, (row, item) in enumerate(zip(rows, items, strict=True)):
            key = (body["job_id"], index)
            assert key not in self.ledger.answers, f"{key} was answered twice"
            self.ledger.answers[key] = Answer(
                row, item["prediction"], item["is_outlier"], item["outlier_score"], logged
            )
        return True


class Found(NamedTuple):
    """What the sink has, of streams that hold together."""

    records: int
    copies: int
    streams: dict[str, str | None]
    """Each stream's id, and the reason of its closing record, None if it has none."""
    lost: int
    """Numbers that the streams declare as lost."""


class Record(NamedTuple):
    """A log record as it arrived."""

    stream: str
    sequence: int
    attributes: dict[str, Any]
    text: str  # the whole record with its resource and scope, as it arrived


def check(
    ledger: Ledger,
    *sources: Path | Iterable[Record],
    closed: bool = True,
    rejected: Iterable[tuple[str, int]] = (),
) -> Found:
    """Compare what a file exporter wrote, or records from elsewhere, with the ledger, and the streams with themselves.

    `closed`: every stream must be; `rejected`: numbers that the sink refused, so that they must not be there.
    """
    arrived = [record for source in sources for record in (_records(source) if isinstance(source, Path) else source)]
    numbered: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in arrived:
        first = numbered[record.stream].setdefault(record.sequence, record)
        assert first.text == record.text, f"two contents for {record[:2]}:\n{first.text}\n{record.text}"
    kept = dict.fromkeys(numbered)
    gone = set(rejected)
    lost = 0
    for stream, records in numbered.items():
        declared = _declared_lost(records.values())
        lost += len(declared)
        refused = {sequence for name, sequence in gone if name == stream}
        assert not refused & records.keys(), f"{stream} has what was rejected: {refused & records.keys()}"
        last = records[max(records)]
        expected = set(range(1, last.sequence + 1)) - declared - refused
        assert records.keys() == expected, f"{stream}: {sorted(records.keys() ^ expected)[:20]} are missing or too many"
        if last.attributes["event.name"] == "prediction.stream.closed":
            kept[stream] = last.attributes["prediction.stream.reason"]
        assert kept[stream] or not closed, f"{stream} ends with {last.sequence} and is not closed"
    _compare(ledger, [record for records in numbered.values() for record in records.values()])
    total = sum(len(records) for records in numbered.values())
    return Found(total, len(arrived) - total, kept, lost)


def _compare(ledger: Ledger, records: Iterable[Record]) -> None:
    predictions: dict[Key, Record] = {}
    for record in records:
        if record.attributes["event.name"] == "prediction":
            key = record.attributes["prediction.job_id"], record.attributes.get("prediction.index")
            other = predictions.setdefault(key, record)
            assert other is record, f"{key} is under {other[:2]} and {record[:2]}"
    missing = [key for key, answer in ledger.answers.items() if answer.logged and key not in predictions]
    assert not missing, f"{len(missing)} of {len(ledger.answers)} acknowledged are missing: {missing[:5]}"
    for key, answer in ledger.answers.items():
        if not answer.logged:
            assert key not in predictions, f"{key} is logged, and its caller was told that it is not"
            continue
        was = predictions[key].attributes
        assert "error.type" not in was, f"{key} was answered and is logged as {was['error.type']}"
        inputs = [value for name, value in was.items() if name.startswith("prediction.input.")]
        logged = Answer(
            inputs,
            json.loads(was["prediction.output"]),
            was["prediction.outlier"],
            was["prediction.outlier_score"],
        )
        assert logged == answer, f"{key} was answered {answer} and is logged as {logged}"


def _declared_lost(records: Iterable[Record]) -> set[int]:
    lost: set[int] = set()
    for record in records:
        if record.attributes["event.name"] == "prediction.stream.lost":
            first, last = (record.attributes[f"prediction.stream.lost.{end}"] for end in ("first", "last"))
            lost |= set(range(first, last + 1))
    return lost


def _records(file: Path) -> Iterator[Record]:
    with contextlib.suppress(FileNotFoundError), file.open() as lines:  # nothing arrived at all
        for line in lines:
            for data in _objects(line):
                yield from records_of(data)


def _objects(line: str) -> Iterator[Any]:
    """Yield the objects of a line: a Collector that is killed while it writes leaves half of one before the next."""
    decoder, start = json.JSONDecoder(), 0
    while line[start:].strip():
        try:
            data, start = decoder.raw_decode(line, start)
            yield data
        except json.JSONDecodeError:
            start = line.find('{"resourceLogs"', start + 1)
            assert start > 0, f"no OTLP JSON: {line[:80]}"


def records_of(data: Any) -> Iterator[Record]:  # noqa: ANN401 - parsed JSON
    """Yield the log records of a parsed LogsData object."""
    for resource in data["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            around = [resource["resource"], scope["scope"]]
            stream = _attributes(scope["scope"])["prediction.stream.id"]
            for record in scope["logRecords"]:
                pairs = _attributes(record)
                text = json.dumps([*around, record], sort_keys=True)
                yield Record(stream, pairs["prediction.stream.sequence"], pairs, text)


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for pair in holder["attributes"]:
        ((kind, value),) = pair["value"].items()
        values[pair["key"]] = int(value) if kind == "intValue" else value
    return values
