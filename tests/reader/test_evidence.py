"""docs/evidence.md says what is found and what is not: both are tried, on each source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.command import sentences
from predictor.reader.verify.completeness import verify
from predictor.recording.signatures import FileSigner
from tests.reader.test_digests import EDITS
from tests.support import external_programs
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, changed, lay_out, lines
from tests.support.sample_predictions import IRIS
from tests.support.sealed_log import SealedStream, Written, records, sealed, written
from tests.support.server import ROOT
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from predictor.reader.verify.report import VerifyReport
    from tests.support.log_files import Record

    Plant: TypeAlias = Callable[[Stream, list[Record]], list[Record]]

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


def kept(*gone: int) -> Plant:
    """Return an editor who removes records by their numbers."""
    return lambda _, records: [record for number, record in enumerate(records, 1) if number not in gone]


FOUND: dict[str, tuple[str, Plant]] = {
    "middle": ("removes records and nothing else", kept(4, 5)),
    "tail": ("loses the end of a stream", kept(8, 9, 10)),
    "second": (
        "writes another content besides the first",
        lambda _, r: [*r, changed(r[3], label="other") | {"body": {"stringValue": "other"}}],
    ),
    "beyond": ("adds records after the closing one", lambda stream, r: [*r, stream.prediction()]),
    "again": ("or a row again", lambda stream, r: [*r[:-1], again(stream, r)]),
}
SEALED = {
    "changes a record in its only copy": ["a label", "a body", "a time", "another version of the model"],
    "swaps two records": ["two numbers", "a record that was never written"],
    "renumbers the rest": ["a removal with renumbering"],
    "moves the closing record there": ["a tail that was cut with its end"],
    "enlarges a declared loss": ["a larger loss", "a loss of another interval"],
    "takes the digest out of a status": ["a checkpoint without its digest"],
}
"""Rows of the page and what tests/reader/test_digests.py plants for them."""


def unnamed(stream: SealedStream) -> list[Written]:
    """Remove a whole stream of which no other knows."""
    del stream
    return []


def after_the_last_checkpoint(stream: SealedStream) -> list[Written]:
    """Change what a process wrote that was killed before its next status."""
    stream.predict(count=2)
    stream.crash()
    every = records(stream.lines)
    every[-2].put("prediction.label", {"stringValue": "setosa"})
    return every


def closed_early(stream: SealedStream) -> list[Written]:
    """Cut a stream behind a checkpoint, and close it as if its process had been killed."""
    left = records(stream.lines)[:-3]
    stream.log.sequence = left[-1].number
    stream.crash()
    return [*left, *records(stream.lines[-1:])]


def resource(stream: SealedStream) -> list[Written]:
    """Add an attribute as a Collector may."""
    every = records(stream.lines)
    for each in every:
        each.record["attributes"].append({"key": "k8s.pod.name", "value": {"stringValue": "another"}})
    return every


NOT_FOUND: dict[str, Callable[[SealedStream], list[Written]]] = {
    "removes a stream that nobody names": unnamed,
    "changes what follows the last checkpoint": after_the_last_checkpoint,
    "changes attributes of the resource, or those that a Collector added": resource,
}


def again(stream: Stream, records: list[Record]) -> Record:
    """Return the closing record's place taken by a row that has a number already."""
    job = next(pair["value"]["stringValue"] for pair in records[3]["attributes"] if pair["key"].endswith("job_id"))
    stream.sequence -= 1
    return stream.prediction(job=job)


