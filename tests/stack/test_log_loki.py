"""`predictor log` on a real Loki: every verb tells of it what it tells of the outbox and of files."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import pytest

from predictor.reader.sources.source import Access, source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.command import sentences
from predictor.reader.verify.completeness import verify
from tests.stack.stack import Stack, ship_out
from tests.support import log_files
from tests.support.log_files import SECOND, Stream, changed, line, lines
from tests.support.server import ROOT, ROW, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from predictor.reader.verify.report import VerifyReport
    from tests.support.log_files import Record

_OUTLIER = [100.0, 100.0, 100.0, 100.0]
_VERBS = {
    "list": ["list"],
    "list json": ["list", "--json", "--events", "--limit", "500"],
    "list outliers json": ["list", "--json", "--outlier"],
    "show": ["show", "JOB", "--grafana", "http://grafana:3000"],
    "show json": ["show", "JOB", "--json"],
    "verify": ["verify"],
    "verify json": ["verify", "--json"],
}


class Places(NamedTuple):
    """One log, three times."""

    sources: dict[str, list[str]]
    """What `--from` takes, and what goes with it."""
    job: str


@pytest.fixture
async def places(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> Places:
    """Let a server without an endpoint write a log, copy it as files and as an outbox, and ship it to Loki."""
    alone = await asyncio.to_thread(stack.server(outbox, namespace, OTEL_EXPORTER_OTLP_ENDPOINT="").start)
    jobs: list[str] = []
    try:
        async with aiohttp.ClientSession(alone.url) as session:
            for rows in ([ROW], [_OUTLIER], [ROW, _OUTLIER, [5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 4.2, 1.5]], [ROW[:2]]):
                answer = await session.post("/predict/batch", json={"data": rows})
                jobs.append((await answer.json()).get("job_id"))  # the last is refused
    finally:
        await asyncio.to_thread(alone.terminate)
    streams = await asyncio.to_thread(copy, outbox, tmp_path)
    await asyncio.to_thread(ship_out, stack.server(outbox, namespace).start())
    # The server that shipped has a stream of its own, which is in Loki only.
    selector = f'{{service_name="predictor", k8s_namespace_name="{namespace}"}}'
    ours = " or ".join(f'prediction_stream_id="{each}"' for each in sorted(streams))
    return Places(
        {
            "outbox": ["--from", str(tmp_path / "copy")],
            "files": ["--from", str(tmp_path / "files")],
            "loki": ["--from", stack.log.url, "--selector", f"{selector} | {ours}"],
        },
        jobs[2],
    )


async def test_each_verb_on_each_source(places: Places, tmp_path: Path) -> None:
    """Every verb tells the same of the outbox, of files and of Loki, to the letter; an export has the same rows."""
    for name, arguments in _VERBS.items():
        told = {}
        for kind, where in places.sources.items():
            typed = [places.job if each == "JOB" else each for each in arguments]
            told[kind] = await asyncio.to_thread(run, *typed, *where)
            assert (told[kind].returncode, told[kind].stderr) == (0, ""), (name, kind)
        assert told["outbox"].stdout.count("\n") >= (1 if "json" in name else 4), name
        assert told["loki"].stdout == told["outbox"].stdout, name
        assert told["files"].stdout == told["outbox"].stdout, name
    rows = {}
    for kind, where in places.sources.items():
        path = tmp_path / f"{kind}.csv"
        assert (await asyncio.to_thread(run, "export", str(path), *where)).returncode == 0
        with path.open(newline="") as file:
            rows[kind] = sorted(map(tuple, csv.reader(file)))
    assert len(rows["outbox"]) == 1 + 7
    assert rows["loki"] == rows["files"] == rows["outbox"]


async def test_tail(places: Places) -> None:
    """`tail` shows the same lines of each source."""
    told = {}
    for kind, where in places.sources.items():
        told[kind] = await asyncio.to_thread(first_lines, 7, "tail", "--since", "1h", *where)
    assert sorted(told["loki"]) == sorted(told["files"]) == sorted(told["outbox"])


async def test_faults(stack: Stack) -> None:
    """`verify` finds in Loki what somebody has removed, altered, sent twice or cut, and nothing else."""
    began = time.time_ns() - 600 * SECOND
    whole, removed, altered, resent, cut = (Stream(began + each * SECOND, each) for each in range(5))
    logs: dict[str, list[Record]] = {}
    for stream in (whole, removed, altered, resent, cut):
        logs[stream.id] = [stream.opened(), *stream.predictions(20), stream.closed()]
    service = f"faults-{whole.id}"
    del logs[removed.id][4:7]
    del logs[cut.id][12:]
    # Loki keeps one of two entries that are equal in time and line, so the line differs, as it does for a person.
    other = changed(logs[altered.id][9], label="other") | {"body": {"stringValue": "other 0.800"}}
    logs[altered.id].append(other)
    for name, records in logs.items():
        await asyncio.to_thread(push, stack, service, lines(name, records))
    await asyncio.to_thread(push, stack, service, [line(resent.id, logs[resent.id][3:9])])
    report = await asyncio.to_thread(look, stack, service, TimeRange(began - SECOND))
    assert [*sentences(report)] == [
        f"stream {removed.id}: missing 5-7",
        f"stream {altered.id}: altered, one number with two contents: 10",
        f"stream {cut.id}: ended without a word after record 12; what it held then is unknown",
    ]
    assert [each.state for each in report.verdicts] == ["complete"] * 4 + ["silent"]


async def test_windows_add_up(stack: Stack) -> None:
    """Windows of a real Loki find together what the whole finds; a clock that was set back makes nothing missing."""
    began = time.time_ns() - 1500 * SECOND
    witness, holes, stepped = (Stream(began + each * SECOND, each) for each in range(3))
    logs: dict[str, list[Record]] = {witness.id: [witness.opened(), witness.closed()]}
    for stream in (holes, stepped):
        records = [stream.opened()]
        for number in range(40):
            stream.now += (-300 if stream is stepped and number == 20 else 25) * SECOND
            records.append(stream.prediction())
        logs[stream.id] = [*records, stream.closed()]
    logs[holes.id] = [record for number, record in enumerate(logs[holes.id], 1) if number not in {4, 17, 18, 30}]
    service = f"windows-{witness.id}"
    for name, records in logs.items():
        await asyncio.to_thread(push, stack, service, lines(name, records))
    whole = await asyncio.to_thread(look, stack, service, TimeRange(began - SECOND))
    assert [*sentences(whole)] == [f"stream {holes.id}: missing 4, 17-18, 30"]
    edges = [began - SECOND, *(began + each * SECOND for each in (90, 410, 450, 700)), None]
    told: list[str] = []
    for start, end in itertools.pairwise(edges):
        told += sentences(await asyncio.to_thread(look, stack, service, TimeRange(start, end)))
    assert told == [f"stream {holes.id}: missing {numbers}" for numbers in ("4", "17-18", "30")]


async def test_many_pages(stack: Stack) -> None:
    """More records than one answer holds, 200 of them at one time each, are each read once."""
    stream = Stream(time.time_ns() - 600 * SECOND)
    records: list[Record] = []
    for _ in range(60):
        for index in range(200):
            records.append(stream.prediction(job=f"job {len(records) // 200}", index=index))
            stream.now -= 1_000_000
        stream.now += 1_000_000
    records.append(stream.closed())
    service = f"pages-{stream.id}"
    for start in range(0, len(records), 2000):
        await asyncio.to_thread(push, stack, service, [line(stream.id, records[start : start + 2000])])
    report = await asyncio.to_thread(look, stack, service, TimeRange())
    assert report.sound, [*sentences(report)]
    (verdict,) = report.verdicts
    assert (verdict.first, verdict.stream.records, verdict.stream.copies) == (1, 12_001, 0)


def copy(outbox: Path, to: Path) -> set[str]:
    """Copy an outbox as it is, and its segments as files; return its streams."""
    shutil.copytree(outbox, to / "copy")
    (to / "files").mkdir()
    for number, path in enumerate(sorted(outbox.glob("v1/*/logs/*.jsonl"))):
        shutil.copy(path, to / "files" / f"{number}.jsonl")
    return {path.name for path in (outbox / "v1").iterdir() if path.is_dir()}


def look(stack: Stack, service: str, window: TimeRange) -> VerifyReport:
    """Return the report on all records of a service."""
    return verify(source(stack.log.url, Access(selector=f'{{service_name="{service}"}}')), window)


def push(stack: Stack, service: str, texts: Sequence[bytes]) -> None:
    """Store lines in Loki under a service of the test's own."""
    groups = []
    for text in texts:
        (group,) = json.loads(text)["resourceLogs"]
        groups.append(group | {"resource": {"attributes": log_files.pairs({"service.name": service})}})
    request = urllib.request.Request(
        f"{stack.log.url}/otlp/v1/logs",
        json.dumps({"resourceLogs": groups}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status in {200, 204}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end."""
    return subprocess.run(
        [sys.executable, "-m", "predictor", "log", *arguments],
        cwd=ROOT,
        env=environment(ROOT / "nothing"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def first_lines(count: int, *arguments: str) -> list[str]:
    """Start a verb that does not end, and return its first lines; Ctrl-C ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "predictor", "log", *arguments],
        cwd=ROOT,
        env=environment(ROOT / "nothing"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process.stdout:
        found = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    return found