def sound(kind: str, folder: Path, plant: Plant) -> bool:
    """Return the verdict on a log of two streams, one of which somebody has worked on."""
    stream, other = Stream(), Stream(BASE + SECOND)
    records = [stream.opened(), *stream.predictions(7), stream.lost(3, 3), stream.closed()]
    texts = lines(other, [other.opened(), *other.predictions(3), other.closed()]) + lines(
        stream, plant(stream, records)
    )
    with Loki() as loki:
        loki.add(*texts)
        where = loki.url if kind == "loki" else lay_out(kind, folder, texts)
        return verify(source(where), TimeRange(BASE - SECOND), now_ns=BASE + 3600 * SECOND).sound


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
def test_an_untouched_log(kind: str, tmp_path: Path) -> None:
    """Nothing is said of a log that nobody has touched."""
    assert sound(kind, tmp_path, lambda _, records: records)


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
@pytest.mark.parametrize("fault", FOUND)
def test_found(kind: str, fault: str, tmp_path: Path) -> None:
    """What the page says is found, is found."""
    words, plant = FOUND[fault]
    assert not sound(kind, tmp_path, plant)
    (row,) = [text for text in PAGE.splitlines() if words in text]
    assert row.split(" | ")[2].startswith("yes")


@pytest.mark.parametrize(("words", "edits"), SEALED.items(), ids=SEALED)
def test_found_by_digests(words: str, edits: list[str]) -> None:
    """Each row that digests account for has its planted faults, which are tried on every source."""
    (row,) = [text for text in PAGE.splitlines() if words in text]
    assert row.split(" | ")[2].startswith("yes")
    assert set(edits) <= EDITS.keys()


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
@pytest.mark.parametrize("words", NOT_FOUND)
def test_not_found(kind: str, words: str, tmp_path: Path) -> None:
    """What the page says is not found, is not: nobody may take a verdict for more than it is worth."""
    stream, other = SealedStream(), sealed(SealedStream(BASE + SECOND))
    stream.predict(count=3)
    stream.status()
    if NOT_FOUND[words] is not after_the_last_checkpoint:
        stream.close()
    report = judged(kind, tmp_path, [*other.lines, *written(NOT_FOUND[words](stream))])
    assert not [*sentences(report)]
    (row,) = [text for text in PAGE.splitlines() if words in text]
    assert row.split(" | ")[2].startswith("**no**")


@pytest.mark.parametrize("kind", ["files", "loki"])
def test_a_stream_that_was_closed_early(kind: str, tmp_path: Path) -> None:
    """A stream that ends behind a checkpoint by a forged crash is found if another names it, and else not."""
    stream = sealed(SealedStream())
    ended = stream.ended()
    texts = written(closed_early(stream))
    alone = judged(kind, tmp_path / "alone", texts)
    assert not [*sentences(alone)]
    named = judged(kind, tmp_path / "named", [*texts, *sealed(SealedStream(BASE + 60 * SECOND, None, [ended])).lines])
    assert len(named.gone) == 1


def test_an_interval_with_a_gap(tmp_path: Path) -> None:
    """Of an interval with a missing record nothing is said to be altered, nor proved."""
    stream = sealed(SealedStream())
    every = records(stream.lines)
    every[2].put("prediction.label", {"stringValue": "setosa"})
    report = judged("files", tmp_path, written([*every[:3], *every[4:]]))
    assert [*sentences(report)] == [f"stream {stream.id}: missing 4"]
    assert report.verdicts[0].proof.unproved[0][:2] == (1, 5)


def test_the_command_for_digests(tmp_path: Path) -> None:
    """The page's command writes one line for each checkpoint: stream, number, digest."""
    external_programs.on_path("jq")
    block = next(
        text.partition("```")[0] for text in PAGE.split("```sh\n") if "digests.tsv" in text.partition("```")[0]
    )
    stream = sealed(SealedStream(time.time_ns() - 3600 * SECOND))
    (tmp_path / "collected").mkdir()
    (tmp_path / "collected" / "logs.jsonl").write_bytes(b"".join(stream.lines))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["/bin/sh", "-ec", block], cwd=tmp_path, env={"PATH": path}, check=True, timeout=60)
    made = [text.split("\t") for text in (tmp_path / "digests.tsv").read_text().splitlines()]
    sealing = [each for each in records(stream.lines) if each.said("prediction.stream.digest")]
    assert made == [[stream.id, str(each.number), each.said("prediction.stream.digest")] for each in sealing]


def judged(kind: str, folder: Path, texts: list[bytes]) -> VerifyReport:
    """Return the report on a log."""
    with Loki() as loki:
        loki.add(*texts)
        where = loki.url if kind == "loki" else lay_out(kind, folder, texts)
        return verify(source(where), TimeRange(BASE - SECOND), now_ns=BASE + 3600 * SECOND)


@pytest.fixture
def loki() -> Iterator[Loki]:
    """Return a Loki that holds nothing yet."""
    with Loki() as server:
        yield server


def month(key: Path) -> SealedStream:
    """Return the stream of a server that ran all of October 2026, and runs on."""

    def at(time: str) -> int:
        return int(datetime.fromisoformat(time).timestamp()) * SECOND

    stream = SealedStream(at("2026-09-30T22:00:00Z"), FileSigner(key))
    stream.describe(IRIS, dict.fromkeys(IRIS.features, "double"))
    for predicted, sealed_at in (
        ("2026-09-30T22:00:10Z", "2026-09-30T22:01:00Z"),
        ("2026-09-30T23:50:00Z", "2026-09-30T23:51:00Z"),
        ("2026-10-01T00:00:10Z", "2026-10-01T00:01:00Z"),
        ("2026-10-15T12:00:00Z", "2026-10-15T12:01:00Z"),
        ("2026-10-31T23:59:50Z", "2026-11-01T00:00:50Z"),
        ("2026-11-01T00:14:30Z", "2026-11-01T00:24:00Z"),
    ):
        stream.now = at(predicted)
        stream.predict(count=3)
        stream.now = at(sealed_at) - SECOND
        stream.status()
    return stream


@pytest.mark.parametrize("kind", ["files", "loki"])
@pytest.mark.parametrize("killed", [False, True])
def test_the_commands_for_a_month(kind: str, loki: Loki, tmp_path: Path, killed: bool) -> None:  # noqa: FBT001 - a case
    """The auditor's commands prove October of a server that runs on, and name what a killed one left unproved."""
    external_programs.on_path("jq")
    private, public = key_pair(tmp_path)
    stream = month(private)
    lines = [*stream.lines]
    if killed:
        other = SealedStream(stream.now - 20 * 86_400 * SECOND, FileSigner(private))
        other.describe(IRIS, dict.fromkeys(IRIS.features, "double"))
        other.status()
        other.predict()
        other.crash()
        lines += other.lines
    loki.add(*lines)
    where = loki.url if kind == "loki" else lay_out(kind, tmp_path / "collected", lines)
    section = PAGE.partition("## For an auditor\n")[2].replace("SOURCE", where)
    shown = [text.partition("```")[0] for text in section.split("```sh\n")[1:]]
    checks, reads, statuses = (text.replace("signing.pub.pem", public.name) for text in shown)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def typed(text: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-ec", text],
            cwd=tmp_path,
            env={"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    typed(checks)
    left = json.loads(typed(reads))
    assert [each["unproved"][0]["reason"] for each in left] == ["the process ended without a checkpoint"] * killed
    report = json.loads((tmp_path / "october.json").read_text())
    (found,) = (each for each in report["streams"] if each["stream"] == stream.id)
    before, after = found["unproved"]
    (status,) = (line.split("\t") for line in typed(statuses).splitlines())
    every = records(stream.lines)
    october = [
        each.number
        for each in every
        if str(datetime.fromtimestamp(int(each.record["timeUnixNano"]) // SECOND, UTC)).startswith("2026-10")
    ]
    assert (before["reason"], after["reason"]) == (
        "they begin before what was read",
        "their checkpoint is not written yet",
    )
    first = statuses.replace("2026-11-01T00:20:00Z", "2026-10-01").replace("2026-11-01", "2026-09-30T23:40:00Z")
    assert typed(first).splitlines() == [f"{stream.id}\t{before['to'] + 1}"]
    assert before["to"] < october[0]
    assert status[0] == stream.id
    assert october[-1] < int(status[1]) == after["from"] - 1
    assert found["state"] == "open"
